/** The keys that a drawer's pool holds: their states, their deadlines, and their end. No I/O. */
import { SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import {
  type DeliveredKey,
  type KeyMetadata,
  type KeyProvenance,
  provenanceAt,
  type QkdKeyReference,
} from '../key-source.ts';
import type { DropReason, KeyLease, KeyToAnnounce } from './drawer-pool-types.ts';
import { KeyQueue, type Queued } from './key-queue.ts';
import { referenceName, referenceOfName } from './reference-name.ts';

/** Where a key came from; what a mismatch quarantines. */
export interface KeyOrigin {
  kme: string;
  /** Keys of it that the pool still holds. */
  held: number;
  /** Its keys are not offered (again): they disagreed, or the peer's process is another one. */
  withdrawn: boolean;
  /** False once the process that its keys were announced to is gone. */
  peerKnows: boolean;
}

export type DrawerKeyState = 'drawn' | 'announced' | 'ready' | 'leased';

function isAwaited(state: DrawerKeyState): boolean {
  return state === 'drawn' || state === 'announced';
}

/** One of perhaps 100,000: its reference is kept as a name, and made again when somebody wants it. */
export interface DrawerKey extends Queued<DrawerKey> {
  readonly name: string;
  readonly drawer: string;
  readonly secret: SecretBytes;
  readonly metadata: KeyMetadata;
  readonly origin: KeyOrigin;
  readonly deliveredAtMs: number;
  /** Not offered any more after it. */
  readonly offerUntilMs: number;
  readonly expiresAtMs: number;
  state: DrawerKeyState;
  /** When an announced key is given up, or a key that was offered. */
  deadlineMs: number;
  offers: number;
  firstOfferedAtMs: number | undefined;
  /** False once the peer said that it doesn't have it. */
  peerKnows: boolean;
}

export function referenceOfKey({ name, drawer }: DrawerKey): QkdKeyReference {
  return referenceOfName(name, drawer);
}

/** Its secret is borrowed. */
export function toAnnounce(key: DrawerKey): KeyToAnnounce {
  return { reference: referenceOfKey(key), secret: key.secret, expiresAtMs: key.expiresAtMs };
}

export interface DrawerKeysOptions {
  readonly clock: Clock;
  readonly keyTtlMs: number;
  readonly ttlMarginMs: number;
  readonly maxOffers: number;
  readonly offerWindowMs: number;
  readonly ackTimeoutMs: number;
  /** A key left other than by use. It's already wiped; `announced`: the peer knows of it. */
  readonly onDropped: (key: DrawerKey, reason: DropReason, announced: boolean) => void;
  readonly onRemoved: (key: DrawerKey) => void;
  /** A released key is ready again. */
  readonly onReleased: () => void;
}

export class DrawerKeys {
  readonly #options: DrawerKeysOptions;
  readonly #keys = new Map<string, DrawerKey>();
  /** Ready keys in the order in which they are offered: those offered before come first, their time is short. */
  readonly #again = new KeyQueue<DrawerKey>();
  readonly #ready = new KeyQueue<DrawerKey>();
  readonly #counts: Record<DrawerKeyState, number> = { drawn: 0, announced: 0, ready: 0, leased: 0 };
  /** Keys that the peer has not acknowledged, by KME. */
  readonly #awaited = new Map<string, number>();
  #cancelSweep: (() => void) | undefined;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(options: DrawerKeysOptions) {
    this.#options = options;
  }

  count(state: DrawerKeyState): number {
    return this.#counts[state];
  }

  get size(): number {
    return this.#keys.size;
  }

  get(reference: QkdKeyReference): DrawerKey | undefined {
    const key = this.#keys.get(referenceName(reference));
    return key?.drawer === reference.drawer ? key : undefined;
  }

  values(): IterableIterator<DrawerKey> {
    return this.#keys.values();
  }

  /**
   * Takes ownership of all of them: those beyond `quota` keys in all, and those
   * that are held already, are wiped. `duplicate`: one of the latter.
   */
  addAll(delivered: readonly DeliveredKey[], origin: KeyOrigin, quota: number) {
    const added: DrawerKey[] = [];
    let duplicate: QkdKeyReference | undefined;
    for (const each of delivered) {
      const hasRoom = this.#keys.size < quota;
      const key = hasRoom ? this.#add(each, origin) : undefined;
      if (key !== undefined) added.push(key);
      else each.secret.wipe();
      if (hasRoom && key === undefined) duplicate = each.reference;
    }
    return { added, duplicate };
  }

  /** Keys of a KME of which the peer has yet to say whether it has them. */
  awaitedFrom(kme: string | undefined): number {
    return kme === undefined ? 0 : (this.#awaited.get(kme) ?? 0);
  }

  markAnnounced(key: DrawerKey): void {
    // A key that was acknowledged before the channel was lost stays ready.
    if (key.state !== 'drawn' && key.state !== 'announced') return;
    this.#setState(key, 'announced');
    key.deadlineMs = this.#options.clock.now() + this.#options.ackTimeoutMs;
    this.#watch(key);
  }

  /** The key; undefined if it is unknown, or was acknowledged before. */
  markReady(reference: QkdKeyReference): DrawerKey | undefined {
    const key = this.get(reference);
    if (key === undefined || key.state !== 'announced') return undefined;
    this.#setState(key, 'ready');
    key.deadlineMs = Number.POSITIVE_INFINITY;
    this.#ready.push(key);
    return key;
  }

  /** The next ready key on loan that may be offered and that `fits`. */
  lease(fits?: (provenance: KeyProvenance) => boolean): KeyLease | undefined {
    const now = this.#options.clock.now();
    for (const queue of [this.#again, this.#ready]) {
      for (const key of queue) {
        if (now >= Math.min(key.offerUntilMs, key.deadlineMs)) {
          this.drop(key, 'expired');
          continue;
        }
        const provenance = provenanceAt(key.metadata, key.deliveredAtMs, now);
        if (fits?.(provenance) === false) continue;
        queue.remove(key);
        this.#setState(key, 'leased');
        key.offers++;
        key.firstOfferedAtMs ??= now;
        return this.#leaseOf(key, provenance);
      }
    }
    return undefined;
  }

  drop(key: DrawerKey, reason: DropReason): void {
    const announced = key.state !== 'drawn' && key.peerKnows && key.origin.peerKnows;
    if (this.#remove(key)) this.#options.onDropped(key, reason, announced);
  }

  /** Drops a key that the peer itself gave up, now or when it comes back unused; the peer isn't told. */
  giveUp(key: DrawerKey, reason: DropReason): void {
    key.peerKnows = false;
    if (key.state !== 'leased') this.drop(key, reason);
  }

  /** Drops an origin's keys, now or, where one is on loan, when it comes back unused. */
  withdraw(origin: KeyOrigin, reason: DropReason): void {
    origin.withdrawn = true;
    for (const key of [...this.#keys.values()]) {
      if (key.origin === origin && key.state !== 'leased') this.drop(key, reason);
    }
  }

  /** Drops everything, keys on loan included: their leases find them gone. */
  clear(reason: DropReason): void {
    for (const key of [...this.#keys.values()]) this.drop(key, reason);
  }

  /** Stops the timer. */
  stop(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
  }

  /** Undefined if its reference is held already; else `delivered` is owned here from now on. */
  #add(delivered: DeliveredKey, origin: KeyOrigin): DrawerKey | undefined {
    const { clock, keyTtlMs, ttlMarginMs } = this.#options;
    const name = referenceName(delivered.reference);
    if (this.#keys.has(name)) return undefined;
    const now = clock.now();
    const expiresAtMs = Math.min(delivered.expiresAtMs ?? Number.POSITIVE_INFINITY, now + keyTtlMs);
    const key: DrawerKey = {
      name,
      drawer: delivered.reference.drawer,
      secret: delivered.secret,
      metadata: delivered.metadata,
      origin,
      deliveredAtMs: now,
      expiresAtMs,
      offerUntilMs: expiresAtMs - Math.min(ttlMarginMs, Math.max(0, expiresAtMs - now) / 2),
      state: 'drawn',
      deadlineMs: Number.POSITIVE_INFINITY,
      offers: 0,
      firstOfferedAtMs: undefined,
      peerKnows: true,
      queue: undefined,
      before: undefined,
      after: undefined,
    };
    origin.held++;
    this.#keys.set(name, key);
    this.#counts.drawn++;
    this.#countAwaited(key, 1);
    this.#watch(key);
    return key;
  }

  #leaseOf(key: DrawerKey, provenance: KeyProvenance): KeyLease {
    const { metadata, secret } = key;
    const offer = key.offers;
    // A lease speaks for its own offer only, not for a later one of the same key.
    const current = (): boolean => this.#keys.get(key.name) === key && key.state === 'leased' && key.offers === offer;
    return {
      reference: referenceOfKey(key),
      metadata,
      provenance,
      secret: SecretBytes.copyOf(secret.expose()),
      expiresAtMs: key.expiresAtMs,
      commit: () => current() && this.#remove(key),
      release: () => {
        if (current()) this.#release(key);
      },
      discard: () => {
        if (current()) this.drop(key, 'discarded');
      },
    };
  }

  #release(key: DrawerKey): void {
    const { clock, maxOffers, offerWindowMs } = this.#options;
    const until = (key.firstOfferedAtMs as number) + offerWindowMs;
    if (key.origin.withdrawn || !key.peerKnows) {
      this.drop(key, 'discarded');
      return;
    }
    if (key.offers >= maxOffers || clock.now() >= Math.min(until, key.offerUntilMs)) {
      this.drop(key, 'offered-too-often');
      return;
    }
    this.#setState(key, 'ready');
    key.deadlineMs = until;
    this.#again.push(key);
    this.#watch(key);
    this.#options.onReleased();
  }

  #remove(key: DrawerKey): boolean {
    if (!this.#keys.delete(key.name)) return false;
    key.queue?.remove(key);
    this.#counts[key.state]--;
    if (isAwaited(key.state)) this.#countAwaited(key, -1);
    key.origin.held--;
    key.secret.wipe();
    this.#options.onRemoved(key);
    return true;
  }

  #setState(key: DrawerKey, state: DrawerKeyState): void {
    this.#counts[key.state]--;
    this.#counts[state]++;
    if (isAwaited(key.state) && !isAwaited(state)) this.#countAwaited(key, -1);
    key.state = state;
  }

  #countAwaited({ origin: { kme } }: DrawerKey, change: 1 | -1): void {
    const count = this.awaitedFrom(kme) + change;
    if (count > 0) this.#awaited.set(kme, count);
    else this.#awaited.delete(kme);
  }

  #endOf(key: DrawerKey): number {
    // A leased key isn't pulled from under its handshake before it expires.
    return key.state === 'leased' ? key.expiresAtMs : Math.min(key.offerUntilMs, key.deadlineMs);
  }

  #watch(key: DrawerKey): void {
    const at = this.#endOf(key);
    if (at >= this.#sweepAtMs) return;
    this.#cancelSweep?.();
    this.#sweepAtMs = at;
    // Many keys wait for one another, up to a second, so that sweeping stays cheap; lease() looks at the time itself.
    const lateMs = Math.min(1_000, Math.floor(this.#keys.size / 100));
    this.#cancelSweep = this.#options.clock.schedule(
      () => this.#sweep(),
      Math.max(0, at - this.#options.clock.now()) + lateMs,
    );
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
    const now = this.#options.clock.now();
    for (const key of [...this.#keys.values()]) {
      if (this.#endOf(key) <= now)
        this.drop(key, key.state === 'announced' && now < key.offerUntilMs ? 'unacknowledged' : 'expired');
    }
    let earliest: DrawerKey | undefined;
    for (const key of this.#keys.values()) {
      if (earliest === undefined || this.#endOf(key) < this.#endOf(earliest)) earliest = key;
    }
    if (earliest !== undefined) this.#watch(earliest);
  }
}
