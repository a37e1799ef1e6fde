/** The drawer by itself: what it says to the letter, on a connection and after one was lost, and what it keeps quiet about. */
import { expect } from 'chai';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import type { QkdKeyReference } from '../../../tls-ext/engine-types.ts';
import { DrawerOutbox } from '../../../tls-ext/key-channel/drawer-outbox.ts';
import {
  deriveCheckValues,
  encodeMessage,
  type KeyChannelDrawer,
  type KeyChannelMessage,
  KeyChannelMisuseError,
} from '../../../tls-ext/key-channel/index.ts';
import { hello, messagesOf } from './case.ts';
import { brief, bytesOf, keyOf, ksidOf, newDrawer, qos, reference004, reference014 } from './fixtures.ts';

const k = ksidOf(1);
const opened: KeyChannelMessage = { type: 'opened', ksid: k, keyChunkSizeBytes: 32 };
const references = (count: number, from = 0) => Array.from({ length: count }, (_, i) => reference004(k, from + i));

/** Connects it to an answerer that says this; what it says and does then. */
function connect(drawer: KeyChannelDrawer, messages: readonly KeyChannelMessage[] = [hello(0xa1)], nowMs = 0) {
  drawer.connected();
  const events = drawer.receive(concatBytes(...messages.map((message) => encodeMessage(message))), nowMs);
  return { events: brief(events).filter((line) => line !== 'write'), said: messagesOf(events) };
}

function announce(drawer: KeyChannelDrawer, list: readonly QkdKeyReference[], ttlMs = 600_000, nowMs = 0) {
  return drawer.announce(
    list.map((reference) => ({ reference, secret: keyOf(1) })),
    ttlMs,
    nowMs,
  );
}

/** A drawer with an open stream. */
function drawing(options: Parameters<typeof newDrawer>[0] = {}): KeyChannelDrawer {
  const drawer = newDrawer({ quota: 300, ...options });
  drawer.openStream(k, qos);
  connect(drawer, [{ ...hello(0xa1), quota: 300 }, opened]);
  return drawer;
}

function ack(drawer: KeyChannelDrawer, batch: number, position: number, reference: QkdKeyReference) {
  const { answerer: check } = deriveCheckValues(reference, keyOf(1));
  return drawer.receive(encodeMessage({ type: 'results', batch, results: [{ position, status: 'acked', check }] }), 0);
}

const sizes = (said: readonly KeyChannelMessage[]) =>
  said.flatMap((message) =>
    message.type === 'keys' ? [message.keys.length] : message.type === 'dropped' ? [message.references.length] : [],
  );

describe('key channel, the drawer', () => {
  it('says of its KME what it knows, and to nobody without a connection', () => {
    const drawer = newDrawer();
    const state = { kmeReachable: true, kmeName: 'kme-a', poolKeys: 3, reasons: [] };
    expect(messagesOf(newDrawer().connected()).at(-1)).to.deep.equal({
      ...state,
      type: 'state',
      kmeReachable: false,
      poolKeys: 0,
    });
    expect(drawer.setState(state)).to.deep.equal([]);
    expect(messagesOf(drawer.connected()).at(-1)).to.deep.equal({ ...state, type: 'state' });
  });

  it('has one connection at a time, and knows its peer', () => {
    const drawer = newDrawer();
    expect(drawer.peer).to.equal(undefined);
    expect(drawer.announceRoom()).to.equal(0);
    connect(drawer);
    expect(() => drawer.connected()).to.throw(KeyChannelMisuseError);
    expect(drawer.peer?.instance).to.deep.equal(bytesOf(16, 0xa1));
  });

  it('announces a stream once, under the ID that it had then', () => {
    const drawer = newDrawer();
    const ksid = k.slice();
    drawer.openStream(ksid, qos);
    expect(() => drawer.openStream(k, qos)).to.throw(KeyChannelMisuseError);
    ksid.fill(9);
    expect(connect(drawer).said).to.deep.equal([{ type: 'stream', ksid: k, qos }]);
  });

  it('is not told of what it does not have', () => {
    const drawer = drawing();
    expect(drawer.endStream(ksidOf(2))).to.deep.equal([]);
    expect(drawer.abandonStream(ksidOf(2))).to.deep.equal([]);
    expect(drawer.keyUsed(reference014(1))).to.deep.equal([]);
    expect(drawer.keyDropped(reference014(1))).to.deep.equal([]);
    expect(drawer.announce([], 1_000, 0)).to.deep.equal([]);
  });

  describe('announces', () => {
    it('no key twice, even beside one that is new, and has so much less room', () => {
      const drawer = drawing({ quota: 7 });
      announce(drawer, references(3));
      expect(() => announce(drawer, references(2, 2))).to.throw(KeyChannelMisuseError);
      expect(drawer.announceRoom()).to.equal(4);
    });

    it('a full batch in one message, with the seconds that are left', () => {
      const said = messagesOf(announce(drawing(), references(128), 61_500, 10_000));
      expect(sizes(said)).to.deep.equal([128]);
      expect(said[0]).to.include({ type: 'keys', batch: 0, ttlSeconds: 61 });
    });

    it('what it still holds after a reconnect: in messages of at most 128 keys, for the least TTL of each', () => {
      const drawer = drawing();
      announce(drawer, references(128), 100_000);
      announce(drawer, references(72, 128), 60_000);
      drawer.disconnected();
      const { said } = connect(drawer, [{ ...hello(0xa1), quota: 300 }], 10_000);
      expect(sizes(said)).to.deep.equal([128, 72]);
      const ttl = said.flatMap((message) => (message.type === 'keys' ? [message.ttlSeconds] : []));
      expect(ttl).to.deep.equal([90, 50]);
      drawer.keyUsed(reference004(k, 0));
      drawer.disconnected();
      const again = connect(drawer, [{ ...hello(0xa1), quota: 300 }], 10_000).said;
      expect(sizes(again)).to.deep.equal([128, 71]);
      expect(again.find(({ type }) => type === 'keys')).to.include({ ttlSeconds: 50 });
    });

    it('nothing without a connection', () => {
      const drawer = drawing();
      drawer.disconnected();
      expect(announce(drawer, references(1))).to.deep.equal([]);
      expect(sizes(connect(drawer).said)).to.deep.equal([1]);
    });

    for (const [ttlMarginMs, lastMs] of [
      [5_000, 14_999],
      [0, 18_999],
    ] as const) {
      it(`no key that is about to end, with a margin of ${ttlMarginMs} ms`, () => {
        for (const nowMs of [lastMs, lastMs + 1]) {
          const drawer = drawing({ ttlMarginMs });
          announce(drawer, references(1), 20_000);
          drawer.disconnected();
          const { events, said } = connect(drawer, [hello(0xa1)], nowMs);
          expect(events).to.deep.equal(
            nowMs === lastMs ? ['ready same'] : ['ready same', 'key-withdrawn 01/0/0 expired'],
          );
          expect(sizes(said)).to.deep.equal(nowMs === lastMs ? [1] : []);
        }
      });
    }
  });

  describe('tells the answerer', () => {
    it('at once of keys that expired, and not of those that expired without a connection', () => {
      const drawer = drawing();
      announce(drawer, references(1), 20_000);
      expect(messagesOf(drawer.tick(15_000))).to.deep.equal([
        { type: 'dropped', reason: 'unused', references: references(1) },
      ]);
      announce(drawer, references(1, 1), 20_000, 15_000);
      drawer.disconnected();
      drawer.tick(35_000);
      expect(sizes(connect(drawer).said)).to.deep.equal([]);
    });

    it('after a reconnect what ended meanwhile, in messages of at most 128 keys', () => {
      const drawer = drawing();
      announce(drawer, references(128));
      announce(drawer, references(72, 128));
      drawer.disconnected();
      for (const reference of references(200)) drawer.keyDropped(reference);
      expect(brief(drawer.abandonStream(k))).to.deep.equal(['stream-ended 01 closed']);
      const { said } = connect(drawer);
      expect(said[0]).to.deep.equal({ type: 'close_stream', ksid: k, reason: 'finished' });
      expect(sizes(said)).to.deep.equal([128, 72]);
    });

    it('nothing of keys and streams that it never heard of', () => {
      const drawer = drawing();
      drawer.disconnected();
      drawer.openStream(ksidOf(2), qos);
      drawer.abandonStream(ksidOf(2));
      announce(drawer, references(1));
      drawer.keyDropped(reference004(k, 0));
      expect(connect(drawer).said.map(({ type }) => type)).to.deep.equal(['stream']);
    });

    it('nothing of what a process before it had', () => {
      const drawer = drawing();
      announce(drawer, references(1));
      drawer.disconnected();
      drawer.keyDropped(reference004(k, 0));
      drawer.abandonStream(k);
      expect(connect(drawer, [hello(0xa2)]).said).to.deep.equal([]);
    });
  });

  describe('a batch', () => {
    it('is answered key by key, whatever has ended of it meanwhile', () => {
      const drawer = drawing();
      announce(drawer, references(2));
      drawer.keyDropped(reference004(k, 0));
      drawer.tick(0);
      expect(brief(ack(drawer, 0, 1, reference004(k, 1)))).to.deep.equal(['key-offerable 01/1/0']);
    });

    it('is forgotten when all of its keys have ended', () => {
      const outbox = new DrawerOutbox({ ready: () => true, write: () => {} });
      const keys = references(2).map((reference) => ({
        reference,
        checks: { drawer: bytesOf(16, 1) },
        ttlEndsAtMs: 10_000,
        ended: false,
      }));
      outbox.announceKeys(keys as never, 0);
      for (const key of keys) {
        outbox.forgetBatches();
        expect(outbox.keysOf(0)).to.have.length(2);
        key.ended = true;
      }
      outbox.forgetBatches();
      expect(outbox.keysOf(0)).to.equal(undefined);
      expect(() => outbox.keysOf(1)).to.throw();
    });
  });

  it('reports what is known, and no more', () => {
    const drawer = newDrawer();
    connect(drawer);
    announce(drawer, [reference014(1)]);
    const mismatch: KeyChannelMessage = { type: 'results', batch: 0, results: [{ position: 0, status: 'mismatch' }] };
    expect(drawer.receive(encodeMessage(mismatch), 0).find(({ type }) => type === 'mismatch')).to.deep.equal({
      type: 'mismatch',
      report: { reference: reference014(1), ownKme: 'kme-a', peerKme: '' },
      inARow: 1,
    });
    drawer.openStream(k, qos);
    expect(drawer.abandonStream(k).at(-1)).to.deep.equal({ type: 'stream-ended', ksid: k, reason: 'closed' });
  });

  it('has room for its probe under quarantine, whatever acked keys it holds', () => {
    const drawer = newDrawer();
    connect(drawer);
    announce(drawer, [reference014(9)]);
    ack(drawer, 0, 0, reference014(9));
    for (const batch of [1, 2, 3]) {
      announce(drawer, [reference014(batch)]);
      drawer.receive(encodeMessage({ type: 'results', batch, results: [{ position: 0, status: 'mismatch' }] }), 0);
    }
    expect(drawer.kmeQuarantined).to.equal(true);
    expect(drawer.announceRoom()).to.equal(1);
  });
});
