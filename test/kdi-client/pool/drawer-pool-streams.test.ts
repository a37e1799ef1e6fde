import { expect } from 'chai';
import {
  type DrawStream,
  FailoverSource,
  KdiError,
  KdiErrorCode,
  ledgerId,
  MemoryLedger,
  type OpenDrawOptions,
  type SpentLedger,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';

import { FakeSource, QOS } from '../support/fake-source.ts';
import { settle, type VirtualClock } from '../support/virtual-clock.ts';
import { Bench, closeBenches, leaseOf, OTHER_INSTANCE } from './pool-bench.ts';

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

  describe('while one is opened', () => {
    /** Announces its KSID before it asks for the stream, as where we choose the KSID. */
    class EarlyKme extends FakeSource {
      override async openDraw(peer: string, options: OpenDrawOptions = {}): Promise<DrawStream> {
        const { onAnnouncement, ...rest } = options;
        const ksid = new Uint8Array(16).fill(this.streamsOpened + 1);
        onAnnouncement?.({ ksid, qos: QOS });
        return super.openDraw(peer, rest);
      }
    }
    const hexOfFill = (fill: number) => hexOf(new Uint8Array(16).fill(fill));
    const announced = ({ streams }: Bench) => streams.map(({ ksid }) => hexOf(ksid));
    /** With a second KME, which comes 100 streams later. */
    const twoKmes = (make: (clock: VirtualClock) => FakeSource) => {
      const kmes: FakeSource[] = [];
      const bench = new Bench({
        sourceOf: (_, clock) => {
          kmes.push(make(clock), make(clock));
          (kmes[1] as FakeSource).streamsOpened = 100;
          const members = kmes.map((source) => ({ source }));
          return new FailoverSource({ members, clock, random: () => 0.5 });
        },
      });
      return { bench, first: kmes[0] as FakeSource, second: kmes[1] as FakeSource };
    };

    it('a KME that fails after its stream was announced: that one is taken back, and the next one announced', async () => {
      const { bench, first, second } = twoKmes((clock) => new EarlyKme(clock));
      first.openError = KdiErrorCode.connect;
      await bench.up();
      expect(announced(bench)).to.deep.equal([hexOfFill(1), hexOfFill(101)]);
      expect(bench.closedStreams).to.deep.equal([hexOfFill(1)]);
      expect(bench.pool.status()).to.include({ ready: 4 });
      await bench.pool.close();
      expect(second.streamsOpen).to.equal(0);
    });

    it('what was announced is taken back where no KME opens it', async () => {
      const { bench, first, second } = twoKmes((clock) => new EarlyKme(clock));
      [first.openError, second.openError] = [KdiErrorCode.connect, KdiErrorCode.connect];
      await bench.up();
      expect(bench.closedStreams).to.deep.equal([hexOfFill(1), hexOfFill(101)]);
      const alone = new Bench();
      alone.source.openError = KdiErrorCode.connect;
      await alone.up();
      expect(alone.closedStreams, 'nothing was announced').to.deep.equal([]);
    });

    it('the channel is lost: it is announced when that is back', async () => {
      const bench = new Bench();
      bench.source.hold();
      await bench.up();
      bench.pool.channelDown();
      bench.source.letGo();
      await settle();
      expect(announced(bench)).to.deep.equal([]);
      await bench.up();
      expect(announced(bench)).to.deep.equal([hexOfFill(1)]);
      expect(bench.pool.status()).to.include({ ready: 4 });
    });

    it('the peer is another process by then: it hears of a fresh one, and this one is closed', async () => {
      const bench = new Bench();
      bench.source.hold();
      await bench.up();
      await bench.up(OTHER_INSTANCE);
      bench.source.letGo();
      await settle();
      expect(announced(bench)).to.deep.equal([hexOfFill(2)]);
      expect(bench.source.streamsOpen).to.equal(1);
    });

    it('a peer that does not open it is waited for less where there is another KME', async () => {
      const { bench, first, second } = twoKmes((clock) => new FakeSource(clock));
      bench.peerOpens = false;
      await bench.up();
      await bench.clock.advance(10_000 - 1);
      expect(announced(bench)).to.deep.equal([hexOfFill(1)]);
      bench.peerOpens = true;
      await bench.clock.advance(1);
      expect(announced(bench)).to.deep.equal([hexOfFill(1), hexOfFill(101)]);
      expect([first.streamsOpen, second.streamsOpen]).to.deep.equal([0, 1]);
      expect(bench.pool.status()).to.include({ ready: 4 });
      expect(bench.events).to.deep.include({
        type: 'stream-ended',
        kme: first.kme,
        ksid: new Uint8Array(16).fill(1),
      });
    });
  });

  it('a stream that is not the current one says nothing of the peer’s key manager', async () => {
    const bench = new Bench();
    bench.answer = 'nothing';
    await bench.up();
    bench.pool.setPeerKmeReachable(false);
    const why = () => bench.pool.status().reason;
    expect(why()).to.equal('peer_kme_unreachable');
    bench.pool.streamOpened(new Uint8Array(16).fill(7));
    expect(why(), 'unknown').to.equal('peer_kme_unreachable');
    bench.pool.streamOpened(new Uint8Array(16).fill(1));
    expect(why(), 'open already').to.equal('peer_kme_unreachable');
  });

  it('a KME that asks whether a KSID is fresh is told so without a ledger too', async () => {
    const bench = new Bench();
    bench.source.heedsClaims = true;
    await bench.up();
    expect(bench.pool.status()).to.include({ ready: 4 });
  });
});
