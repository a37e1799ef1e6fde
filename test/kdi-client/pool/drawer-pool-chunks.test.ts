import { expect } from 'chai';
import { settle } from '../support/virtual-clock.ts';
import { Bench, closeBenches, INSTANCE, leaseOf } from './pool-bench.ts';

describe('kdi-client/pool/drawer-pool: chunks of many keys', () => {
  afterEach(closeBenches);

  it('cuts chunks into many keys', async () => {
    const bench = new Bench({ highWatermark: 4 });
    bench.source.keysPerChunk = 8;
    await bench.up();
    expect(bench.source.draws).to.equal(1);
    expect(bench.pool.status().ready).to.equal(8);
    for (let i = 0; i < 5; i++) leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(2);
  });

  it('draws a chunk only where there is room for the whole of it under the quota', async () => {
    const bench = new Bench({ highWatermark: 12 });
    bench.source.keysPerChunk = 8;
    await bench.up(INSTANCE, 20);
    expect(bench.pool.status()).to.include({ ready: 16 });
    const leases = Array.from({ length: 6 }, () => leaseOf(bench.pool.take()));
    await settle();
    expect(bench.source.draws, '10 ahead, 16 in all').to.equal(2);
    for (const lease of leases.slice(0, 4)) lease.commit();
    await settle();
    expect(bench.source.draws, '12 in all').to.equal(3);
    expect(bench.pool.status()).to.include({ ready: 18, leased: 2 });
  });

  it('a chunk larger than the quota is drawn when nothing is left, and what is beyond is wiped', async () => {
    const bench = new Bench({ highWatermark: 4 });
    bench.source.keysPerChunk = 8;
    await bench.up(INSTANCE, 6);
    expect(bench.pool.status()).to.include({ ready: 6 });
    expect(bench.source.handedOut.filter(({ wiped }) => wiped)).to.have.length(2);
    for (let i = 0; i < 5; i++) leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(1);
    leaseOf(bench.pool.take()).commit();
    await settle();
    expect(bench.source.draws).to.equal(2);
  });

  it('wipes all keys of a chunk at their TTL, those beyond the watermark too', async () => {
    const bench = new Bench({ highWatermark: 2, keyTtlMs: 10_000, ttlMarginMs: 1_000 });
    bench.source.keysPerChunk = 8;
    await bench.up();
    bench.source.available = 0;
    await bench.clock.advance(10_000);
    expect(bench.pool.status()).to.include({ ready: 0, announced: 0 });
    expect(bench.dropped).to.have.length(8);
    expect(bench.source.handedOut.every(({ wiped }) => wiped)).to.equal(true);
  });

  it('never draws from a stream that the two KMEs cut into different chunks', async () => {
    const bench = new Bench();
    bench.peerOpens = false;
    await bench.up();
    bench.pool.streamOpened(bench.streams[0]!.ksid, 64);
    await settle();
    expect(bench.source.draws).to.equal(0);
    expect(bench.events.find(({ type }) => type === 'failure')).to.have.nested.property(
      'error.message',
      "our KME makes chunks of 32 bytes of the stream, the peer's of 64; configure a size that both take",
    );
    await bench.clock.advance(1_000);
    expect(bench.streams).to.have.length(2);
    bench.pool.streamOpened(bench.streams[1]!.ksid, 32);
    await settle();
    expect(bench.pool.status()).to.include({ ready: 4 });
  });
});
