import { expect } from 'chai';
import { DrawerGreeting, encodeMessage, type KeyChannelMessage } from '../../../tls-ext/key-channel/index.ts';
import { brief, bytesOf, keyOf, ksidOf, messagesIn, newAnswerer, newDrawer, qos, reference004 } from './fixtures.ts';

const services = [{ service: 'db', require: 'qkd-or-pqc' as const }];
const newGreeting = (instance = 0xd1) => new DrawerGreeting({ instance: bytesOf(16, instance), quota: 100, services });
const hello: KeyChannelMessage = { type: 'hello', instance: bytesOf(16, 0xa1), quota: 7, services };
const state: KeyChannelMessage = { type: 'state', kmeReachable: true, kmeName: 'kme-b', poolKeys: 0, reasons: [] };

describe('key channel, greeting', () => {
  it('says hello, and knows from the answer which process is there and how it is doing', () => {
    const greeting = newGreeting();
    expect(messagesIn([greeting.hello()])).to.deep.equal([
      { type: 'hello', instance: bytesOf(16, 0xd1), quota: 100, services },
    ]);
    expect(greeting.peer).to.equal(undefined);
    const bytes = [hello, state].map((message) => encodeMessage(message));
    // Cut within the hello.
    expect(greeting.receive((bytes[0] as Uint8Array).subarray(0, 9))).to.equal(undefined);
    expect(greeting.peer).to.equal(undefined);
    expect(greeting.receive((bytes[0] as Uint8Array).subarray(9))).to.equal(undefined);
    expect(greeting.receive(bytes[1] as Uint8Array)).to.equal(undefined);
    expect(greeting.peer).to.include({ quota: 7 });
    expect(greeting.state).to.include({ kmeName: 'kme-b' });
  });

  const faults: readonly (readonly [string, KeyChannelMessage[], string])[] = [
    ['another first message', [state], 'unexpected_message'],
    ['a second hello', [hello, hello], 'unexpected_message'],
    [
      'results for nothing',
      [hello, { type: 'results', batch: 0, results: [{ position: 0, status: 'pending' }] }],
      'unexpected_message',
    ],
    ['our own process', [{ ...hello, instance: bytesOf(16, 0xd1) }], 'self_connection'],
  ];
  for (const [what, messages, reason] of faults) {
    it(`ends on ${what}, and says why`, () => {
      const greeting = newGreeting();
      const failure = messages
        .map((message) => greeting.receive(encodeMessage(message)))
        .find((one) => one !== undefined);
      expect(messagesIn([failure?.bytes as Uint8Array])).to.deep.equal([{ type: 'abort', reason }]);
    });
  }

  it('an abort is not answered', () => {
    const failure = newGreeting().receive(encodeMessage({ type: 'abort', reason: 'limit' }));
    expect(failure).not.to.have.property('bytes');
    expect(failure?.error.code).to.equal('ERR_KEYCHANNEL_PEER_ABORT');
  });

  it('a drawer goes on with the second connection when the first is lost: everything is announced again and acked at once', () => {
    const [drawer, answerer, k] = [newDrawer(), newAnswerer(), ksidOf(1)];
    /** Delivers both ways over one connection until both are silent; the drawer's other events. */
    const run = (id: number, ...events: ReturnType<typeof drawer.connected>[]) => {
      const others: ReturnType<typeof drawer.connected> = [];
      const toAnswerer = events.flat();
      for (let event = toAnswerer.shift(); event !== undefined; event = toAnswerer.shift()) {
        if (event.type !== 'write') {
          others.push(event);
          continue;
        }
        for (const answer of answerer.receive(id, event.bytes, 0)) {
          if (answer.type === 'write' && answer.connection === id) toAnswerer.push(...drawer.receive(answer.bytes, 0));
          if (answer.type === 'stream-requested') {
            for (const said of answerer.streamOpened(answer.ksid, 32)) {
              if (said.type === 'write') toAnswerer.push(...drawer.receive(said.bytes, 0));
            }
          }
          if (answer.type === 'keys-announced') {
            for (const said of answer.references.flatMap((reference) => answerer.provideKey(reference, keyOf(1)))) {
              if (said.type === 'write') toAnswerer.push(...drawer.receive(said.bytes, 0));
            }
          }
        }
      }
      return brief(others);
    };
    const greet = (id: number) => {
      const greeting = newGreeting();
      const said = [...answerer.connected(id, services), ...answerer.receive(id, greeting.hello(), 0)];
      for (const event of said) if (event.type === 'write') expect(greeting.receive(event.bytes)).to.equal(undefined);
      return greeting;
    };
    const [first, second] = [greet(1), greet(2)];
    expect(run(1, drawer.takeOver(first, 0))).to.deep.equal(['ready first', 'peer-state']);
    run(1, drawer.openStream(k, qos));
    const keys = [{ reference: reference004(k, 0), secret: keyOf(1) }];
    expect(run(1, drawer.announce(keys, 600_000, 0))).to.deep.equal(['key-offerable 01/0/0']);
    drawer.disconnected();
    answerer.disconnected(1, 0);
    expect(run(2, drawer.takeOver(second, 0))).to.deep.equal(['ready same', 'peer-state']);
    const more = [{ reference: reference004(k, 1), secret: keyOf(1) }];
    expect(run(2, drawer.announce(more, 600_000, 0))).to.deep.equal(['key-offerable 01/1/0']);
  });

  it('is taken over once the answerer has said hello, by a drawer without a connection', () => {
    const drawer = newDrawer();
    expect(() => drawer.takeOver(newGreeting(), 0)).to.throw(/not said hello/);
    const greeting = newGreeting();
    greeting.receive(encodeMessage(hello));
    drawer.takeOver(greeting, 0);
    expect(() => drawer.takeOver(greeting, 0)).to.throw(/a connection already/);
  });
});
