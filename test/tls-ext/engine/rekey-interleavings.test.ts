/** Rekeys under load: whatever happens in whatever order, and however it is cut, no byte is lost, reordered or held back. */
import { expect } from 'chai';
import fc from 'fast-check';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { NamedGroup } from '../../../tls-ext/index.ts';
import type { EnginePair, Side } from './engine-pair.ts';
import { expectEpoch, rekeyEvents, rekeyKey, rekeyPair } from './rekey-pair.ts';

type End = 'client' | 'server';

type Action =
  | { readonly do: 'send'; readonly end: End; readonly lengthBytes: number }
  | { readonly do: 'deliver'; readonly from: End; readonly lengthBytes: number }
  | { readonly do: 'rekey'; readonly key: 'same' | 'different' | 'lost' | 'none' }
  | { readonly do: 'want' | 'answer' | 'refuse' }
  | { readonly do: 'close'; readonly end: End };

const end = fc.constantFrom<End>('client', 'server');

/** Closing is rare, so that there is something before it. */
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      end,
      lengthBytes: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 60, max: 3_000 })),
    }),
  },
  {
    weight: 40,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      from: end,
      lengthBytes: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 60, max: 8_000 })),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('rekey' as const),
      key: fc.constantFrom<'same' | 'different' | 'lost' | 'none'>('same', 'same', 'different', 'lost', 'none'),
    }),
  },
  { weight: 15, arbitrary: fc.record({ do: fc.constantFrom('want', 'answer', 'answer', 'answer', 'refuse') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), end }) },
);

/** A pair whose bytes are under way until they are delivered, and what each end has sent. */
class Run {
  readonly pair: EnginePair;
  readonly #sent: Record<End, number[]> = { client: [], server: [] };
  readonly #closed: Record<End, boolean> = { client: false, server: false };
  readonly #keys: ('same' | 'different' | 'lost' | 'none')[] = [];
  #next = 1;
  /** Requests that the server was asked a key for. */
  #asked = 0;

  constructor() {
    this.pair = rekeyPair({
      client: { groups: [NamedGroup.x25519] },
      server: { groups: [NamedGroup.x25519] },
      serverAnswers: { rekeyKey: () => 'later' },
    }).run();
  }

  perform(action: Action): void {
    const { client, server } = this.pair;
    switch (action.do) {
      case 'send':
        if (!this.#closed[action.end]) this.#send(action.end, action.lengthBytes);
        return;
      case 'deliver':
        this.#deliver(action.from, action.lengthBytes);
        return;
      case 'rekey':
        if (!client.engine.rekeyPossible) return;
        this.#keys.push(action.key);
        client.take(client.engine.rekey(action.key === 'none' ? undefined : rekeyKey(this.#next++)));
        return;
      case 'want':
        server.take(server.engine.wantRekey());
        return;
      case 'answer':
      case 'refuse':
        this.#answer(action.do === 'refuse');
        return;
      case 'close':
        this.#closed[action.end] = true;
        this.pair[action.end].take(this.pair[action.end].engine.closeWrite());
    }
  }

  /** Nothing is under way any more, and no question open. */
  settle(): void {
    for (;;) {
      this.#answer(false);
      if (this.pair.client.outbox.length + this.pair.server.outbox.length === 0) return;
      this.#deliver('client', 10_000);
      this.#deliver('server', 10_000);
    }
  }

  check(): void {
    const { client, server } = this.pair;
    expect(client.error, client.error?.message).to.equal(undefined);
    expect(server.error, server.error?.message).to.equal(undefined);
    expect(Buffer.from(client.received).equals(Buffer.from(this.#sent.server)), 'data to the client').to.equal(true);
    expect(Buffer.from(server.received).equals(Buffer.from(this.#sent.client)), 'data to the server').to.equal(true);
    expect(client.event('closed') !== undefined, 'the client was told').to.equal(this.#closed.server);
    expect(server.event('closed') !== undefined, 'the server was told').to.equal(this.#closed.client);
    expectEpoch(this.pair, client.engine.epoch);
    const completed = (side: Side) => rekeyEvents(side).filter(({ type }) => type === 'rekeyed');
    expect(completed(client)).to.deep.equal(completed(server));
    const refused = rekeyEvents(client).filter(({ type }) => type === 'rekey-refused').length;
    expect(completed(client).length + refused, 'each request ends').to.equal(this.#keys.length);
    expect(client.engine.epoch).to.equal(completed(client).length);
  }

  #send(from: End, lengthBytes: number): void {
    const data = new Uint8Array(lengthBytes).map((_, i) => (i * 31 + lengthBytes) & 0xff);
    const side = this.pair[from];
    const waiting = bytesIn(side);
    side.take(side.engine.send(data));
    expect(bytesIn(side) - waiting, 'what is sent goes out at once').to.be.at.least(lengthBytes);
    this.#sent[from].push(...data);
  }

  #deliver(from: End, lengthBytes: number): void {
    const [sender, receiver] =
      from === 'client' ? [this.pair.client, this.pair.server] : [this.pair.server, this.pair.client];
    const stream = concatBytes(...sender.outbox);
    sender.outbox = stream.length > lengthBytes ? [stream.slice(lengthBytes)] : [];
    receiver.take(receiver.engine.receive(stream.slice(0, lengthBytes)));
  }

  #answer(refuse: boolean): void {
    const { server } = this.pair;
    const asked = server.events.filter(({ type }) => type === 'rekey-key-required');
    for (const event of asked.slice(this.#asked)) {
      this.#asked++;
      if (event.type !== 'rekey-key-required' || event.reference.api !== 'etsi004') throw new Error('another key');
      const { index } = event.reference;
      const kind = this.#keys.filter((key) => key !== 'none')[index - 1];
      const key = kind === 'lost' || refuse ? undefined : rekeyKey(index, kind === 'different' ? 255 : index);
      server.take(server.engine.provideRekeyKey(key));
    }
  }
}

const bytesIn = (side: Side) => side.outbox.reduce((sum, { length }) => sum + length, 0);

describe('rekeying under load', () => {
  it('loses, reorders and holds back nothing, whatever crosses what and wherever it is cut', () => {
    let completed = 0;
    let refused = 0;
    fc.assert(
      fc.property(fc.array(action, { minLength: 20, maxLength: 120, size: 'max' }), (actions) => {
        const run = new Run();
        for (const one of actions) run.perform(one);
        run.settle();
        run.check();
        for (const { type } of rekeyEvents(run.pair.client)) {
          if (type === 'rekeyed') completed++;
          if (type === 'rekey-refused') refused++;
        }
      }),
      { numRuns: 150 },
    );
    // The test of the test: there were rekeys enough for it to mean something.
    expect(completed).to.be.greaterThan(60);
    expect(refused).to.be.greaterThan(20);
  });
});
