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
import { hello, keysMessage, messagesOf } from './case.ts';
import { brief, bytesOf, keyOf, ksidOf, newAnswerer, newDrawer, qos, reference004, reference014 } from './fixtures.ts';

const k = ksidOf(1);
const stream: KeyChannelMessage = { type: 'stream', ksid: k, qos };
const encoded = (messages: readonly KeyChannelMessage[]) => concatBytes(...messages.map(encodeMessage));

/** An answerer, its stream opened, and what it does with the rest. */
function tellAnswerer(messages: readonly KeyChannelMessage[], answerer = newAnswerer(), connection = 1) {
  answerer.connected(connection, []);
  const events = messages.flatMap((message) => {
    const received = answerer.receive(connection, encodeMessage(message), 0);
    return message.type === 'stream' ? [...received, ...answerer.streamOpened(message.ksid, 32)] : received;
  });
  return { answerer, events, said: messagesOf(events) };
}

function tellDrawer(messages: readonly KeyChannelMessage[], drawer = newDrawer()) {
  drawer.connected();
  const events = drawer.receive(encoded(messages), 0);
  return { drawer, events, said: messagesOf(events) };
}

describe('key channel, a peer at fault', () => {
  describe('the answerer ends the connection on', () => {
    it('more connections than a peer may have, and on no other of them', () => {
      const answerer = newAnswerer();
      for (let id = 0; id < 16; id++) expect(brief(answerer.connected(id, []))).to.deep.equal(['write', 'write']);
      const events = answerer.connected(16, []);
      expect(brief(events).at(-1)).to.equal('failed ERR_KEYCHANNEL_LIMIT');
      expect(messagesOf(events).at(-1)).to.deep.equal({ type: 'abort', reason: 'limit' });
      expect(brief(answerer.receive(0, encodeMessage(hello(0xd1)), 0))).to.deep.equal(['ready new']);
    });

    it('more processes than a peer may have; those that are gone make room', () => {
      const answerer = newAnswerer();
      for (let id = 0; id < 8; id++) tellAnswerer([hello(id + 1), keysMessage(0, reference014(id + 1))], answerer, id);
      const { events, said } = tellAnswerer([hello(20)], answerer, 20);
      expect(brief(events).at(-1)).to.equal('failed ERR_KEYCHANNEL_LIMIT');
      expect(said).to.deep.equal([{ type: 'abort', reason: 'limit' }]);
      answerer.disconnected(5, 200);
      answerer.disconnected(3, 100);
      expect(brief(tellAnswerer([hello(21)], answerer, 21).events)).to.deep.equal([
        'key-withdrawn 04 evicted not-accepted',
        'ready new',
      ]);
    });
  });

  describe('the answerer answers, and keeps nothing, on', () => {
    it('keys over its own quota', () => {
      const answerer = newAnswerer({ quota: 1 });
      const { said } = tellAnswerer([hello(0xd1), keysMessage(0, reference014(1), reference014(2))], answerer);
      expect(said).to.deep.equal([{ type: 'results', batch: 0, results: [{ position: 1, status: 'over_quota' }] }]);
    });

    it("another process' key or stream", () => {
      const answerer = newAnswerer();
      tellAnswerer([hello(0xd1), stream, keysMessage(0, reference014(1))], answerer, 1);
      const { said } = tellAnswerer(
        [hello(0xd2), keysMessage(0, reference014(1)), keysMessage(1, reference004(k, 0)), stream],
        answerer,
        2,
      );
      expect(said.filter(({ type }) => type !== 'opened')).to.deep.equal([
        { type: 'results', batch: 0, results: [{ position: 0, status: 'unavailable' }] },
        { type: 'results', batch: 1, results: [{ position: 0, status: 'unavailable' }] },
        { type: 'failed', ksid: k, reason: 'ksid_in_use', retrying: false },
      ]);
      answerer.receive(2, encodeMessage({ type: 'dropped', reason: 'unused', references: [reference014(1)] }), 0);
      expect(brief(answerer.provideKey(reference014(1), keyOf(1)))[0]).to.equal('key-accepted 01');
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

  it('the answerer goes by the batch in which a key came last', () => {
    const answerer = newAnswerer();
    tellAnswerer([hello(0xd1), keysMessage(0, reference014(1), reference014(2))], answerer, 1);
    answerer.disconnected(1, 0);
    tellAnswerer([hello(0xd1), keysMessage(0, reference014(2))], answerer, 2);
    expect(brief(answerer.provideKey(reference014(1), keyOf(2)))).to.deep.equal([
      'mismatch',
      'key-withdrawn 01 mismatch not-accepted',
    ]);
    expect(brief(answerer.provideKey(reference014(2), keyOf(1)))[0]).to.equal('key-accepted 02');
  });

  it('a connection that ends within a message has not said it', () => {
    const answerer = newAnswerer();
    tellAnswerer([hello(0xd1)], answerer, 1);
    const bytes = encodeMessage(keysMessage(0, reference014(1)));
    expect(answerer.receive(1, bytes.subarray(0, -1), 0)).to.deep.equal([]);
    answerer.disconnected(1, 0);
    const { events } = tellAnswerer([hello(0xd1), keysMessage(0, reference014(1))], answerer, 2);
    expect(brief(events)).to.deep.equal(['ready same', 'keys-announced 01']);
    const { drawer } = tellDrawer([hello(0xa1)]);
    const ack = encodeMessage({ type: 'failed', ksid: k, reason: 'lost', retrying: false });
    drawer.openStream(k, qos);
    expect(drawer.receive(ack.subarray(0, -1), 0)).to.deep.equal([]);
    drawer.disconnected();
    drawer.connected();
    const opened = encodeMessage({ type: 'opened', ksid: k, keyChunkSizeBytes: 32 });
    expect(brief(drawer.receive(concatBytes(encodeMessage(hello(0xa1)), opened), 0)).at(-1)).to.equal(
      'stream-opened 01',
    );
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
    expect(messagesOf(events)).to.deep.equal([{ type: 'failed', ksid: k, reason: 'qos_not_met', retrying: false }]);
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
