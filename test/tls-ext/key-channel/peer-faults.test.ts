import { expect } from 'chai';
import fc from 'fast-check';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import {
  deriveCheckValues,
  encodeMessage,
  type KeyChannelAnswerer,
  type KeyChannelDrawer,
  type KeyChannelMessage,
} from '../../../tls-ext/key-channel/index.ts';
import { anyMessage } from './any-message.ts';
import {
  brief,
  bytesOf,
  keyOf,
  ksidOf,
  messagesIn,
  newAnswerer,
  newDrawer,
  qos,
  reference004,
  reference014,
} from './fixtures.ts';

const k = ksidOf(1);
const hello = (instance: number): KeyChannelMessage => ({
  type: 'hello',
  instance: bytesOf(16, instance),
  quota: 100,
  services: [],
});
const stream: KeyChannelMessage = { type: 'stream', ksid: k, qos };
const keysMessage = (batch: number, ...references: ReturnType<typeof reference004>[]): KeyChannelMessage => ({
  type: 'keys',
  batch,
  ttlSeconds: 60,
  keys: references.map((reference) => ({ reference, check: deriveCheckValues(reference, keyOf(1)).drawer })),
});
const encoded = (messages: readonly KeyChannelMessage[]) => concatBytes(...messages.map(encodeMessage));

/** An answerer, its stream opened, and what it does with the rest. */
function tellAnswerer(messages: readonly KeyChannelMessage[], answerer = newAnswerer(), connection = 1) {
  answerer.connected(connection, []);
  const events = messages.flatMap((message) => {
    const received = answerer.receive(connection, encodeMessage(message), 0);
    return message.type === 'stream' ? [...received, ...answerer.streamOpened(message.ksid, 32)] : received;
  });
  return { answerer, events, said: said(events) };
}

function tellDrawer(messages: readonly KeyChannelMessage[], drawer = newDrawer()) {
  drawer.connected();
  const events = drawer.receive(encoded(messages), 0);
  return { drawer, events, said: said(events) };
}

function said(events: readonly { type: string }[]): KeyChannelMessage[] {
  return messagesIn(
    (events as { type: string; bytes: Uint8Array }[]).flatMap((event) => (event.type === 'write' ? [event.bytes] : [])),
  );
}

describe('key channel, a peer at fault', () => {
  describe('the answerer ends the connection, and says why, on', () => {
    const wrongDrawer = { api: 'etsi014' as const, drawer: 'siteC', keyId: bytesOf(16, 1) };
    for (const [title, messages, code, reason] of [
      ['a message before hello', [stream], 'UNEXPECTED_MESSAGE', 'unexpected_message'],
      ['a second hello', [hello(0xd1), hello(0xd1)], 'UNEXPECTED_MESSAGE', 'unexpected_message'],
      [
        "the answerer's own messages",
        [hello(0xd1), { type: 'opened', ksid: k, keyChunkSizeBytes: 32 }],
        'UNEXPECTED_MESSAGE',
        'unexpected_message',
      ],
      ['its own instance', [hello(0xa1)], 'SELF_CONNECTION', 'self_connection'],
      ["someone else's key", [hello(0xd1), keysMessage(0, wrongDrawer)], 'WRONG_DRAWER', 'wrong_drawer'],
      [
        'its own SAE as drawer (Selfie)',
        [hello(0xd1), keysMessage(0, { ...wrongDrawer, drawer: 'siteB' })],
        'WRONG_DRAWER',
        'wrong_drawer',
      ],
      [
        'a key twice in a batch',
        [hello(0xd1), keysMessage(0, reference014(1), reference014(1))],
        'DUPLICATE_REFERENCE',
        'duplicate_reference',
      ],
      [
        'a key twice on a connection',
        [hello(0xd1), keysMessage(0, reference014(1)), keysMessage(1, reference014(1))],
        'DUPLICATE_REFERENCE',
        'duplicate_reference',
      ],
      ['a batch out of order', [hello(0xd1), keysMessage(1, reference014(1))], 'UNKNOWN_BATCH', 'unknown_batch'],
      [
        'a batch of two streams',
        [hello(0xd1), stream, keysMessage(0, reference004(k, 0), reference014(1))],
        'UNEXPECTED_MESSAGE',
        'unexpected_message',
      ],
    ] as const) {
      it(title, () => {
        const { events, said, answerer } = tellAnswerer(messages);
        expect(brief(events).at(-1)).to.equal(`failed ERR_KEYCHANNEL_${code}`);
        expect(said.at(-1)).to.deep.equal({ type: 'abort', reason });
        // It is over: nothing more is heard.
        expect(answerer.receive(1, encodeMessage(hello(0xd1)), 0)).to.deep.equal([]);
      });
    }

    it('keys of a stream that it has not opened yet', () => {
      const answerer = newAnswerer();
      answerer.connected(1, []);
      const events = answerer.receive(1, encoded([hello(0xd1), stream, keysMessage(0, reference004(k, 0))]), 0);
      expect(brief(events).at(-1)).to.equal('failed ERR_KEYCHANNEL_UNEXPECTED_MESSAGE');
    });

    it('garbage, with what stood before it in effect', () => {
      const answerer = newAnswerer();
      answerer.connected(1, []);
      const events = answerer.receive(1, concatBytes(encoded([hello(0xd1), stream]), Uint8Array.of(0x63, 0, 0, 0)), 0);
      expect(brief(events).filter((line) => line !== 'write')).to.deep.equal([
        'ready new',
        'stream-requested 01',
        'failed ERR_KEYCHANNEL_UNKNOWN_MESSAGE',
      ]);
    });

    it('more connections than a peer may have, and on no other of them', () => {
      const answerer = newAnswerer();
      for (let id = 0; id < 16; id++) expect(brief(answerer.connected(id, []))).to.not.include('failed');
      expect(brief(answerer.connected(16, [])).at(-1)).to.equal('failed ERR_KEYCHANNEL_LIMIT');
      expect(brief(answerer.receive(0, encodeMessage(hello(0xd1)), 0))).to.deep.equal(['ready new']);
    });

    it('more processes than a peer may have; those that are gone make room', () => {
      const answerer = newAnswerer();
      for (let id = 0; id < 8; id++) tellAnswerer([hello(id + 1), keysMessage(0, reference014(id + 1))], answerer, id);
      expect(brief(tellAnswerer([hello(20)], answerer, 20).events).at(-1)).to.equal('failed ERR_KEYCHANNEL_LIMIT');
      answerer.disconnected(5, 200);
      answerer.disconnected(3, 100);
      expect(brief(tellAnswerer([hello(21)], answerer, 21).events)).to.deep.equal([
        'key-withdrawn 04 evicted not-accepted',
        'ready new',
      ]);
    });
  });

  describe('the answerer answers, and keeps nothing, on', () => {
    it('keys of a stream that was never opened', () => {
      const { said } = tellAnswerer([hello(0xd1), keysMessage(0, reference004(k, 0))]);
      expect(said).to.deep.equal([{ type: 'results', batch: 0, results: [{ position: 0, status: 'unavailable' }] }]);
    });

    it('an index that goes back', () => {
      const { said, events } = tellAnswerer([
        hello(0xd1),
        stream,
        keysMessage(0, reference004(k, 5, 1)),
        keysMessage(1, reference004(k, 5, 0), reference004(k, 5, 2)),
      ]);
      expect(said.at(-1)).to.deep.equal({
        type: 'results',
        batch: 1,
        results: [{ position: 0, status: 'unavailable' }],
      });
      expect(brief(events).at(-1)).to.equal('keys-announced 01/5/2');
    });

    it('keys over quota', () => {
      const answerer = newAnswerer({ quota: 1 });
      const { said } = tellAnswerer([hello(0xd1), keysMessage(0, reference014(1), reference014(2))], answerer);
      expect(said).to.deep.equal([{ type: 'results', batch: 0, results: [{ position: 1, status: 'over_quota' }] }]);
    });

    it("another process' key or stream", () => {
      const answerer = newAnswerer();
      tellAnswerer([hello(0xd1), stream, keysMessage(0, reference014(1))], answerer, 1);
      const { said } = tellAnswerer(
        [hello(0xd2), keysMessage(0, reference014(1)), keysMessage(1, reference004(k, 0))],
        answerer,
        2,
      );
      expect(said.map((message) => message.type === 'results' && message.results)).to.deep.equal([
        [{ position: 0, status: 'unavailable' }],
        [{ position: 0, status: 'unavailable' }],
      ]);
      answerer.receive(2, encodeMessage({ type: 'dropped', reason: 'unused', references: [reference014(1)] }), 0);
      expect(brief(answerer.provideKey(reference014(1), keyOf(1)))[0]).to.equal('key-accepted 01');
    });

    it('more streams than it allows', () => {
      const streams = Array.from({ length: 9 }, (_, i) => ({ ...stream, ksid: ksidOf(i + 1) }) as KeyChannelMessage);
      const { said } = tellAnswerer([hello(0xd1), ...streams]);
      expect(said.filter((message) => message.type === 'opened')).to.have.length(8);
      expect(said.at(-1)).to.deep.equal({ type: 'failed', ksid: ksidOf(9), reason: 'limit', retrying: false });
    });

    it('drops and closes of what it does not know', () => {
      const { events } = tellAnswerer([
        hello(0xd1),
        { type: 'dropped', reason: 'mismatch', references: [reference014(1)] },
        { type: 'close_stream', ksid: k, reason: 'mismatch' },
      ]);
      expect(brief(events)).to.deep.equal(['ready new']);
    });
  });

  it('the answerer takes a key announced again with another check value for a mismatch', () => {
    const answerer = newAnswerer();
    tellAnswerer([hello(0xd1), stream, keysMessage(0, reference004(k, 0))], answerer, 1);
    answerer.provideKey(reference004(k, 0), keyOf(1));
    const other: KeyChannelMessage = {
      type: 'keys',
      batch: 0,
      ttlSeconds: 60,
      keys: [{ reference: reference004(k, 0), check: bytesOf(16, 0) }],
    };
    const { events, said } = tellAnswerer([hello(0xd1), other], answerer, 2);
    expect(said).to.deep.equal([{ type: 'results', batch: 0, results: [{ position: 0, status: 'mismatch' }] }]);
    expect(brief(events)).to.include('key-withdrawn 01/0/0 mismatch accepted');
  });

  it('the answerer serves two connections of one process, each with its own batches', () => {
    const answerer = newAnswerer();
    const first = tellAnswerer([hello(0xd1), keysMessage(0, reference014(1))], answerer, 1);
    const second = tellAnswerer([hello(0xd1), keysMessage(0, reference014(2))], answerer, 2);
    expect(brief(first.events)).to.include('ready new');
    expect(brief(second.events)).to.include('ready same');
    const writes = answerer.provideKey(reference014(1), keyOf(1)).filter((event) => event.type === 'write');
    expect(writes.map((event) => event.connection)).to.deep.equal([1]);
  });

  describe('the drawer ends the connection, and says why, on', () => {
    for (const [title, messages, code, reason] of [
      [
        'a message before hello',
        [{ type: 'opened', ksid: k, keyChunkSizeBytes: 32 }],
        'UNEXPECTED_MESSAGE',
        'unexpected_message',
      ],
      ["the drawer's own messages", [hello(0xa1), stream], 'UNEXPECTED_MESSAGE', 'unexpected_message'],
      ['its own instance', [hello(0xd1)], 'SELF_CONNECTION', 'self_connection'],
      [
        'results for a batch that never was',
        [hello(0xa1), { type: 'results', batch: 0, results: [{ position: 0, status: 'pending' }] }],
        'UNKNOWN_BATCH',
        'unknown_batch',
      ],
    ] as const) {
      it(title, () => {
        const { events, said, drawer } = tellDrawer(messages as readonly KeyChannelMessage[]);
        expect(brief(events).at(-1)).to.equal(`failed ERR_KEYCHANNEL_${code}`);
        expect(said.at(-1)).to.deep.equal({ type: 'abort', reason });
        expect(drawer.ready).to.equal(false);
      });
    }

    it('a result for a place beyond the batch', () => {
      const { drawer } = tellDrawer([hello(0xa1)]);
      drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
      const events = drawer.receive(
        encodeMessage({ type: 'results', batch: 0, results: [{ position: 1, status: 'pending' }] }),
        0,
      );
      expect(brief(events).at(-1)).to.equal('failed ERR_KEYCHANNEL_UNKNOWN_BATCH');
    });
  });

  it('the drawer checks the check value of an ack: its own, sent back, is a mismatch', () => {
    const { drawer } = tellDrawer([hello(0xa1)]);
    const { drawer: check } = deriveCheckValues(reference014(1), keyOf(1));
    drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
    const events = drawer.receive(
      encodeMessage({ type: 'results', batch: 0, results: [{ position: 0, status: 'acked', check }] }),
      0,
    );
    expect(brief(events)).to.deep.equal([
      'mismatch',
      'key-withdrawn 01 mismatch',
      'write',
      'fresh-start mismatch 1000',
    ]);
    expect(said(events)).to.deep.equal([{ type: 'dropped', reason: 'mismatch', references: [reference014(1)] }]);
  });

  it('the drawer offers a key once, and not after it ended', () => {
    const { drawer } = tellDrawer([hello(0xa1)]);
    const { answerer: check } = deriveCheckValues(reference014(1), keyOf(1));
    drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
    const ack = encodeMessage({ type: 'results', batch: 0, results: [{ position: 0, status: 'acked', check }] });
    expect(brief(drawer.receive(ack, 0))).to.deep.equal(['key-offerable 01']);
    drawer.keyUsed(reference014(1));
    expect(drawer.receive(ack, 0)).to.deep.equal([]);
    drawer.tick(0);
    expect(drawer.receive(ack, 0)).to.deep.equal([]);
  });

  describe('the drawer takes one `pending` and one other result of a key that lives, and ends the connection on', () => {
    const { answerer: check } = deriveCheckValues(reference014(1), keyOf(1));
    const acked = { position: 0, status: 'acked', check } as const;
    const pending = { position: 0, status: 'pending' } as const;
    const unavailable = { position: 0, status: 'unavailable' } as const;
    for (const [title, ...messages] of [
      ['two acks', [acked], [acked]],
      ['two acks in one message, of which nothing has an effect', [acked, acked]],
      ['two that are pending', [pending], [pending]],
      ['pending after the ack', [pending], [acked], [pending]],
      ['unavailable after the ack', [acked], [unavailable]],
    ] as const) {
      it(title, () => {
        const { drawer } = tellDrawer([hello(0xa1)]);
        drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
        const results = messages.map((list) => encodeMessage({ type: 'results', batch: 0, results: [...list] }));
        const events = drawer.receive(concatBytes(...results), 0);
        expect(brief(events).at(-1)).to.equal('failed ERR_KEYCHANNEL_UNEXPECTED_MESSAGE');
        expect(said(events).at(-1)).to.deep.equal({ type: 'abort', reason: 'unexpected_message' });
        const offerable = messages.length > 1 && messages.some(([first]) => first?.status === 'acked');
        expect(brief(events).includes('key-offerable 01')).to.equal(offerable);
      });
    }
  });

  it('each end hangs up on a peer that does not say hello in time', () => {
    const drawer = newDrawer();
    drawer.connected();
    const answerer = newAnswerer();
    answerer.connected(1, []);
    for (const end of [drawer, answerer]) {
      expect(end.tick(1_000)).to.deep.equal([]);
      expect(end.tick(30_999)).to.deep.equal([]);
      expect(brief(end.tick(31_000))).to.deep.equal(['failed ERR_KEYCHANNEL_TIMEOUT']);
      expect(end.tick(99_000)).to.deep.equal([]);
    }
    const { drawer: greeted } = tellDrawer([hello(0xa1)]);
    greeted.tick(1_000);
    expect(greeted.tick(99_000)).to.deep.equal([]);
  });

  it('the answerer takes no stream whose chunks hold no key', () => {
    const { answerer } = tellAnswerer([hello(0xd1)]);
    answerer.receive(1, encodeMessage(stream), 0);
    const events = answerer.streamOpened(k, 31);
    expect(said(events)).to.deep.equal([{ type: 'failed', ksid: k, reason: 'qos_not_met', retrying: false }]);
    expect(brief(events)).to.include('stream-ended 01 closed');
  });

  it('the drawer does not offer a key that it dropped before the ack came', () => {
    const { drawer } = tellDrawer([hello(0xa1)]);
    drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
    drawer.keyDropped(reference014(1));
    const { answerer: check } = deriveCheckValues(reference014(1), keyOf(1));
    const ack = encodeMessage({ type: 'results', batch: 0, results: [{ position: 0, status: 'acked', check }] });
    expect(drawer.receive(ack, 0)).to.deep.equal([]);
  });

  it('an abort is passed on and not answered', () => {
    for (const { events, said: answers } of [
      tellDrawer([hello(0xa1), { type: 'abort', reason: 'limit' }]),
      tellAnswerer([hello(0xd1), { type: 'abort', reason: 'limit' }]),
    ]) {
      const failed = events.at(-1);
      expect(failed).to.have.nested.property('error.code', 'ERR_KEYCHANNEL_PEER_ABORT');
      expect(failed).to.have.nested.property('error.message').that.contains('limit');
      expect(answers.some((message) => message.type === 'abort')).to.equal(false);
    }
  });

  describe('whatever legal or broken messages come, nothing but a typed failure follows, at', () => {
    const hostile = fc.array(
      fc.oneof(
        { weight: 4, arbitrary: anyMessage.map(encodeMessage) },
        {
          weight: 2,
          arbitrary: fc
            .constantFrom(stream, keysMessage(0, reference014(1)), keysMessage(1, reference004(k, 0)))
            .map(encodeMessage),
        },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
      ),
      { maxLength: 8 },
    );
    const play = (
      end: KeyChannelDrawer | KeyChannelAnswerer,
      chunks: readonly Uint8Array[],
      receive: (bytes: Uint8Array) => readonly { type: string }[],
    ) => {
      let failures = 0;
      for (const chunk of chunks) failures += receive(chunk).filter((event) => event.type === 'failed').length;
      expect(failures, end.constructor.name).to.be.at.most(1);
    };

    it('the answerer', () => {
      fc.assert(
        fc.property(hostile, (chunks) => {
          const { answerer } = tellAnswerer([hello(0xd1), stream]);
          play(answerer, chunks, (bytes) => answerer.receive(1, bytes, 0));
        }),
        { numRuns: 500 },
      );
    });

    it('the drawer', () => {
      fc.assert(
        fc.property(hostile, (chunks) => {
          const { drawer } = tellDrawer([hello(0xa1)]);
          drawer.openStream(k, qos);
          drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
          play(drawer, chunks, (bytes) => drawer.receive(bytes, 0));
        }),
        { numRuns: 500 },
      );
    });
  });
});
