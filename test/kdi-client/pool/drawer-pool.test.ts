import { expect } from 'chai';
import { KdiErrorCode, KdiMisuseError, referenceText } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { keyOf } from '../support/fake-source.ts';
import { settle } from '../support/virtual-clock.ts';

import { Bench, closeBenches, INSTANCE, leaseOf, OTHER_INSTANCE, reasonOf } from './pool-bench.ts';

describe('kdi-client/pool/drawer-pool', () => {
  afterEach(closeBenches);

  it('fills to the high watermark, once the channel stands and the peer has opened the stream', async () => {
    const bench = new Bench({ highWatermark: 4 });
    bench.peerOpens = false;
    await settle();
    expect(bench.streams).to.have.length(0);
    expect(reasonOf(bench.pool.take())).to.equal('channel_down');
    await bench.up();
    expect(bench.streams).to.have.length(1);
    expect(bench.source.draws).to.equal(0);
    expect(reasonOf(bench.pool.take())).to.equal('stream_opening');
    bench.pool.streamFailed(bench.streams[0]!.ksid);
    expect(reasonOf(bench.pool.take())).to.equal('peer_kme_unreachable');
    bench.pool.streamOpened(bench.streams[0]!.ksid);
    await settle();
    expect(bench.pool.status()).to.include({ ready: 4, announced: 0, streamOpen: true });
    expect(bench.events.filter(({ type }) => type === 'keys-ready')).to.have.length(4);
  });

  it('lends a copy, burns on commit, and draws the next one', async () => {
    const bench = await new Bench().up();
    const lease = leaseOf(bench.pool.take());
    expect(hexOf(lease.secret.expose())).to.equal(hexOf(keyOf(lease.reference).expose()));
    expect(lease.metadata).to.deep.equal({ kme: 'kme-a:1', hops: 0 });
    expect(lease.commit()).to.equal(true);
    expect(lease.commit(), 'a second commit').to.equal(false);
    expect(lease.secret.wiped, 'the copy is the caller’s').to.equal(false);
    lease.release();
    lease.discard();
    await settle();
    expect(bench.pool.status()).to.include({ ready: 4, leased: 0 });
    expect(bench.pool.status().totals).to.include({ committed: 1, drawn: 5, dropped: 0 });
    expect(bench.dropped).to.deep.equal([]);
  });

  it('never lends one key to two at once', async () => {
    const bench = await new Bench().up();
    bench.source.available = 0;
    const leases = Array.from({ length: 4 }, () => leaseOf(bench.pool.take()));
    expect(new Set(leases.map(({ reference }) => referenceText(reference))).size).to.equal(4);
    await settle();
    expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
  });

  it('offers an unfinished key again, three times in all, then burns it and tells the peer', async () => {
    const bench = await new Bench().up();
    const text = referenceText(leaseOf(bench.pool.take()).reference);
    // The lease above is still out: no other offer of that key.
    const first = leaseOf(bench.pool.take());
    expect(referenceText(first.reference)).not.to.equal(text);
    first.release();
    const second = leaseOf(bench.pool.take());
    expect(referenceText(second.reference), 'offered before others').to.equal(referenceText(first.reference));
    expect(first.commit(), 'an old lease of the same key').to.equal(false);
    second.release();
    const third = leaseOf(bench.pool.take());
    third.release();
    expect(bench.dropped).to.deep.equal([referenceText(first.reference)]);
    expect(bench.events.at(-1)).to.deep.include({ type: 'dropped', reason: 'offered-too-often' });
  });

  it('burns an unfinished key 30 s after its first offer', async () => {
    const bench = await new Bench().up();
    const lease = leaseOf(bench.pool.take());
    lease.release();
    await bench.clock.advance(29_999);
    expect(bench.dropped).to.deep.equal([]);
    await bench.clock.advance(1);
    expect(bench.dropped).to.deep.equal([referenceText(lease.reference)]);
  });

  it('stops offering a key a margin before its TTL, and drops it then', async () => {
    const bench = new Bench({ ttlMarginMs: 10_000 });
    bench.source.ttlMs = 60_000;
    bench.source.available = 4;
    await bench.up();
    await bench.clock.advance(49_999);
    leaseOf(bench.pool.take()).release();
    await bench.clock.advance(1);
    expect(bench.dropped).to.have.length(4);
    expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
  });

  it('keeps what is left over a lost channel, draws nothing meanwhile, and announces it again to the same process', async () => {
    const bench = await new Bench().up();
    bench.pool.channelDown();
    leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(4);
    expect(reasonOf(bench.pool.take())).to.equal('a key');
    bench.announced.length = 0;
    await bench.up();
    expect(bench.streams).to.have.length(2);
    expect(hexOf(bench.streams[1]!.ksid)).to.equal(hexOf(bench.streams[0]!.ksid));
    // Two ready ones again, and what is drawn to fill up; not the one on loan.
    expect(bench.announced.length).to.be.greaterThan(2);
    expect(bench.pool.status()).to.include({ ready: 4, leased: 1 });
  });

  it('burns everything when the peer is another process, and opens a fresh stream', async () => {
    const bench = await new Bench().up();
    const before = new Set(bench.announced.map(referenceText));
    const onLoan = leaseOf(bench.pool.take());
    bench.pool.channelDown();
    await bench.up(OTHER_INSTANCE);
    expect(bench.streams).to.have.length(2);
    expect(hexOf(bench.streams[1]!.ksid)).not.to.equal(hexOf(bench.streams[0]!.ksid));
    for (let i = 0; i < 4; i++) expect(before.has(referenceText(leaseOf(bench.pool.take()).reference))).to.equal(false);
    // What was on loan is not offered again to the new process.
    onLoan.release();
    expect(bench.pool.status().leased).to.equal(4);
    expect(bench.dropped, 'the new process never heard of them').to.deep.equal([]);
  });

  it('quarantines a stream on a mismatch, opens a fresh one after a pause, and the KME after three in a row', async () => {
    const bench = new Bench();
    bench.answer = 'mismatch';
    await bench.up();
    expect(bench.pool.status()).to.include({ ready: 0, mismatchesInARow: 1, kmeQuarantined: false });
    expect(reasonOf(bench.pool.take())).to.equal('key_mismatch');
    expect(bench.closedStreams).to.have.length(1);
    expect(bench.source.streamsOpen).to.equal(0);
    const draws = bench.source.draws;
    await bench.clock.advance(749);
    expect(bench.source.draws).to.equal(draws);
    await bench.clock.advance(1);
    expect(bench.source.draws, 'one probe').to.equal(draws + 1);
    await bench.clock.advance(1_500);
    expect(bench.pool.status()).to.include({ mismatchesInARow: 3, kmeQuarantined: true });
    expect(bench.events.filter(({ type }) => type === 'mismatch').at(-1)).to.include({
      kme: 'kme-a:1',
      inARow: 3,
      kmeQuarantined: true,
    });
    bench.answer = 'ready';
    await bench.clock.advance(3_000);
    expect(bench.pool.status()).to.include({ ready: 4, mismatchesInARow: 0, kmeQuarantined: false });
  });

  it('a mismatch takes acknowledged keys of the same stream along, but not one that is on loan until it comes back', async () => {
    const bench = await new Bench().up();
    const lease = leaseOf(bench.pool.take());
    await settle();
    bench.answer = 'nothing';
    const other = leaseOf(bench.pool.take());
    await settle();
    bench.pool.markMismatch(bench.announced.at(-1)!);
    expect(bench.pool.status()).to.include({ ready: 0, announced: 0, leased: 2 });
    expect(other.commit()).to.equal(true);
    lease.release();
    expect(bench.pool.status().leased).to.equal(0);
    expect(bench.dropped).to.include(referenceText(lease.reference));
  });

  it('says why there is no key, and recovers by itself', async () => {
    const bench = new Bench();
    bench.source.openError = KdiErrorCode.connect;
    await bench.up();
    expect(reasonOf(bench.pool.take())).to.equal('kme_unreachable');
    bench.source.openError = undefined;
    bench.source.drawError = KdiErrorCode.insufficientKey;
    await bench.clock.advance(400);
    expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
    expect(bench.pool.status().lastErrorCode).to.equal(KdiErrorCode.insufficientKey);
    expect(bench.pool.status().lastError).to.equal(`scripted ${KdiErrorCode.insufficientKey}`);
    bench.source.drawError = undefined;
    await bench.clock.advance(400);
    expect(bench.pool.status()).to.include({ ready: 4 });
    expect(bench.pool.status()).not.to.have.property('lastErrorCode');
    expect(bench.streams, 'an empty KME costs no stream').to.have.length(1);
  });

  for (const code of [KdiErrorCode.noQkdConnection, KdiErrorCode.kmeTimeout]) {
    it(`a KME that opens no stream, with ${code}, is none whose keys ran out`, async () => {
      const bench = new Bench();
      bench.source.openError = code;
      await bench.up();
      expect(reasonOf(bench.pool.take())).to.equal('stream_opening');
      expect(bench.events.at(-1)).to.include({ type: 'failure', opening: true });
      expect(bench.pool.status()).to.include({ lastErrorCode: code, lastError: `scripted ${code}` });
      bench.source.openError = undefined;
      bench.source.drawError = code;
      await bench.clock.advance(300);
      expect(reasonOf(bench.pool.take())).to.equal('pool_empty');
      expect(bench.events.at(-1)).to.include({ type: 'failure', opening: false });
    });
  }

  it('opens a fresh stream when a draw ended the old one, and keeps the acknowledged keys of the old', async () => {
    const bench = await new Bench().up();
    bench.source.drawError = KdiErrorCode.connect;
    bench.source.failureEndsStream = true;
    leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.pool.status().ready).to.equal(3);
    bench.source.drawError = undefined;
    await bench.clock.advance(500);
    expect(bench.streams).to.have.length(2);
    expect(bench.pool.status().ready).to.equal(4);
    expect(bench.closedStreams).to.deep.equal([]);
    for (let i = 0; i < 3; i++) leaseOf(bench.pool.take()).commit();
    expect(bench.closedStreams, 'closed after its last key').to.deep.equal([hexOf(bench.streams[0]!.ksid)]);
  });

  it('gives up a stream that the peer never opens', async () => {
    const bench = new Bench({ streamOpenTimeoutMs: 5_000 });
    bench.peerOpens = false;
    await bench.up();
    await bench.clock.advance(5_000);
    expect(bench.streams).to.have.length(2);
    expect(bench.closedStreams).to.deep.equal([hexOf(bench.streams[0]!.ksid)]);
  });

  it('drops a key that nobody acknowledges', async () => {
    const bench = new Bench({ ackTimeoutMs: 7_000, highWatermark: 1 });
    bench.answer = 'nothing';
    await bench.up();
    const [lost] = bench.announced;
    await bench.clock.advance(7_000);
    expect(bench.dropped).to.deep.equal([referenceText(lost!)]);
    expect(bench.pool.markReady(lost!), 'too late').to.equal(false);
  });

  it('burns a key that the peer does not have, without telling it, and replaces it', async () => {
    const bench = await new Bench().up();
    const onLoan = leaseOf(bench.pool.take());
    bench.pool.markUnavailable(bench.announced[1]!);
    bench.pool.markUnavailable(onLoan.reference);
    expect(bench.pool.status()).to.include({ leased: 1 });
    onLoan.release();
    await bench.clock.advance(200);
    expect(bench.pool.status()).to.include({ ready: 4, leased: 0 });
    expect(bench.dropped).to.deep.equal([]);
    expect(bench.pool.status().totals.dropped).to.equal(2);
  });

  it('does not burn the KME’s keys on a peer that can get none of them', async () => {
    const bench = new Bench();
    bench.answer = 'unavailable';
    await bench.up();
    await bench.clock.advance(10_000);
    expect(bench.source.draws).to.be.at.most(40);
    expect(reasonOf(bench.pool.take())).to.equal('peer_kme_unreachable');
    bench.answer = 'ready';
    await bench.clock.advance(30_000);
    expect(bench.pool.status().ready).to.equal(4);
  });

  it('opens a fresh stream after a pause when the peer lost the old one', async () => {
    const bench = await new Bench().up();
    bench.pool.streamLost(bench.streams[0]!.ksid);
    leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(4);
    await bench.clock.advance(500);
    expect(bench.streams).to.have.length(2);
    expect(bench.pool.status().ready).to.equal(4);
  });

  it('holds no more than the peer’s quota, leased keys included', async () => {
    const bench = await new Bench({ highWatermark: 8 }).up(INSTANCE, 3);
    expect(bench.pool.status().ready).to.equal(3);
    const lease = leaseOf(bench.pool.take());
    await settle();
    expect(bench.source.draws).to.equal(3);
    lease.commit();
    await settle();
    expect(bench.source.draws).to.equal(4);
  });

  it('starts at the low watermark, not before', async () => {
    const bench = await new Bench({ lowWatermark: 1, highWatermark: 4 }).up();
    for (let i = 0; i < 2; i++) leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(4);
    leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(7);
    expect(() => bench.pool.setWatermarks(3, 3)).to.throw(KdiMisuseError);
    expect(() => new Bench({ highWatermark: 0 })).to.throw(KdiMisuseError);
  });

  it('grows deeper with demand, and shallow again without', async () => {
    const bench = await new Bench({
      adaptiveDepth: { minAhead: 2, maxAhead: 20, coverMs: 10_000, memoryMs: 10_000 },
    }).up();
    expect(bench.pool.status()).to.include({ ready: 2, highWatermark: 2 });
    for (let i = 0; i < 60; i++) {
      leaseOf(bench.pool.take()).commit();
      await bench.clock.advance(500);
    }
    expect(bench.pool.status().ready).to.be.within(15, 20);
    expect(bench.pool.status().demandPerSecond).to.be.closeTo(2, 0.2);
    await bench.clock.advance(120_000);
    leaseOf(bench.pool.take()).commit();
    expect(bench.pool.status().highWatermark).to.equal(2);
  });

  it('takes another depth while it runs: one that follows demand, or one that stays', async () => {
    const bench = await new Bench({ highWatermark: 4 }).up();
    const use = async (count: number) => {
      for (let i = 0; i < count; i++) {
        leaseOf(bench.pool.take()).commit();
        await bench.clock.advance(100);
      }
    };
    await use(40);
    expect(bench.pool.status().highWatermark).to.equal(4);
    bench.pool.setAdaptiveDepth({ minAhead: 4, maxAhead: 20 });
    await use(40);
    expect(bench.pool.status().highWatermark, 'the demand of before counts too').to.equal(20);
    expect(bench.pool.status().ready).to.be.within(15, 20);
    bench.pool.setWatermarks(2, 3);
    await use(40);
    expect(bench.pool.status().highWatermark).to.equal(3);
    expect(bench.pool.status().ready).to.be.at.most(3);
  });

  it('draws one batch at a time where the KME forgets the one before', async () => {
    const bench = new Bench({ highWatermark: 4 });
    bench.source.oneBatchAtATime = true;
    bench.answer = 'nothing';
    await bench.up();
    expect(bench.source.draws).to.equal(1);
    bench.pool.markReady(bench.announced[0]!);
    await settle();
    expect(bench.source.draws).to.equal(2);
  });

  it('spreads the first requests to a KME over a while', async () => {
    const bench = await new Bench({ startSpreadMs: 2_000 }).up();
    await bench.clock.advance(999);
    expect(bench.streams).to.have.length(0);
    await bench.clock.advance(1);
    expect(bench.pool.status().ready).to.equal(4);
  });

  it('keeps the reserve for rekeys', async () => {
    const bench = await new Bench({ highWatermark: 3, reserveFloor: 2 }).up();
    bench.source.available = 0;
    leaseOf(bench.pool.take()).commit();
    expect(reasonOf(bench.pool.take())).to.equal('budget');
    expect(reasonOf(bench.pool.take({ purpose: 'rekey' }))).to.equal('a key');
    bench.pool.setReserveFloor(0);
    expect(reasonOf(bench.pool.take())).to.equal('a key');
  });

  it('serves those who wait in their order, and the rest get the reason of the moment', async () => {
    const bench = new Bench({ highWatermark: 1 });
    bench.source.available = 0;
    await bench.up();
    const served: string[] = [];
    const waiting = ['a', 'b', 'c'].map(async (name) => {
      const result = await bench.pool.takeWithin(5_000);
      served.push(`${name}: ${result.ok ? 'key' : result.reason}`);
      if (result.ok) result.lease.commit();
    });
    const abort = new AbortController();
    const aborted = bench.pool.takeWithin(5_000, { signal: abort.signal });
    await settle();
    abort.abort();
    expect(reasonOf(await aborted)).to.equal('pool_empty');
    bench.source.available = 2;
    await bench.clock.advance(4_000);
    expect(served).to.deep.equal(['a: key', 'b: key']);
    await bench.clock.advance(1_000);
    await Promise.all(waiting);
    expect(served[2]).to.equal('c: pool_empty');
    expect(reasonOf(await bench.pool.takeWithin(0))).to.equal('pool_empty');
  });

  it('answers all who wait when it is closed, and gives nothing afterwards', async () => {
    const bench = await new Bench().up();
    const lease = leaseOf(bench.pool.take());
    bench.source.available = 0;
    for (let i = 0; i < 4; i++) bench.pool.take();
    const waiting = bench.pool.takeWithin(60_000);
    await bench.pool.close();
    expect((await waiting).ok).to.equal(false);
    expect(bench.pool.take().ok).to.equal(false);
    expect(lease.commit()).to.equal(false);
    expect((await bench.pool.takeWithin(1_000)).ok).to.equal(false);
  });

  it('survives being closed, and losing its channel, while a call hangs', async () => {
    const bench = new Bench();
    bench.source.hold();
    await bench.up();
    bench.pool.channelDown();
    await bench.up(OTHER_INSTANCE);
    bench.source.letGo();
    await settle();
    expect(bench.pool.status().ready).to.equal(4);
    bench.source.hold();
    leaseOf(bench.pool.take()).commit();
    await bench.pool.close();
  });
});
