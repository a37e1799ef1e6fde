/** The answerer by itself: what it says and does to the letter, and what it keeps quiet about. */
import { expect } from 'chai';
import { encodeMessage, type KeyChannelMessage, KeyChannelMisuseError } from '../../../tls-ext/key-channel/index.ts';
import { hello, keysMessage, messagesOf } from './case.ts';
import { brief, bytesOf, keyOf, ksidOf, newAnswerer, qos, reference004, reference014 } from './fixtures.ts';

const k = ksidOf(1);
const stream: KeyChannelMessage = { type: 'stream', ksid: k, qos };
const skip = { api: 'skip', drawer: 'siteA', keyId: bytesOf(3, 1) } as const;

/** An answerer whose peer says this over a connection of its own, at time 0; streams are opened at once. */
function told(messages: readonly KeyChannelMessage[], answerer = newAnswerer(), id = 1) {
  answerer.connected(id, []);
  const events = messages.flatMap((message) => {
    const received = answerer.receive(id, encodeMessage(message), 0);
    return message.type === 'stream' ? [...received, ...answerer.streamOpened(message.ksid, 32)] : received;
  });
  const tell = (message: KeyChannelMessage, nowMs = 0) => answerer.receive(id, encodeMessage(message), nowMs);
  return { answerer, events, tell };
}

const otherCheck = (...references: readonly ReturnType<typeof reference014>[]): KeyChannelMessage => ({
  type: 'keys',
  batch: 0,
  ttlSeconds: 60,
  keys: references.map((reference, i) => ({ reference, check: bytesOf(16, i) })),
});

describe('key channel, the answerer', () => {
  it('says of its KME what it knows: nothing yet', () => {
    expect(messagesOf(newAnswerer().connected(1, [])).at(-1)).to.deep.equal({
      type: 'state',
      kmeReachable: false,
      kmeName: 'kme-b',
      poolKeys: 0,
      reasons: [],
    });
  });

  it('is told of each connection once, and of its end as often as one likes', () => {
    const answerer = newAnswerer();
    answerer.connected(1, []);
    expect(() => answerer.connected(1, [])).to.throw(KeyChannelMisuseError);
    answerer.disconnected(1, 0);
    answerer.disconnected(1, 0);
    answerer.disconnected(2, 0);
    expect(answerer.receive(1, encodeMessage(hello(0xd1)), 0)).to.deep.equal([]);
  });

  describe('what its KME says', () => {
    it('of a key or stream that is not wanted any more is of no interest', () => {
      const { answerer } = told([hello(0xd1)]);
      answerer.keyEnded(reference014(1));
      expect(answerer.reportPending(reference014(1))).to.deep.equal([]);
      expect(answerer.reportNotFound(reference014(1))).to.deep.equal([]);
      expect(answerer.streamOpened(k, 32)).to.deep.equal([]);
      expect(answerer.streamFailed(k, 'lost', true)).to.deep.equal([]);
      expect(answerer.streamFailed(k, 'lost', false)).to.deep.equal([]);
    });

    it('of a key that it has given already changes nothing, and a second secret is wiped', () => {
      const { answerer } = told([hello(0xd1), keysMessage(0, reference014(1))]);
      answerer.provideKey(reference014(1), keyOf(1));
      const again = keyOf(1);
      expect(answerer.provideKey(reference014(1), again)).to.deep.equal([]);
      expect(again.wiped).to.equal(true);
      expect(answerer.reportPending(reference014(1))).to.deep.equal([]);
      expect(answerer.reportNotFound(reference014(1))).to.deep.equal([]);
    });

    it('of a key that takes its time is passed on once, and again to whoever announces it again', () => {
      const { answerer } = told([hello(0xd1), keysMessage(0, reference014(1), reference014(2))]);
      const pending = { type: 'results', batch: 0, results: [{ position: 0, status: 'pending' }] };
      expect(messagesOf(answerer.reportPending(reference014(1)))).to.deep.equal([pending]);
      expect(answerer.reportPending(reference014(1))).to.deep.equal([]);
      answerer.disconnected(1, 0);
      const { events } = told([hello(0xd1), keysMessage(0, reference014(1), reference014(2))], answerer, 2);
      expect(messagesOf(events)).to.deep.equal([pending]);
    });
  });

  describe('refuses', () => {
    it('a batch of two APIs without streams', () => {
      const { events } = told([hello(0xd1), keysMessage(0, reference014(1), skip)]);
      expect(brief(events).at(-1)).to.equal('failed ERR_KEYCHANNEL_UNEXPECTED_MESSAGE');
    });

    it('a place of a stream that had its turn, to the very slice', () => {
      const { answerer, tell } = told([hello(0xd1), stream, keysMessage(0, reference004(k, 5, 1))]);
      answerer.keyEnded(reference004(k, 5, 1));
      const events = tell(keysMessage(1, reference004(k, 5, 1)));
      expect(messagesOf(events)).to.deep.equal([
        { type: 'results', batch: 1, results: [{ position: 0, status: 'unavailable' }] },
      ]);
    });

    it('what stands in a batch behind a key that does not match, and fetches nothing of what stands before', () => {
      for (const [first, second] of [
        [1, 2],
        [2, 1],
      ] as const) {
        const { answerer } = told([hello(0xd1), keysMessage(0, reference014(1))]);
        answerer.disconnected(1, 0);
        const { events } = told([hello(0xd1), otherCheck(reference014(first), reference014(second))], answerer, 2);
        expect(brief(events).join()).to.contain('mismatch').and.not.contain('keys-announced');
        const results = messagesOf(events).flatMap((message) => (message.type === 'results' ? message.results : []));
        const mismatch = { position: first === 1 ? 0 : 1, status: 'mismatch' };
        expect(results).to.deep.equal(first === 1 ? [mismatch, { position: 1, status: 'unavailable' }] : [mismatch]);
      }
    });
  });

  describe('a mismatch', () => {
    it('that the drawer found is reported, with what is known of the KMEs', () => {
      const { tell } = told([hello(0xd1), keysMessage(0, reference014(1))]);
      const events = tell({ type: 'dropped', reason: 'mismatch', references: [reference014(1), reference014(1)] });
      expect(events[0]).to.deep.equal({
        type: 'mismatch',
        report: { reference: reference014(1), ownKme: 'kme-b', peerKme: '' },
      });
      expect(brief(events.slice(1))).to.deep.equal(['key-withdrawn 01 mismatch not-accepted']);
    });

    it('of a whole stream names no key', () => {
      const { tell } = told([hello(0xd1), stream]);
      expect(tell({ type: 'close_stream', ksid: k, reason: 'mismatch' })[0]).to.deep.equal({
        type: 'mismatch',
        report: { ksid: k, ownKme: 'kme-b', peerKme: '' },
      });
    });

    it('ends accepted keys of every batch of its stream', () => {
      const { answerer } = told([
        hello(0xd1),
        stream,
        keysMessage(0, reference004(k, 0)),
        keysMessage(1, reference004(k, 1)),
      ]);
      answerer.provideKey(reference004(k, 0), keyOf(1));
      expect(brief(answerer.provideKey(reference004(k, 1), keyOf(2)))).to.include(
        'key-withdrawn 01/0/0 mismatch accepted',
      );
    });

    it('in a stream that has ended does not end it again', () => {
      const { answerer } = told([hello(0xd1), stream, keysMessage(0, reference004(k, 0))]);
      answerer.provideKey(reference004(k, 0), keyOf(1));
      answerer.receive(1, encodeMessage({ type: 'close_stream', ksid: k, reason: 'finished' }), 0);
      const { events } = told([hello(0xd1), otherCheck(reference004(k, 0))], answerer, 2);
      expect(brief(events).slice(-2)).to.deep.equal(['mismatch', 'key-withdrawn 01/0/0 mismatch accepted']);
    });
  });

  it('withdraws what was not fetched yet of a stream that ends, and only that', () => {
    const ends = [
      ({ tell }: ReturnType<typeof told>) => tell({ type: 'close_stream', ksid: k, reason: 'finished' }),
      ({ answerer }: ReturnType<typeof told>) => answerer.streamFailed(k, 'lost', false),
    ];
    for (const end of ends) {
      const channel = told([hello(0xd1), stream, keysMessage(0, reference004(k, 0), reference004(k, 1))]);
      channel.answerer.provideKey(reference004(k, 0), keyOf(1));
      const withdrawn = brief(end(channel)).filter((line) => line.startsWith('key-withdrawn'));
      expect(withdrawn).to.deep.equal(['key-withdrawn 01/1/0 stream-ended not-accepted']);
    }
  });

  it('keeps the stream of a process that is gone for the TTL of its keys, counted from the end of its last connection', () => {
    const { answerer } = told([hello(0xd1), stream]);
    answerer.disconnected(1, 50_000);
    expect(brief(answerer.tick(649_999))).to.deep.equal([]);
    expect(brief(answerer.tick(650_000))).to.deep.equal(['stream-ended 01 expired']);
  });

  it('knows a process for a day after its end, and no longer', () => {
    for (const [goneMs, known] of [
      [86_399_999, 'same'],
      [86_400_000, 'new'],
    ] as const) {
      const { answerer } = told([hello(0xd1)]);
      answerer.disconnected(1, 1_000);
      answerer.tick(1_000 + goneMs);
      expect(brief(told([hello(0xd1)], answerer, 2).events)).to.deep.equal([`ready ${known}`]);
    }
  });

  it('makes room by forgetting the process that has been gone for longest, with its streams', () => {
    const answerer = newAnswerer();
    for (let id = 1; id <= 8; id++) told([hello(id), { ...stream, ksid: ksidOf(id) }], answerer, id);
    for (const [id, goneMs] of [
      [2, 300],
      [4, 100],
      [6, 200],
    ] as const) {
      answerer.disconnected(id, goneMs);
    }
    expect(brief(told([hello(20)], answerer, 20).events)).to.deep.equal(['stream-ended 04 evicted', 'ready new']);
  });
});
