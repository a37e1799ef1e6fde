import { expect } from 'chai';
import { brief, ksidOf, Link, newAnswerer, newDrawer, qos, reference004, reference014 } from './fixtures.ts';

const k = ksidOf(1);
const keys = (count: number, from = 0) => Array.from({ length: count }, (_, i) => reference004(k, from + i));

describe('key channel, both ends', () => {
  describe('restarts', () => {
    it('of nobody: acked keys stay, unfetched ones are announced again, lost ones too', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.provide(reference004(k, 0));
      link.disconnect();
      link.announce([reference004(k, 2)]);
      link.takeDrawer();
      link.takeAnswerer();
      link.provide(reference004(k, 1));
      expect(link.takeDrawer()).to.deep.equal([]);
      link.connect();
      expect(brief(link.takeDrawer())).to.deep.equal(['ready same', 'peer-state', 'key-offerable 01/1/0']);
      expect(brief(link.takeAnswerer())).to.deep.equal([
        'key-accepted 01/1/0',
        'ready same',
        'peer-state',
        'keys-announced 01/2/0',
      ]);
      link.provide(reference004(k, 2));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 01/2/0']);
    });

    it('of nobody: what is left stands before keys that were seen, needs no second `opened`, and lives on', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(4));
      for (const reference of keys(4)) link.provide(reference);
      // The last one is used at both ends, one in the middle at the answerer alone.
      link.fromDrawer(link.drawer.keyUsed(reference004(k, 3)));
      link.answerer.keyEnded(reference004(k, 3));
      link.answerer.keyEnded(reference004(k, 1));
      link.disconnect();
      link.takeDrawer();
      link.takeAnswerer();
      link.connect();
      expect(brief(link.takeDrawer())).to.deep.equal(['ready same', 'peer-state', 'key-withdrawn 01/1/0 unavailable']);
      expect(brief(link.takeAnswerer()).join()).to.not.contain('keys-announced');
      link.announce([reference004(k, 4)]);
      link.provide(reference004(k, 4));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 01/4/0']);
      // What is left is dropped at both ends: it was known at both.
      link.takeAnswerer();
      for (const index of [0, 2]) link.fromDrawer(link.drawer.keyDropped(reference004(k, index)));
      expect(brief(link.takeAnswerer())).to.deep.equal([
        'key-withdrawn 01/0/0 dropped accepted',
        'key-withdrawn 01/2/0 dropped accepted',
      ]);
    });

    it('of nobody: a key that is pending is said to be so once on each connection', () => {
      const link = new Link().connect();
      link.announce([reference014(9)]);
      const heard = () => {
        link.fromAnswerer(link.answerer.reportPending(reference014(9)));
        link.fromAnswerer(link.answerer.reportPending(reference014(9)));
        return brief(link.takeDrawer()).filter((event) => event.startsWith('failed'));
      };
      expect(heard()).to.deep.equal([]);
      link.disconnect();
      link.connect();
      expect(heard()).to.deep.equal([]);
      link.provide(reference014(9));
      expect(brief(link.takeDrawer())).to.deep.equal(['key-offerable 09']);
    });

    it('of nobody: a key that was used or wiped at the answerer is withdrawn, never fetched again', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.announce([reference014(9)]);
      for (const reference of [...keys(2), reference014(9)]) link.provide(reference);
      link.answerer.keyEnded(reference004(k, 0));
      link.answerer.keyEnded(reference014(9));
      link.disconnect();
      link.takeDrawer();
      link.takeAnswerer();
      link.connect();
      expect(brief(link.takeDrawer()).slice(2)).to.deep.equal([
        'key-withdrawn 01/0/0 unavailable',
        'key-withdrawn 09 unavailable',
      ]);
      expect(brief(link.takeAnswerer()).join()).to.not.contain('keys-announced');
    });

    it('of the answerer: everything announced to the old process is burnt, a fresh start is due at once', () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2));
      link.provide(reference004(k, 0));
      link.disconnect();
      link.takeDrawer();
      link.answerer = newAnswerer({ instance: 0xa2 });
      link.fromDrawer(link.drawer.openStream(ksidOf(2), qos));
      link.takeAnswerer();
      link.connect();
      expect(brief(link.takeDrawer())).to.deep.equal([
        'ready new',
        'key-withdrawn 01/0/0 peer-restarted',
        'key-withdrawn 01/1/0 peer-restarted',
        'stream-ended 01 peer-restarted',
        'fresh-start peer-restarted 0',
        'peer-state',
      ]);
      // A stream that the old process never heard of is for the new one.
      expect(brief(link.takeAnswerer())).to.deep.equal(['ready new', 'peer-state', 'stream-requested 02']);
    });

    it("of the drawer: the old process' keys end by TTL and its KSID is never shared", () => {
      const link = new Link().connect().openStream(k);
      link.announce(keys(2), 1, 60_000);
      link.provide(reference004(k, 0));
      link.disconnect();
      link.drawer = newDrawer({ instance: 0xd2 });
      link.takeAnswerer();
      link.connect();
      expect(brief(link.takeAnswerer())[0]).to.equal('ready new');
      link.takeDrawer();
      link.fromDrawer(link.drawer.openStream(k, qos));
      expect(link.takeDrawer()[0]).to.include({ type: 'stream-ended', failure: 'ksid_in_use' });
      link.openStream(ksidOf(2));
      link.nowMs = 60_000;
      link.fromAnswerer(link.answerer.tick(60_000));
      expect(brief(link.takeAnswerer())).to.deep.equal([
        'key-withdrawn 01/0/0 expired accepted',
        'key-withdrawn 01/1/0 expired not-accepted',
      ]);
      link.fromAnswerer(link.answerer.tick(600_000));
      expect(brief(link.takeAnswerer())).to.deep.equal(['stream-ended 01 expired']);
    });
  });
});
