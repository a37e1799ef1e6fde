import { expect } from 'chai';
import { type DrawStream, KdiErrorCode, type OpenDrawOptions, referenceText } from '../../../kdi-client/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

import { Bench, closeBenches, INSTANCE, leaseOf, OTHER_INSTANCE, reasonOf } from './pool-bench.ts';

/** A source with a second KME behind it: a stream that is blamed has ended. */
class TwoKmes extends FakeSource {
  readonly blamed: string[] = [];

  override async openDraw(peer: string, options: OpenDrawOptions = {}): Promise<DrawStream> {
    const kme = `kme-${this.blamed.length + 1}`;
    const draw = await super.openDraw(peer, options);
    return Object.create(draw, { kme: { value: kme }, blame: { value: () => this.blamed.push(kme) } });
  }
}

describe('kdi-client/pool/drawer-pool: what it is told, what it tells', () => {
  afterEach(closeBenches);

  it('counts what became of each key', async () => {
    const bench = await new Bench({ highWatermark: 3 }).up();
    leaseOf(bench.pool.take()).commit();
    leaseOf(bench.pool.take()).discard();
    await settle();
    bench.source.available = 0;
    for (let i = 0; i < 3; i++) leaseOf(bench.pool.take()).commit();
    await settle();
    for (let i = 0; i < 2; i++) expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
    bench.source.available = 1;
    bench.answer = 'mismatch';
    await bench.clock.advance(200);
    expect(bench.pool.status().totals).to.deep.equal({
      drawn: 6,
      acknowledged: 5,
      offered: 5,
      committed: 4,
      dropped: 2,
      mismatched: 1,
      drawFailures: 1,
      refused: 2,
    });
  });

  it('says a reason exactly while there is no key for a connection, and when the keys run out where they do', async () => {
    const bench = await new Bench({ highWatermark: 3 }).up();
    expect(bench.pool.status()).to.not.have.any.keys('reason', 'exhaustedInMs');
    bench.source.available = 0;
    for (let i = 0; i < 2; i++) leaseOf(bench.pool.take()).commit();
    await bench.clock.advance(60_000);
    leaseOf(bench.pool.take()).release();
    const { ready, demandPerSecond, supplyPerSecond, exhaustedInMs, reason } = bench.pool.status();
    expect([ready, reason]).to.deep.equal([1, undefined]);
    expect(exhaustedInMs).to.be.closeTo(1_000 / (demandPerSecond - supplyPerSecond), 1e-6);
    bench.pool.setReserveFloor(1);
    expect(bench.pool.status().reason, 'the last one is kept for a rekey').to.equal('budget');
    bench.pool.setReserveFloor(0);
    leaseOf(bench.pool.take()).commit();
    expect(bench.pool.status().reason).to.equal('pool_empty');
  });

  it('keeps nothing back without a reserve, and asks whoever has a say in it', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    expect(reasonOf(bench.pool.take({ admits: () => false }))).to.equal('budget');
    const stocks: number[] = [];
    const admits = ({ ready }: { ready: number }) => stocks.push(ready) > 0;
    leaseOf(bench.pool.take({ admits })).commit();
    expect(stocks).to.deep.equal([1]);
  });

  it('tells of a key that came back, unless somebody waited for it', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    bench.source.available = 0;
    const told = () => bench.events.filter(({ type }) => type === 'keys-ready');
    const lease = leaseOf(bench.pool.take());
    bench.events.length = 0;
    lease.release();
    expect(told()).to.deep.equal([{ type: 'keys-ready', ready: 1 }]);
    const again = leaseOf(bench.pool.take());
    const waiting = bench.pool.takeWithin(5_000);
    bench.events.length = 0;
    again.release();
    expect(reasonOf(await waiting)).to.equal('a key');
    expect(told()).to.deep.equal([]);
  });

  it('tells of each stream, and why each key went', async () => {
    const bench = await new Bench({ highWatermark: 2 }).up();
    expect(bench.events).to.deep.equal([
      { type: 'stream-opened', kme: 'kme-a:1', ksid: bench.streams[0]!.ksid },
      { type: 'keys-ready', ready: 1 },
      { type: 'keys-ready', ready: 2 },
    ]);
    const [first, second] = bench.announced.map(referenceText);
    const reasons = (of: Bench) =>
      of.events.flatMap((event) =>
        event.type === 'dropped' ? [[referenceText(event.reference), event.reason] as const] : [],
      );
    bench.pool.markUnavailable(bench.announced[0]!);
    bench.pool.channelDown();
    await bench.up(OTHER_INSTANCE);
    expect(reasons(bench)).to.deep.equal([
      [first, 'unavailable'],
      [second, 'closed'],
    ]);
    const other = await new Bench({ highWatermark: 1 }).up();
    await other.pool.close();
    expect(reasons(other)).to.deep.equal([[referenceText(other.announced[0]!), 'closed']]);
  });

  it('announces what was drawn while the channel was down when it is back, and not before', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    bench.source.hold();
    leaseOf(bench.pool.take()).commit();
    await settle();
    bench.pool.channelDown();
    bench.source.letGo();
    await settle();
    expect(bench.pool.status()).to.include({ drawn: 1, announced: 0 });
    expect(bench.announced).to.have.length(1);
    await bench.up();
    expect(bench.announced).to.have.length(2);
    expect(bench.pool.status()).to.include({ drawn: 0, ready: 1 });
  });

  it('announces to the same process what it still has to offer, and leaves alone what is on loan', async () => {
    const bench = await new Bench({ highWatermark: 3 }).up();
    bench.source.available = 0;
    const onLoan = leaseOf(bench.pool.take());
    const others = bench.announced.map(referenceText).filter((text) => text !== referenceText(onLoan.reference));
    bench.pool.channelDown();
    bench.announced.length = 0;
    await bench.up();
    expect(bench.announced.map(referenceText)).to.have.members(others);
  });

  it('the first process is not another one: what was drawn for it stays', async () => {
    const bench = new Bench({ highWatermark: 1 });
    await bench.up();
    expect(bench.events.filter(({ type }) => type === 'stream-ended')).to.deep.equal([]);
    expect(bench.streams).to.have.length(1);
  });

  it('hears nothing in what is said of a stream that it does not have', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    const unknown = new Uint8Array(16).fill(99);
    bench.pool.streamFailed(unknown);
    bench.pool.streamLost(unknown);
    bench.answer = 'nothing';
    leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws, 'no pause').to.equal(2);
    expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
  });

  it('draws one key at a time for a peer that says that its KME is away, until it says otherwise', async () => {
    const bench = await new Bench({ highWatermark: 4 }).up();
    bench.answer = 'nothing';
    bench.pool.setPeerKmeReachable(false);
    for (let i = 0; i < 4; i++) leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.pool.status()).to.include({ announced: 1, reason: 'peer_kme_unreachable' });
    bench.pool.setPeerKmeReachable(true);
    await settle();
    expect(bench.pool.status()).to.include({ announced: 4, reason: 'pool_empty' });
  });

  it('an acknowledged key shows that the peer has keys of the KME that is drawn from', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    bench.answer = 'nothing';
    leaseOf(bench.pool.take()).commit();
    await settle();
    bench.pool.setPeerKmeReachable(false);
    expect(bench.pool.markReady(bench.announced.at(-1)!)).to.equal(true);
    leaseOf(bench.pool.take()).commit();
    expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
  });

  it('hears of keys while it has no stream', async () => {
    const bench = new Bench({ highWatermark: 2 });
    bench.answer = 'nothing';
    await bench.up();
    bench.pool.streamLost(bench.streams[0]!.ksid);
    expect(bench.pool.markReady(bench.announced[0]!)).to.equal(true);
    expect(reasonOf(bench.pool.take())).to.equal('a key');
    bench.pool.markUnavailable(bench.announced[1]!);
    expect(reasonOf(bench.pool.take())).to.equal('peer_kme_unreachable');
  });

  it('closes once, and takes up nothing afterwards', async () => {
    const bench = await new Bench({ highWatermark: 2 }).up();
    await Promise.all([bench.pool.close(), bench.pool.close()]);
    expect(bench.closedStreams).to.have.length(1);
    expect(bench.pool.status()).to.include({ channelUp: false, ready: 0 });
    await bench.up();
    expect(bench.pool.status()).to.include({ channelUp: false });
    expect(bench.streams).to.have.length(1);
  });

  it('waits for nothing where there is a key', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    expect(reasonOf(await bench.pool.takeWithin(5_000))).to.equal('a key');
    expect(bench.clock.now()).to.equal(new VirtualClock().now());
  });

  it('serves nobody past those who wait, but answers at once whoever does not', async () => {
    const bench = await new Bench({ highWatermark: 1 }).up();
    bench.source.available = 0;
    const held = leaseOf(bench.pool.take());
    const first = bench.pool.takeWithin(5_000, { fits: () => false });
    const second = bench.pool.takeWithin(5_000);
    expect(reasonOf(await bench.pool.takeWithin(0))).to.equal('pool_empty');
    expect(reasonOf(await bench.pool.takeWithin(-1))).to.equal('pool_empty');
    held.release();
    const served = await second;
    expect(reasonOf(served)).to.equal('a key');
    leaseOf(served).release();
    // There is a key now, and one who waits whom it does not fit: whoever comes next stands behind.
    let thirdServed = false;
    const third = bench.pool.takeWithin(1_000).then((result) => {
      thirdServed = result.ok;
      return result;
    });
    await settle();
    expect(thirdServed).to.equal(false);
    await bench.clock.advance(1_000);
    expect(reasonOf(await third), 'the key of that moment, when time is up').to.equal('a key');
    await bench.clock.advance(4_000);
    expect(reasonOf(await first)).to.equal('pool_empty');
  });

  describe('a key that the peer does not have', () => {
    it('ends a stream that it came from, but not one after it', async () => {
      const bench = await new Bench({ highWatermark: 2 }).up();
      const [old, later] = bench.announced;
      bench.pool.markUnavailable(old!);
      await bench.clock.advance(200);
      expect(bench.streams).to.have.length(2);
      bench.pool.markUnavailable(later!);
      await bench.clock.advance(1_000);
      expect(bench.streams, 'the fresh one stays').to.have.length(2);
      expect(bench.pool.status()).to.include({ ready: 2 });
    });

    it('says nothing of a key that is gone, and changes nothing', async () => {
      const bench = await new Bench({ highWatermark: 1 }).up();
      const lease = leaseOf(bench.pool.take());
      lease.commit();
      await settle();
      bench.pool.markUnavailable(lease.reference);
      expect(bench.pool.status()).to.include({ ready: 1, streamOpen: true });
      expect(bench.streams).to.have.length(1);
    });

    it('is the KME’s that is drawn from, where there are two', async () => {
      const clock = new VirtualClock();
      const source = new TwoKmes(clock);
      const bench = new Bench({ source, clock, highWatermark: 2 });
      await bench.up();
      const [first, second] = bench.announced;
      bench.pool.markUnavailable(first!);
      expect(source.blamed).to.deep.equal(['kme-1']);
      await clock.advance(200);
      expect(bench.streams).to.have.length(2);
      // Another one of the KME that was left: it says nothing about the one that is drawn from now.
      bench.pool.markUnavailable(second!);
      await clock.advance(1_000);
      expect(source.blamed).to.deep.equal(['kme-1']);
      expect(bench.pool.status()).to.include({ ready: 2, kme: 'kme-a:1' });
      await bench.pool.close();
      expect([clock.pending, source.streamsOpen]).to.deep.equal([0, 0]);
    });
  });

  describe('a peer whose KME is away, where there are two', () => {
    const twoKmes = async () => {
      const clock = new VirtualClock();
      const source = new TwoKmes(clock);
      const bench = await new Bench({ source, clock, highWatermark: 1 }).up();
      return { bench, source, clock };
    };

    it('is not drawn for elsewhere as long as no key is awaited', async () => {
      const { bench, source, clock } = await twoKmes();
      bench.pool.setPeerKmeReachable(false);
      await clock.advance(60_000);
      expect(source.blamed).to.deep.equal([]);
      bench.answer = 'nothing';
      leaseOf(bench.pool.take()).commit();
      await clock.advance(60_000);
      expect(source.blamed[0]).to.equal('kme-1');
      await bench.pool.close();
    });

    it('is not shown to be back by a key of the KME that was left', async () => {
      const { bench, source, clock } = await twoKmes();
      bench.answer = 'nothing';
      const onTheWay = leaseOf(bench.pool.take());
      onTheWay.commit();
      await settle();
      const ofTheFirst = bench.announced.at(-1)!;
      bench.pool.setPeerKmeReachable(false);
      await clock.advance(4_000);
      expect(source.blamed).to.deep.equal(['kme-1']);
      expect(bench.streams).to.have.length(2);
      bench.pool.setPeerKmeReachable(false);
      expect(bench.pool.markReady(ofTheFirst)).to.equal(true);
      leaseOf(bench.pool.take()).commit();
      await clock.advance(8_000);
      expect(source.blamed, 'nothing was heard of a key of the second one').to.deep.equal(['kme-1', 'kme-2']);
      await bench.pool.close();
    });
  });

  describe('a key that differs', () => {
    it('is counted once for its stream, and not at all when it is gone', async () => {
      const bench = await new Bench({ highWatermark: 2 }).up();
      const onLoan = leaseOf(bench.pool.take());
      await settle();
      bench.pool.markMismatch(bench.announced.at(-1)!);
      bench.pool.markMismatch(bench.announced.at(-1)!);
      // On loan, and of a stream that is given up already.
      bench.pool.markMismatch(onLoan.reference);
      expect(bench.pool.status()).to.include({ mismatchesInARow: 1 });
      expect(bench.pool.status().totals.mismatched).to.equal(1);
      const reasons = bench.events.flatMap((event) => (event.type === 'dropped' ? [event.reason] : []));
      expect(new Set(reasons)).to.deep.equal(new Set(['mismatch']));
      onLoan.discard();
    });

    it('of a stream before ends nothing of the one after it', async () => {
      const bench = await new Bench({ highWatermark: 2 }).up();
      bench.source.drawError = KdiErrorCode.connect;
      bench.source.failureEndsStream = true;
      leaseOf(bench.pool.take()).commit();
      await settle();
      bench.source.drawError = undefined;
      await bench.clock.advance(500);
      expect(bench.streams).to.have.length(2);
      bench.pool.markMismatch(bench.announced[1]!);
      await bench.clock.advance(2_000);
      expect(bench.streams, 'the fresh stream is not to blame').to.have.length(2);
      expect(bench.pool.status()).to.include({ ready: 2, streamOpen: true });
    });
  });

  it('holds 4,096 keys at most where nobody says another number', async () => {
    const bench = new Bench({ highWatermark: 5_000 });
    bench.source.keysPerChunk = 64;
    await bench.up(INSTANCE, 1_000_000);
    await settle();
    expect(bench.pool.status().ready).to.equal(4_096);
  });
});
