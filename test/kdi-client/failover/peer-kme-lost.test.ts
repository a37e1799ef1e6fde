/** The peer's KME is lost, ours is well: what the drawer draws, and from whom. */
import { expect } from 'chai';
import {
  DrawerPool,
  FailoverSource,
  type KeySource,
  type QkdKeyReference,
  referenceText,
} from '../../../kdi-client/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

/** A KME whose keys are had by ID, without a stream that the peer has to open first. */
class IdKme extends FakeSource {
  override readonly kme: string;
  override readonly needsStream = false;

  constructor(clock: VirtualClock, kme: string, streamsBefore: number) {
    super(clock);
    this.kme = kme;
    // Its key IDs are its own.
    this.streamsOpened = streamsBefore;
  }
}

describe('kdi-client/pool: the peer gets no keys from its KME', () => {
  const KEYS_AHEAD = 8;
  let clock: VirtualClock;
  let first: IdKme;
  let second: IdKme;
  let announced: { readonly kme: string; readonly reference: QkdKeyReference }[];
  /** Links whose key the peer gets. */
  let peerHas: Set<string>;
  let pool: DrawerPool;

  function start(source: KeySource): void {
    announced = [];
    pool = new DrawerPool({
      source,
      peerSaeId: 'siteB',
      clock,
      random: () => 0.5,
      highWatermark: KEYS_AHEAD,
      hooks: {
        announceStream: () => {},
        announceKeys: (keys) => {
          for (const { reference } of keys) {
            const { kme } = source;
            announced.push({ kme, reference });
            queueMicrotask(() => (peerHas.has(kme) ? pool.markReady(reference) : pool.setPeerKmeReachable(false)));
          }
        },
        dropKeys: () => {},
        closeStream: () => {},
      },
    });
    pool.channelUp(new Uint8Array(16), 1_000);
  }
  const use = (): void => {
    const result = pool.take();
    if (!result.ok) return;
    result.lease.secret.wipe();
    result.lease.commit();
  };
  const announcedBy = ({ kme }: KeySource): number => announced.filter((key) => key.kme === kme).length;

  beforeEach(() => {
    clock = new VirtualClock();
    first = new IdKme(clock, 'kme-1', 0);
    second = new IdKme(clock, 'kme-2', 100);
    peerHas = new Set(['kme-1', 'kme-2']);
  });
  afterEach(async () => {
    await pool.close();
    expect(clock.pending, 'timers left').to.equal(0);
    const left = [...first.handedOut, ...second.handedOut].filter(({ wiped }) => !wiped);
    expect(left, 'secrets not wiped').to.have.length(0);
  });

  /** Takes all keys that were agreed, and what is drawn meanwhile. */
  async function useAll(): Promise<void> {
    for (let i = 0; i < 4 * KEYS_AHEAD; i++) {
      use();
      await settle();
    }
  }

  it('from one KME: one key is announced and waited for, and none is drawn for nothing', async () => {
    start(first);
    await settle();
    expect(pool.ready).to.equal(KEYS_AHEAD);
    peerHas.clear();
    const before = announced.length;
    await useAll();
    await clock.advance(60_000 / 4);
    expect(announced.length - before, 'announced since').to.equal(1);
    expect(pool.take()).to.deep.equal({ ok: false, reason: 'peer_kme_unreachable' });

    const [probe] = announced.slice(-1);
    peerHas.add('kme-1');
    pool.markReady((probe as { reference: QkdKeyReference }).reference);
    await settle();
    expect(pool.ready, 'after the first that it has').to.equal(KEYS_AHEAD);
  });

  it('with another KME: that one serves within 5 s, and what the first still has stays with it', async () => {
    const source = new FailoverSource({
      members: [{ source: first }, { source: second }],
      clock,
      random: () => 0.5,
      failBackAfterMs: 600_000,
    });
    start(source);
    await settle();
    peerHas.delete('kme-1');
    const before = announcedBy(first);
    await useAll();
    expect(announcedBy(second), 'at once').to.equal(0);
    await clock.advance(5_000);
    expect(announcedBy(first) - before, 'announced by the first since').to.equal(1);
    expect(pool.ready, 'of the second').to.equal(KEYS_AHEAD);
    expect(source.kme).to.equal('kme-2');

    // The peer ends its look-up of the first one's key: nothing of the second's.
    const [lost] = announced.slice(before);
    pool.markUnavailable((lost as { reference: QkdKeyReference }).reference);
    pool.setPeerKmeReachable(false);
    await useAll();
    expect(pool.ready, 'afterwards').to.equal(KEYS_AHEAD);
    expect(source.kme).to.equal('kme-2');
    expect(new Set(announced.map(({ reference }) => referenceText(reference))).size).to.equal(announced.length);
  });

  it('lost again after keys that it had: it is given the first, short patience, and not a longer one', async () => {
    const source = new FailoverSource({
      members: [{ source: first }, { source: second }],
      clock,
      random: () => 0.5,
      failBackAfterMs: 600_000,
    });
    start(source);
    await settle();
    peerHas.delete('kme-1');
    await useAll();
    await clock.advance(5_000);
    expect(pool.ready, 'of the second').to.equal(KEYS_AHEAD);
    const waiting = announced.findLast(({ kme }) => kme === 'kme-1');

    // The second one's other end is lost, the first one's is back.
    peerHas = new Set(['kme-1']);
    await useAll();
    await clock.advance(2_900);
    expect(source.kme, 'before its time').to.equal('kme-2');
    await clock.advance(1_100);
    expect(source.kme, 'within 5 s').to.equal('kme-1');
    // Its key that was waited for is there now, and others follow.
    pool.markReady((waiting as { reference: QkdKeyReference }).reference);
    await settle();
    expect(pool.ready, 'of the first').to.equal(KEYS_AHEAD);
  });

  it('from none of two: they are tried in turn, one key each, after longer and longer waits', async () => {
    const source = new FailoverSource({
      members: [{ source: first }, { source: second }],
      clock,
      random: () => 0.5,
    });
    peerHas.clear();
    start(source);
    await clock.advance(120_000);
    for (const kme of [first, second]) expect(announcedBy(kme), kme.kme).to.be.within(1, 4);
  });
});
