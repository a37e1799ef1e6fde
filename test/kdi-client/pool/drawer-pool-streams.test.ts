import { expect } from 'chai';
import { KdiError, KdiErrorCode, ledgerId, MemoryLedger, type SpentLedger } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';

import { Bench, closeBenches, leaseOf } from './pool-bench.ts';

describe('kdi-client/pool/drawer-pool: streams that are not fresh, or not there any more', () => {
  afterEach(closeBenches);

  it('takes no key that the ledger has seen, leaves the stream that it came from, and takes none at all when the ledger fails', async () => {
    const ledger = new MemoryLedger({ nowMs: () => 0 });
    const reference = (index: number) =>
      ({ api: 'etsi004', drawer: 'siteA', ksid: new Uint8Array(16).fill(1), index, slice: 0 }) as const;
    await ledger.spend([ledgerId('drawn', reference(1))]);
    const bench = await new Bench({ ledger }).up();
    expect(bench.announced).to.deep.equal([reference(0)]);
    expect(bench.pool.status()).to.include({ ready: 1, lastErrorCode: KdiErrorCode.duplicateKey });
    await bench.clock.advance(500);
    expect(bench.streams).to.have.length(2);
    expect(bench.announced.map((each) => hexOf('ksid' in each ? each.ksid : each.keyId))).to.deep.equal([
      '01'.repeat(16),
      ...Array.from({ length: 3 }, () => '02'.repeat(16)),
    ]);
    const failing: SpentLedger = {
      spend: () => Promise.reject(new KdiError(KdiErrorCode.ledger, 'disk full')),
      close: async () => {},
    };
    const other = await new Bench({ ledger: failing }).up();
    expect(other.announced).to.deep.equal([]);
    expect(other.pool.status().lastErrorCode).to.equal(KdiErrorCode.ledger);
  });

  it('does not go on with a stream of an earlier process, whose KSID the KME allocates again', async () => {
    const ledger = new MemoryLedger({ nowMs: () => 0 });
    /** The KSIDs of a process that knows of none before, while the KME has allocated `allocated`. */
    const ksidsOf = async (allocated: number) => {
      const bench = new Bench({ ledger });
      bench.source.heedsClaims = true;
      bench.source.streamsOpened = allocated;
      await bench.up();
      expect(bench.pool.status()).to.include({ ready: 4 });
      return bench.streams.map(({ ksid }) => ksid[0]);
    };
    expect(await ksidsOf(0)).to.deep.equal([1]);
    expect(await ksidsOf(0)).to.deep.equal([2]);
    expect(await ksidsOf(1), 'one that was chosen instead is known as well').to.deep.equal([3]);
  });

  it('tries one fresh stream soon where the KME denies the link: it may have lost this one in a restart', async () => {
    const bench = await new Bench().up();
    bench.source.drawError = KdiErrorCode.noQkdConnection;
    leaseOf(bench.pool.take()).commit();
    await bench.clock.advance(200 + 400 - 1);
    expect(bench.streams).to.have.length(1);
    await bench.clock.advance(1_000);
    expect(bench.streams, 'after the third denial').to.have.length(2);
    await bench.clock.advance(20_000);
    expect(
      bench.streams,
      'and then not for long: the link is down, and its KSIDs cost the KME something',
    ).to.have.length(2);
    bench.source.drawError = undefined;
    await bench.clock.advance(2_000);
    expect(bench.pool.status()).to.include({ ready: 4 });
    bench.source.drawError = KdiErrorCode.peerNotConnected;
    leaseOf(bench.pool.take()).commit();
    await bench.clock.advance(20_000);
    expect(bench.streams, 'a peer that is late is waited for').to.have.length(2);
  });
});
