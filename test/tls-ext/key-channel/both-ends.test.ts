import { expect } from 'chai';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { KeyChannelMisuseError, MAX_KEYS_PER_BATCH } from '../../../tls-ext/key-channel/index.ts';
import {
  brief,
  bytesOf,
  keyOf,
  ksidOf,
  Link,
  newAnswerer,
  newDrawer,
  qos,
  reference004,
  reference014,
} from './fixtures.ts';

const k = ksidOf(1);
const keys = (count: number, from = 0) => Array.from({ length: count }, (_, i) => reference004(k, from + i));

describe('key channel, both ends', () => {
  describe('hello', () => {
    it('tells each end the instance, quota and services of the other, and both KMEs', () => {
      const link = new Link(newDrawer({ quota: 7 }), newAnswerer({ quota: 9 })).connect();
      const [ready, state] = link.takeDrawer();
      expect(ready).to.deep.equal({
        type: 'ready',
        peer: { instance: bytesOf(16, 0xa1), quota: 9, services: [{ service: 'db', require: 'qkd' }] },
        peerInstance: 'first',
      });
      expect(state).to.have.nested.property('state.kmeName', 'kme-b');
      const [answererReady] = link.takeAnswerer();
      expect(answererReady).to.have.nested.property('peer.quota', 7);
      expect(link.drawer.announceRoom()).to.equal(7);
    });

    it('passes on every change of state, both ways', () => {
      const link = new Link().connect();
      link.takeDrawer();
      link.takeAnswerer();
      const state = { kmeReachable: true, kmeName: 'kme-x', poolKeys: 4, reasons: ['no_key' as const] };
      link.fromDrawer(link.drawer.setState(state));
      link.fromAnswerer(link.answerer.setState(state));
      expect(link.takeDrawer()).to.deep.equal([{ type: 'peer-state', state }]);
      expect(link.takeAnswerer()).to.deep.equal([{ type: 'peer-state', connection: 1, state }]);
    });
  });

  describe('a stream', () => {
    it('may be drawn from only when the answerer has opened it', () => {
      const link = new Link().connect();
      link.takeDrawer();
      link.takeAnswerer();
      link.fromDrawer(link.drawer.openStream(k, qos));
      expect(link.takeAnswerer()).to.deep.equal([{ type: 'stream-requested', ksid: k, qos }]);
      expect(() => link.announce(keys(1))).to.throw(KeyChannelMisuseError);
      link.fromAnswerer(link.answerer.streamFailed(k, 'kme_unreachable', true));
      expect(brief(link.takeDrawer())).to.deep.equal(['stream-delayed 01 kme_unreachable']);
      link.fromAnswerer(link.answerer.streamOpened(k, 32));
      expect(link.takeDrawer()).to.deep.equal([{ type: 'stream-opened', ksid: k, keyChunkSizeBytes: 32 }]);
    });

    it('that was asked for without a connection is asked for on the next one', () => {
      const link = new Link();
      link.fromDrawer(link.drawer.openStream(k, qos));
      link.connect();
      expect(brief(link.takeAnswerer())).to.include('stream-requested 01');
    });

    it('that the answerer gives up is replaced, later each time, and at once after a success', () => {
      const link = new Link().connect();
      const delays: number[] = [];
      const fail = (fill: number) => {
        link.fromDrawer(link.drawer.openStream(ksidOf(fill), qos));
        link.fromAnswerer(link.answerer.streamFailed(ksidOf(fill), 'qos_not_met', false));
        for (const event of link.takeDrawer()) if (event.type === 'fresh-start') delays.push(event.delayMs);
      };
      for (let fill = 1; fill <= 8; fill++) fail(fill);
      expect(delays).to.deep.equal([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
      link.openStream(ksidOf(20));
      fail(21);
      expect(delays.at(-1)).to.equal(1000);
    });

    it('is closed at both ends after its last key is acked, and the keys live on', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.fromDrawer(link.drawer.endStream(k));
      link.provide(reference004(k, 0));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 01/0/0']);
      link.provide(reference004(k, 1));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 01/1/0', 'stream-ended 01 closed']);
      expect(brief(link.takeAnswerer()).at(-1)).to.equal('stream-ended 01 closed');
      link.disconnect().connect();
      expect(brief(link.takeDrawer()).join()).to.not.contain('withdrawn');
    });

    it('that its KME lost is abandoned: unfetched keys go, acked ones stay', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.provide(reference004(k, 0));
      link.takeAnswerer();
      link.takeDrawer();
      link.fromDrawer(link.drawer.abandonStream(k));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-withdrawn 01/1/0 stream-ended', 'stream-ended 01 closed']);
      expect(brief(link.takeAnswerer())).to.deep.equal([
        'key-withdrawn 01/1/0 dropped not-accepted',
        'stream-ended 01 closed',
      ]);
    });

    it("that the answerer's KME lost is over, and never opened again", () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.provide(reference004(k, 0));
      link.takeDrawer();
      link.fromAnswerer(link.answerer.streamFailed(k, 'lost', true));
      expect(brief(link.takeDrawer())).to.deep.equal([
        'key-withdrawn 01/1/0 stream-ended',
        'stream-ended 01 failed',
        'fresh-start failed 1000',
      ]);
      link.takeAnswerer();
      link.fromDrawer(link.drawer.openStream(k, qos));
      expect(brief(link.takeAnswerer())).to.deep.equal([]);
      expect(brief(link.takeDrawer())[0]).to.equal('stream-ended 01 failed');
    });

    it('that ended while keys were drawn takes them back at once', () => {
      const link = new Link().connect().openStream(k);
      link.fromAnswerer(link.answerer.streamFailed(k, 'lost', false));
      link.takeDrawer();
      link.announce(keys(1));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-withdrawn 01/0/0 stream-ended']);
    });
  });

  describe('keys', () => {
    it('are offerable when both ends hold the same, and not before', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2), 7);
      expect(brief(link.takeAnswerer())).to.deep.equal(['keys-announced 01/0/0 01/1/0']);
      expect(link.takeDrawer()).to.deep.equal([]);
      link.fromAnswerer(link.answerer.reportPending(reference004(k, 1)));
      expect(link.takeDrawer()).to.deep.equal([]);
      link.provide(reference004(k, 0), 7);
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 01/0/0']);
      const [accepted] = link.takeAnswerer();
      if (accepted?.type !== 'key-accepted') throw new Error('not accepted');
      expect(hexOf(accepted.secret.expose())).to.equal('07'.repeat(32));
      expect(accepted.expiresAtMs).to.equal(600_000);
    });

    it('of 014 need no stream', () => {
      const link = new Link().connect();
      link.takeDrawer();
      link.announce([reference014(5)]);
      link.provide(reference014(5));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 05']);
    });

    it('that the KME does not have, or that are too many, are withdrawn without a quarantine', () => {
      const link = new Link(newDrawer(), newAnswerer({ quota: 2 })).connect().openStream(k);
      link.announce(keys(2));
      link.fromAnswerer(link.answerer.reportNotFound(reference004(k, 0)));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-withdrawn 01/0/0 unavailable']);
      // The drawer knows the use of a key before the answerer's store has told.
      link.provide(reference004(k, 1));
      link.announce([reference004(k, 2)]);
      link.fromDrawer(link.drawer.keyUsed(reference004(k, 1)));
      link.takeDrawer();
      link.announce([reference004(k, 3)]);
      expect(brief(link.takeDrawer())).to.deep.equal(['key-withdrawn 01/3/0 over-quota']);
      expect(link.drawer.kmeQuarantined).to.equal(false);
      link.answerer.keyEnded(reference004(k, 1));
      link.announce([reference004(k, 4)]);
      expect(brief(link.takeAnswerer()).at(-1)).to.equal('keys-announced 01/4/0');
    });

    it('that are dropped are wiped at the other end, now or after the next connection', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.provide(reference004(k, 0));
      link.takeAnswerer();
      link.fromDrawer(link.drawer.keyDropped(reference004(k, 0)));
      expect(brief(link.takeAnswerer())).to.deep.equal(['key-withdrawn 01/0/0 dropped accepted']);
      link.disconnect();
      link.fromDrawer(link.drawer.keyDropped(reference004(k, 1)));
      link.connect();
      expect(brief(link.takeAnswerer())).to.include('key-withdrawn 01/1/0 dropped not-accepted');
    });

    it('expire at the drawer before they do at the answerer', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(1), 1, 20_000);
      link.provide(reference004(k, 0));
      link.takeDrawer();
      link.disconnect();
      expect(link.drawer.tick(14_999)).to.deep.equal([]);
      expect(brief(link.drawer.tick(15_000))).to.deep.equal(['key-withdrawn 01/0/0 expired']);
      link.takeAnswerer();
      expect(link.answerer.tick(19_999)).to.deep.equal([]);
      expect(brief(link.answerer.tick(20_000))).to.deep.equal(['key-withdrawn 01/0/0 expired accepted']);
    });

    it('wipe a secret that nobody waits for', () => {
      const answerer = newAnswerer();
      const secret = keyOf(1);
      expect(answerer.provideKey(reference004(k, 0), secret)).to.deep.equal([]);
      expect(secret.wiped).to.equal(true);
    });

    it('are not announced beyond the room, twice, or of someone else', () => {
      const link = new Link(newDrawer({ quota: 300 }), newAnswerer({ quota: 300 })).connect().openStream(k);
      expect(link.drawer.announceRoom()).to.equal(MAX_KEYS_PER_BATCH);
      expect(() => link.announce(keys(MAX_KEYS_PER_BATCH + 1))).to.throw(KeyChannelMisuseError);
      link.announce(keys(1));
      expect(() => link.announce(keys(1))).to.throw(KeyChannelMisuseError);
      expect(() => link.announce([reference004(k, 2), reference004(k, 2)])).to.throw(KeyChannelMisuseError);
      expect(() => link.announce([reference004(k, 3), reference014(1)])).to.throw(KeyChannelMisuseError);
      const other = { api: 'etsi014' as const, drawer: 'siteC', keyId: bytesOf(16, 1) };
      expect(() => link.announce([other])).to.throw(KeyChannelMisuseError);
    });
  });

  describe('a mismatch', () => {
    it('ends the stream at both ends, with both KMEs named, and no key of it survives', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(3));
      link.provide(reference004(k, 0));
      link.takeDrawer();
      link.takeAnswerer();
      const secret = keyOf(99);
      link.fromAnswerer(link.answerer.provideKey(reference004(k, 1), secret));
      expect(secret.wiped).to.equal(true);
      const events = link.takeDrawer();
      expect(events[0]).to.deep.equal({
        type: 'mismatch',
        report: { reference: reference004(k, 1), ksid: k, ownKme: 'kme-a', peerKme: 'kme-b' },
        inARow: 1,
      });
      expect(brief(events.slice(1))).to.deep.equal([
        'key-withdrawn 01/0/0 mismatch',
        'key-withdrawn 01/1/0 mismatch',
        'key-withdrawn 01/2/0 mismatch',
        'stream-ended 01 mismatch',
        'fresh-start mismatch 1000',
      ]);
      const answererEvents = link.takeAnswerer();
      expect(answererEvents[0]).to.deep.equal({
        type: 'mismatch',
        report: { reference: reference004(k, 1), ksid: k, ownKme: 'kme-b', peerKme: 'kme-a' },
      });
      expect(brief(answererEvents.slice(1))).to.deep.equal([
        'key-withdrawn 01/0/0 mismatch accepted',
        'key-withdrawn 01/1/0 mismatch not-accepted',
        'key-withdrawn 01/2/0 mismatch not-accepted',
        'stream-ended 01 mismatch',
      ]);
    });

    it('that was found while there was no connection is told on the next one', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.announce([reference014(7)]);
      link.provide(reference004(k, 0));
      link.disconnect();
      link.takeDrawer();
      link.provide(reference004(k, 1), 99);
      link.provide(reference014(7), 99);
      link.connect();
      const lines = brief(link.takeDrawer());
      expect(lines.filter((line) => line === 'mismatch')).to.have.length(2);
      expect(lines).to.include.members([
        'key-withdrawn 01/0/0 mismatch',
        'key-withdrawn 01/1/0 mismatch',
        'key-withdrawn 07 mismatch',
      ]);
    });

    it('of a 014 key ends its batch and no other', () => {
      const link = new Link().connect();
      link.announce([reference014(1)]);
      link.announce([reference014(2), reference014(3)]);
      link.provide(reference014(1));
      link.provide(reference014(2));
      link.takeDrawer();
      link.takeAnswerer();
      link.provide(reference014(3), 99);
      expect(brief(link.takeDrawer()).slice(1)).to.deep.equal([
        'key-withdrawn 02 mismatch',
        'key-withdrawn 03 mismatch',
        'fresh-start mismatch 1000',
      ]);
      expect(brief(link.takeAnswerer()).slice(1)).to.deep.equal([
        'key-withdrawn 02 mismatch accepted',
        'key-withdrawn 03 mismatch not-accepted',
      ]);
    });

    it('three times in a row puts the KME under quarantine until a probe agrees', () => {
      const link = new Link().connect();
      link.openStream(ksidOf(50));
      const disagree = (fill: number) => {
        link.openStream(ksidOf(fill));
        link.announce([reference004(ksidOf(fill), 0)]);
        link.provide(reference004(ksidOf(fill), 0), 99);
        return brief(link.takeDrawer());
      };
      expect(disagree(1).at(-1)).to.equal('fresh-start mismatch 1000');
      expect(disagree(2).at(-1)).to.equal('fresh-start mismatch 2000');
      link.announce([reference004(ksidOf(50), 0)]);
      expect(disagree(3).slice(-3)).to.deep.equal([
        'kme-quarantined',
        'key-withdrawn 32/0/0 mismatch',
        'fresh-start mismatch 4000',
      ]);
      expect(link.drawer.kmeQuarantined).to.equal(true);
      expect(link.drawer.announceRoom()).to.equal(1);
      expect(disagree(4)).to.not.include('kme-quarantined');
      link.openStream(k.map(() => 5));
      link.announce([reference004(ksidOf(5), 0)]);
      expect(link.drawer.announceRoom()).to.equal(0);
      link.provide(reference004(ksidOf(5), 0));
      expect(brief(link.takeDrawer())).to.deep.equal(['kme-restored', 'key-offerable 05/0/0']);
      const again = disagree(6);
      expect(again).to.include('kme-quarantined');
      // As after the mismatch that began it: probes that agree don't let the delay grow.
      expect(again.at(-1)).to.equal('fresh-start mismatch 4000');
    });

    it('is no longer "in a row" after many keys that agreed', () => {
      const link = new Link().connect().openStream(k);
      const mismatchDelay = (ksid: Uint8Array) => {
        link.openStream(ksid);
        link.announce([reference004(ksid, 0)]);
        link.provide(reference004(ksid, 0), 99);
        return brief(link.takeDrawer()).at(-1);
      };
      mismatchDelay(ksidOf(2));
      link.announce(keys(15));
      for (const reference of keys(15)) link.provide(reference);
      expect(mismatchDelay(ksidOf(3))).to.equal('fresh-start mismatch 2000');
      link.announce(keys(16, 15));
      for (const reference of keys(16, 15)) link.provide(reference);
      expect(mismatchDelay(ksidOf(4))).to.equal('fresh-start mismatch 1000');
    });
  });
});
