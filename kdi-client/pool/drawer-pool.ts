/**
 * The drawer's side of a peer's keys: draws them ahead of need, has them
 * announced, lends the acknowledged ones to handshakes, and burns each on its
 * one way out. The key channel itself is elsewhere; proxy/ joins the two by
 * `DrawerPoolHooks` and the methods named after what the channel hears.
 */
import { bytesEqual } from '../../tls-ext/bytes/index.ts';
import type { QkdKeyReference } from '../key-source.ts';
import type { KeyStock } from './budget.ts';
import { type DepthOptions, DepthPolicy, exhaustionMs } from './depth.ts';
import { type DrawerKey, DrawerKeys, referenceOfKey, toAnnounce } from './drawer-keys.ts';
import {
  type DrawerPoolEvent,
  type DrawerPoolOptions,
  type DrawerPoolStatus,
  type KeyLease,
  NoKeyReason,
  noTotals,
  type TakeOptions,
  type TakeResult,
  type TakeWithinOptions,
} from './drawer-pool-types.ts';
import { DrawerStreams } from './drawer-streams.ts';
import { PeerKme } from './peer-kme.ts';
import { Refill } from './refill.ts';
import { SupplyHealth } from './supply-health.ts';
import { TakeQueue } from './take-queue.ts';
import { Watermarks } from './watermarks.ts';

export class DrawerPool {
  readonly #options: DrawerPoolOptions;
  readonly #keys: DrawerKeys;
  readonly #health: SupplyHealth;
  readonly #streams: DrawerStreams;
  readonly #refill: Refill;
  readonly #peerKme: PeerKme;
  readonly #waiters: TakeQueue;
  readonly #totals = noTotals();
  readonly #depth: DepthPolicy;
  readonly #watermarks: Watermarks;
  #reserveFloor: number;
  #quota: number;
  #instance: Uint8Array | undefined;
  #channelUp = false;
  #closed = false;

  constructor(options: DrawerPoolOptions) {
    this.#options = options;
    this.#depth = new DepthPolicy(options.adaptiveDepth);
    this.#watermarks = new Watermarks(options, this.#depth);
    this.#reserveFloor = options.reserveFloor ?? 0;
    this.#quota = options.maxOutstanding ?? 4096;
    const { clock, random } = options;
    this.#waiters = new TakeQueue(clock, (wanted) => this.#lend(wanted));
    this.#health = new SupplyHealth(random);
    this.#streams = new DrawerStreams({
      source: options.source,
      peerSaeId: options.peerSaeId,
      clock,
      hooks: options.hooks,
      ledger: options.ledger,
      openTimeoutMs: options.streamOpenTimeoutMs ?? 60_000,
      channelUp: () => this.#channelUp,
      emit: (event) => this.#emit(event),
      onChange: () => this.#refill.fill(),
      onUnusable: (error) => this.#refill.failed(error, true),
    });
    this.#keys = new DrawerKeys({
      clock,
      keyTtlMs: options.keyTtlMs ?? 3_600_000,
      ttlMarginMs: options.ttlMarginMs ?? 30_000,
      maxOffers: options.maxOffers ?? 3,
      offerWindowMs: options.offerWindowMs ?? 30_000,
      ackTimeoutMs: options.ackTimeoutMs ?? 60_000,
      onDropped: (key, reason, announced) => {
        this.#totals.dropped++;
        if (announced) this.#options.hooks.dropKeys([referenceOfKey(key)]);
        this.#emit({ type: 'dropped', reference: referenceOfKey(key), reason });
      },
      onRemoved: (key) => {
        this.#streams.closeIfSpent(key.origin);
        this.#refill.fill();
      },
      onReleased: () => {
        this.#waiters.serve();
        if (this.#keys.count('ready') > 0) this.#emit({ type: 'keys-ready', ready: this.#keys.count('ready') });
      },
    });
    this.#peerKme = new PeerKme({
      clock,
      random,
      keyAwaited: () => this.#keys.awaitedFrom(this.#streams.current?.origin.kme) > 0,
      onLost: () => {
        if (this.#streams.blame()) this.#streams.retire();
        this.#refill.fill();
      },
    });
    this.#refill = new Refill({
      ...options,
      keys: this.#keys,
      streams: this.#streams,
      health: this.#health,
      peerKme: this.#peerKme,
      watermarks: this.#watermarks,
      depth: this.#depth,
      channelUp: () => this.#channelUp,
      quota: () => this.#quota,
      onDrawn: (keys) => {
        this.#totals.drawn += keys;
      },
      // What is drawn while the channel is down is announced when it is back.
      onAdded: (keys) => {
        if (this.#channelUp) this.#announce(keys);
      },
      onFailed: () => {
        this.#totals.drawFailures++;
      },
      emit: (event) => this.#emit(event),
    });
  }

  // What the key channel hears.

  /**
   * The channel stands, to this process of the peer, which holds at most
   * `quota` of our keys. The same instance as before: what is left is announced
   * again. Another one: it's burnt, and a fresh stream is opened.
   */
  channelUp(instance: Uint8Array, quota: number): void {
    if (this.#closed) return;
    const { startSpreadMs = 0 } = this.#options;
    const sameInstance = this.#instance !== undefined && bytesEqual(this.#instance, instance);
    this.#quota = Math.min(quota, this.#options.maxOutstanding ?? 4096);
    this.#peerKme.saidReachable();
    if (this.#instance !== undefined && !sameInstance) this.#startOver();
    this.#instance = Uint8Array.from(instance);
    this.#channelUp = true;
    if (sameInstance) {
      this.#streams.announceAgain();
      this.#announce([...this.#keys.values()].filter((key) => key.state !== 'leased'));
    } else if (startSpreadMs > 0) this.#refill.pause(this.#options.random() * startSpreadMs);
    this.#refill.fill();
  }

  /** The channel is lost. Acknowledged keys stay good until their TTL; nothing is drawn meanwhile. */
  channelDown(): void {
    this.#channelUp = false;
    this.#peerKme.stop();
  }

  /** The peer opened the stream at its KME, which cuts it into chunks of `chunkBytes`. */
  streamOpened(ksid: Uint8Array, chunkBytes?: number): void {
    if (this.#streams.peerOpened(ksid, chunkBytes)) this.#peerKme.saidReachable();
  }

  /** The peer can't open it yet; it goes on trying and says `streamOpened` later. */
  streamFailed(ksid: Uint8Array): void {
    if (this.#streams.find(ksid) !== undefined) this.#peerKme.saidUnreachable();
  }

  /** The peer gave it up for good, or its KME lost it: a fresh one is opened. */
  streamLost(ksid: Uint8Array): void {
    if (this.#streams.find(ksid) === undefined) return;
    this.#streams.blame();
    this.#streams.retire();
    this.#refill.pause(this.#health.streamLost());
  }

  /** The peer's own word on its KME. */
  setPeerKmeReachable(reachable: boolean): void {
    if (reachable) this.#peerKme.saidReachable();
    else this.#peerKme.saidUnreachable();
    this.#refill.fill();
  }

  /** The peer has the same key. False if it isn't one that waits for this. */
  markReady(reference: QkdKeyReference): boolean {
    const key = this.#keys.markReady(reference);
    if (key === undefined) return false;
    this.#totals.acknowledged++;
    if (this.#isOfCurrentKme(key)) this.#peerKme.keyAgreed();
    this.#health.agreed();
    this.#emit({ type: 'keys-ready', ready: this.#keys.count('ready') });
    this.#waiters.serve();
    this.#refill.fill();
    return true;
  }

  /** The peer doesn't have it, or no more: burnt. It's not told, since it said so. One that is on loan goes when it comes back. */
  markUnavailable(reference: QkdKeyReference): void {
    const key = this.#keys.get(reference);
    if (key === undefined) return;
    // Of a KME that was left for another one it says nothing about that one.
    if (this.#streams.current === undefined || this.#isOfCurrentKme(key)) {
      this.#peerKme.saidUnreachable();
      // A peer that can't get any of our keys must not make us draw them all: one pause for a batch, longer each time.
      if (!this.#refill.paused) this.#refill.pause(this.#health.unavailable());
      // Its KME may have forgotten the stream. A fresh one, which the peer has to open first, also spares keys while it can't.
      const ofStream = this.#options.source.needsStream && this.#streams.current?.origin === key.origin;
      if (this.#streams.blame(key.origin.kme) || ofStream) this.#streams.retire();
    }
    this.#keys.giveUp(key, 'unavailable');
  }

  /** The peer has another key under this reference: what it came with is quarantined. */
  markMismatch(reference: QkdKeyReference): void {
    const key = this.#keys.get(reference);
    if (key === undefined || key.origin.withdrawn) return;
    this.#totals.mismatched++;
    const retryInMs = this.#health.mismatched();
    this.#emit({
      type: 'mismatch',
      kme: key.origin.kme,
      reference,
      inARow: this.#health.mismatchesInARow,
      kmeQuarantined: this.#health.kmeQuarantined,
      retryInMs,
    });
    if (this.#streams.blame(key.origin.kme) || this.#streams.current?.origin === key.origin) this.#streams.retire();
    // The pause stands before the keys go: each that goes asks for another.
    this.#refill.pause(retryInMs);
    this.#keys.withdraw(key.origin, 'mismatch');
  }

  // What handshakes ask for.

  /** A key now, or why there is none. Does no I/O. */
  take(options: TakeOptions = {}): TakeResult {
    this.#depth.recordDemand(this.#options.clock.now());
    return this.#takeNow(options);
  }

  /** A key as soon as there is one, first come first served; after `waitMs` without, the reason of that moment. */
  async takeWithin(waitMs: number, options: TakeWithinOptions = {}): Promise<TakeResult> {
    this.#depth.recordDemand(this.#options.clock.now());
    if (this.#waiters.size === 0 || waitMs <= 0 || this.#closed) {
      const result = this.#takeNow(options);
      if (result.ok || waitMs <= 0 || this.#closed) return result;
    }
    this.#refill.fill();
    const lease = await this.#waiters.wait(options, waitMs, options.signal);
    return lease === undefined ? this.#takeNow(options) : { ok: true, lease };
  }

  // Settings and status.

  /** Keys that can be taken now, those of the reserve included. */
  get ready(): number {
    return this.#keys.count('ready');
  }

  /** A depth that stays; keys above the high watermark stay until they're used or expire. */
  setWatermarks(low: number, high: number): void {
    this.#watermarks.set(low, high);
    this.#refill.fill();
  }

  /** A depth that follows demand between these bounds. */
  setAdaptiveDepth(bounds: Pick<DepthOptions, 'minAhead' | 'maxAhead'>): void {
    this.#depth.configure(bounds);
    this.#watermarks.follow(this.#depth);
    this.#refill.fill();
  }

  /** What a `KeyBudget` decides from. */
  stock(): KeyStock {
    const nowMs = this.#options.clock.now();
    return {
      nowMs,
      ready: this.#keys.count('ready'),
      highWatermark: this.#watermarks.high,
      demandPerSecond: this.#depth.demandPerSecond(nowMs),
      supplyPerSecond: this.#depth.supplyPerSecond(nowMs),
    };
  }

  setReserveFloor(keys: number): void {
    this.#reserveFloor = keys;
    this.#waiters.serve();
  }

  status(): DrawerPoolStatus {
    const reason = this.#keys.count('ready') > this.#reserveFloor ? undefined : this.#reason({});
    const { ready, demandPerSecond, supplyPerSecond } = this.stock();
    const { mismatchesInARow, kmeQuarantined, lastError } = this.#health;
    const exhaustedInMs = exhaustionMs(ready, demandPerSecond, supplyPerSecond);
    return {
      peerSaeId: this.#options.peerSaeId,
      kme: this.#options.source.kme,
      api: this.#options.source.api,
      channelUp: this.#channelUp,
      streamOpen: this.#streams.usable,
      lowWatermark: this.#watermarks.low,
      highWatermark: this.#watermarks.high,
      reserveFloor: this.#reserveFloor,
      drawn: this.#keys.count('drawn'),
      announced: this.#keys.count('announced'),
      ready,
      leased: this.#keys.count('leased'),
      waiters: this.#waiters.size,
      mismatchesInARow,
      kmeQuarantined,
      demandPerSecond,
      supplyPerSecond,
      ...(exhaustedInMs === undefined ? {} : { exhaustedInMs }),
      ...(reason === undefined ? {} : { reason }),
      ...(lastError === undefined ? {} : { lastErrorCode: lastError.code, lastError: lastError.message }),
      totals: { ...this.#totals },
    };
  }

  /** Wipes every key, tells the peer, closes the streams, and answers all who wait. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#refill.close();
    this.#peerKme.stop();
    this.#keys.clear('closed');
    this.#keys.stop();
    this.#waiters.close();
    this.#channelUp = false;
    await this.#streams.close();
  }

  #isOfCurrentKme({ origin }: DrawerKey): boolean {
    return origin.kme === this.#streams.current?.origin.kme;
  }

  #announce(keys: readonly DrawerKey[]): void {
    if (keys.length === 0) return;
    for (const key of keys) this.#keys.markAnnounced(key);
    this.#options.hooks.announceKeys(keys.map(toAnnounce));
    this.#peerKme.keyAnnounced();
  }

  /** The peer's process is another one: nothing that the old one knew is of use. */
  #startOver(): void {
    this.#channelUp = false;
    this.#streams.retire();
    for (const origin of new Set([...this.#keys.values()].map((key) => key.origin))) {
      origin.peerKnows = false;
      this.#keys.withdraw(origin, 'closed');
    }
  }

  // Answering.

  #takeNow(wanted: TakeOptions): TakeResult {
    const lease = this.#lend(wanted);
    if (lease !== undefined) return { ok: true, lease };
    this.#totals.refused++;
    return { ok: false, reason: this.#reason(wanted) };
  }

  #lend(wanted: TakeOptions): KeyLease | undefined {
    if (this.#closed || this.#keptBack(wanted)) return undefined;
    const lease = this.#keys.lease(wanted.fits);
    if (lease === undefined) return undefined;
    this.#totals.offered++;
    this.#refill.fill();
    const commit = (): boolean => {
      const first = lease.commit();
      if (first) this.#totals.committed++;
      return first;
    };
    return { ...lease, commit };
  }

  /** Whether the keys there are, if any, are for others than the caller. */
  #keptBack({ purpose, admits }: TakeOptions): boolean {
    if (purpose === 'rekey') return false;
    const atFloor = this.#reserveFloor > 0 && this.#keys.count('ready') <= this.#reserveFloor;
    return atFloor || admits?.(this.stock()) === false;
  }

  #reason(wanted: TakeOptions): NoKeyReason {
    if (this.#keys.count('ready') > 0) return this.#keptBack(wanted) ? NoKeyReason.budget : NoKeyReason.policy;
    if (this.#health.mismatchesInARow > 0) return NoKeyReason.keyMismatch;
    if (!this.#channelUp) return NoKeyReason.channelDown;
    const { failureReason } = this.#health;
    // A KME that gives no stream is not one that has run out of keys, whatever its reason.
    const notOpened = failureReason === NoKeyReason.poolEmpty && this.#streams.current === undefined;
    if (failureReason !== undefined && !notOpened) return failureReason;
    if (!this.#peerKme.reachable) return NoKeyReason.peerKmeUnreachable;
    return this.#streams.usable ? NoKeyReason.poolEmpty : NoKeyReason.streamOpening;
  }

  #emit(event: DrawerPoolEvent): void {
    this.#options.hooks.onEvent?.(event);
  }
}
