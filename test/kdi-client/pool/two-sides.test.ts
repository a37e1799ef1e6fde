import { expect } from 'chai';
import fc from 'fast-check';
import {
  Answerer,
  AnswererStore,
  type Clock,
  type KdiErrorCode as Code,
  DrawerPool,
  KdiErrorCode,
  type KeyLease,
  type KeyToAnnounce,
  MemoryLedger,
  type QkdKeyReference,
  referenceText,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

const QUOTA = 6;

/** What can happen to two sites, in any order. */
type Step =
  | { readonly step: 'take' }
  | { readonly step: 'finish'; readonly which: number; readonly how: 'complete' | 'reset' | 'lost-finish' }
  | { readonly step: 'channel'; readonly up: boolean }
  | { readonly step: 'restart'; readonly side: 'drawer' | 'answerer' }
  | {
      readonly step: 'kme';
      readonly side: 'drawer' | 'answerer';
      readonly error: Code | undefined;
      readonly endsStream: boolean;
    }
  | { readonly step: 'disagree'; readonly yes: boolean }
  | { readonly step: 'kmes-forget' }
  | { readonly step: 'time'; readonly ms: number };

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Step>({ step: 'take' }) },
  {
    weight: 5,
    arbitrary: fc.record({
      step: fc.constant('finish' as const),
      which: fc.nat(7),
      how: fc.constantFrom('complete' as const, 'reset' as const, 'lost-finish' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ step: fc.constant('channel' as const), up: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      step: fc.constant('restart' as const),
      side: fc.constantFrom('drawer' as const, 'answerer' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      step: fc.constant('kme' as const),
      side: fc.constantFrom('drawer' as const, 'answerer' as const),
      error: fc.constantFrom(
        undefined,
        KdiErrorCode.connect,
        KdiErrorCode.insufficientKey,
        KdiErrorCode.timeout,
        KdiErrorCode.malformed,
        KdiErrorCode.keyNotFound,
      ),
      endsStream: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('disagree' as const), yes: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant<Step>({ step: 'kmes-forget' }) },
  {
    weight: 4,
    arbitrary: fc.record({ step: fc.constant('time' as const), ms: fc.constantFrom(10, 500, 3_000, 31_000, 200_000) }),
  },
);

/** Two sites, their KMEs, a key channel that passes what tls-ext/key-channel would, and what no run may do. */
class World {
  readonly clock = new VirtualClock();
  readonly sourceA = new FakeSource(this.clock);
  readonly sourceB = new FakeSource(this.clock);
  /** Stand for files: they outlive the processes. */
  readonly #ledgerA = new MemoryLedger({ nowMs: () => this.clock.now(), retentionMs: 1e12 });
  readonly #ledgerB = new MemoryLedger({ nowMs: () => this.clock.now(), retentionMs: 1e12 });
  readonly completed = new Set<string>();
  readonly #everUsed = new Set<string>();
  leases: KeyLease[] = [];
  #instanceB = 0;
  #channelUp = false;
  #forgotten = 0;
  pool = this.#newPool();
  store = this.#newStore();
  answerer = this.#newAnswerer();
  /** What A announced, for B to compare; as the messages would carry. */
  readonly #checks = new Map<string, string>();

  async run(step: Step): Promise<void> {
    switch (step.step) {
      case 'take': {
        const result = this.pool.take();
        if (result.ok) this.#lent(result.lease);
        break;
      }
      case 'finish':
        await this.#finish(step.which, step.how);
        break;
      case 'channel':
        this.#setChannel(step.up);
        break;
      case 'restart':
        if (step.side === 'drawer') await this.#restartDrawer();
        else await this.#restartAnswerer();
        break;
      case 'kme': {
        const source = step.side === 'drawer' ? this.sourceA : this.sourceB;
        source.openError = step.error;
        source.drawError = step.error;
        source.lookupError = step.error;
        source.failureEndsStream = step.endsStream;
        break;
      }
      case 'disagree':
        this.sourceB.seed = step.yes ? 'other bits' : this.sourceA.seed;
        break;
      case 'kmes-forget':
        this.#forgotten++;
        for (const source of [this.sourceA, this.sourceB]) source.forget(`after ${this.#forgotten}`);
        break;
      case 'time':
        await this.clock.advance(step.ms);
    }
    await settle();
    this.#check();
  }

  /** Everything works again: a key must come. */
  async heal(): Promise<void> {
    for (const source of [this.sourceA, this.sourceB]) {
      source.openError = undefined;
      source.drawError = undefined;
      source.lookupError = undefined;
      source.failureEndsStream = false;
    }
    this.sourceB.seed = this.sourceA.seed;
    for (const lease of this.leases.splice(0)) {
      lease.secret.wipe();
      lease.release();
    }
    this.#setChannel(true);
    await this.clock.advance(400_000);
    const result = this.pool.take();
    expect(
      result.ok,
      result.ok ? '' : `no key after everything healed: ${result.reason} ${JSON.stringify(this.pool.status())}`,
    ).to.equal(true);
    if (result.ok) {
      this.#lent(result.lease);
      await this.#finish(0, 'complete');
    }
  }

  async end(): Promise<void> {
    for (const { secret } of this.leases) secret.wipe();
    await this.pool.close();
    await this.answerer.close();
    this.store.close();
    await settle();
    expect(this.clock.pending, 'timers left').to.equal(0);
    for (const source of [this.sourceA, this.sourceB]) {
      expect(source.streamsOpen, 'streams left open').to.equal(0);
      expect(
        source.handedOut.filter((secret) => !secret.wiped),
        'secrets not wiped',
      ).to.have.length(0);
    }
  }

  #lent(lease: KeyLease): void {
    const text = identity(lease.reference, lease.secret.expose());
    expect(this.completed.has(text), `${text} lent after it was used`).to.equal(false);
    expect(
      this.leases.some(({ reference }) => referenceText(reference) === referenceText(lease.reference)),
      'lent to two at once',
    ).to.equal(false);
    this.leases.push(lease);
  }

  async #finish(which: number, how: 'complete' | 'reset' | 'lost-finish'): Promise<void> {
    const [lease] = this.leases.splice(which % Math.max(1, this.leases.length), 1);
    if (lease === undefined) return;
    const text = identity(lease.reference, lease.secret.expose());
    const found = this.store.find(lease.reference);
    const bindersAgree = found !== undefined && hexOf(found.secret.expose()) === hexOf(lease.secret.expose());
    if (found !== undefined) {
      expect(bindersAgree, 'an acknowledged key differs').to.equal(true);
      found.secret.wipe();
    }
    lease.secret.wipe();
    if (how === 'reset') {
      lease.release();
      return;
    }
    if (!bindersAgree || !this.store.burn(lease.reference)) {
      lease.discard();
      return;
    }
    expect(this.#everUsed.has(text), `${text} used twice`).to.equal(false);
    this.#everUsed.add(text);
    if (how === 'complete') {
      lease.commit();
      this.completed.add(text);
    } else {
      // The server is done; its answer never reached the client, which offers the key again, in vain.
      lease.release();
    }
  }

  #check(): void {
    const { drawn, announced, ready, leased } = this.pool.status();
    expect(drawn + announced + ready + leased).to.be.at.most(QUOTA);
    expect(this.store.status().keys).to.be.at.most(QUOTA);
  }

  #setChannel(up: boolean): void {
    if (up === this.#channelUp) return;
    this.#channelUp = up;
    if (up) this.pool.channelUp(new Uint8Array(16).fill(this.#instanceB), QUOTA);
    else this.pool.channelDown();
  }

  async #restartDrawer(): Promise<void> {
    this.#channelUp = false;
    for (const { secret } of this.leases.splice(0)) secret.wipe();
    await this.pool.close();
    this.sourceA.restart();
    this.pool = this.#newPool();
    // What the old process announced ends by TTL; here at once, to keep the quota free.
    this.store.dropAll('siteA');
    await this.answerer.close();
    this.answerer = this.#newAnswerer();
  }

  async #restartAnswerer(): Promise<void> {
    this.#setChannel(false);
    this.#instanceB++;
    await this.answerer.close();
    this.store.close();
    this.store = this.#newStore();
    this.answerer = this.#newAnswerer();
  }

  #newPool(): DrawerPool {
    const toB = (tell: () => void): void => {
      queueMicrotask(() => {
        if (this.#channelUp) tell();
      });
    };
    return new DrawerPool({
      source: this.sourceA,
      peerSaeId: 'siteB',
      clock: this.clock as Clock,
      random: () => 0.5,
      highWatermark: 3,
      ttlMarginMs: 1_000,
      keyTtlMs: 300_000,
      ledger: this.#ledgerA,
      hooks: {
        announceStream: (announcement) => toB(() => this.answerer.announceStream(announcement)),
        announceKeys: (keys: readonly KeyToAnnounce[]) => {
          for (const { reference, secret } of keys) this.#checks.set(referenceText(reference), hexOf(secret.expose()));
          const references = keys.map(({ reference }) => reference);
          toB(() => this.answerer.announceKeys(references));
        },
        dropKeys: (references) => toB(() => this.answerer.dropKeys(references)),
        closeStream: (ksid) => toB(() => this.answerer.closeStream(ksid)),
      },
    });
  }

  #newStore(): AnswererStore {
    return new AnswererStore({ clock: this.clock, maxKeysPerDrawer: QUOTA, keyTtlMs: 300_000, ledger: this.#ledgerB });
  }

  #newAnswerer(): Answerer {
    const toA = (tell: (pool: DrawerPool) => void): void => {
      const { pool } = this;
      queueMicrotask(() => {
        if (this.#channelUp && this.pool === pool) tell(pool);
      });
    };
    return new Answerer({
      source: this.sourceB,
      drawerSaeId: 'siteA',
      store: this.store,
      clock: this.clock,
      random: () => 0.5,
      hooks: {
        streamOpened: (ksid) => toA((pool) => pool.streamOpened(ksid)),
        streamFailed: (ksid) => toA((pool) => pool.streamFailed(ksid)),
        streamLost: (ksid) => toA((pool) => pool.streamLost(ksid)),
        keyFetched: (reference, secret) => {
          const agrees = this.#checks.get(referenceText(reference)) === hexOf(secret.expose());
          toA((pool) => {
            if (agrees) pool.markReady(reference);
            else pool.markMismatch(reference);
          });
          return agrees;
        },
        keyUnavailable: (reference, _error, final) => {
          if (final) toA((pool) => pool.markUnavailable(reference));
        },
        kmeUnfit: () => toA((pool) => pool.setPeerKmeReachable(false)),
      },
    });
  }
}

/** A key is its reference and its bits: a KME without memory gives other bits under an old reference. */
function identity(reference: QkdKeyReference, bits: Uint8Array): string {
  return `${referenceText(reference)} ${hexOf(bits).slice(0, 8)}`;
}

describe('kdi-client/pool: two sides under any interleaving', () => {
  it('no key is used twice, differs, leaks or is lost for good; and all heals by itself', async function () {
    this.timeout(60_000);
    await fc.assert(
      fc.asyncProperty(fc.array(stepArbitrary, { maxLength: 40 }), async (steps) => {
        const world = new World();
        await world.run({ step: 'channel', up: true });
        for (const step of steps) await world.run(step);
        await world.heal();
        await world.end();
      }),
      { numRuns: 150 },
    );
  });
});
