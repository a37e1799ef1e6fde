/**
 * The answerer's side: keys that an authenticated peer announced and that our
 * own KME delivered, by reference, until the one handshake or rekey that burns
 * each. A reference that was burnt, dropped or expired is remembered, so that
 * the same peer can't announce it a second time.
 */
import { createHash } from 'node:crypto';
import type { SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import {
  type DeliveredKey,
  type KeyMetadata,
  type KeyProvenance,
  provenanceAt,
  type QkdKeyReference,
  referenceText,
} from '../key-source.ts';
import { ledgerId, type SpentLedger } from '../ledger/spent-ledger.ts';
import { isOfStream, referenceName } from './reference-name.ts';

export interface AnswererStoreOptions {
  readonly clock: Clock;
  /** Most keys of one drawer (default 4096); told to it as its quota. */
  readonly maxKeysPerDrawer?: number;
  /** Most keys of all drawers together (default 65,536). */
  readonly maxKeys?: number;
  /** Longest life of a key here, whatever the KME's TTL (default 1 h). */
  readonly keyTtlMs?: number;
  /** How long a burnt reference is refused (default 6 h). */
  readonly rememberBurntMs?: number;
  /** Most references that are remembered as gone (default 1,000,000); the oldest are forgotten first. */
  readonly maxRemembered?: number;
  /** Every key is written down before it is taken, so that no later process takes it again. */
  readonly ledger?: SpentLedger;
}

/** A key that is here. `secret` is a copy that the caller owns and wipes. */
export interface FoundKey {
  readonly reference: QkdKeyReference;
  readonly metadata: KeyMetadata;
  /** Now. */
  readonly provenance: KeyProvenance;
  readonly secret: SecretBytes;
  readonly expiresAtMs: number;
}

/** Plain numbers for status and metrics. */
export interface AnswererStoreStatus {
  readonly keys: number;
  readonly keysByDrawer: Readonly<Record<string, number>>;
  readonly remembered: number;
  readonly totals: {
    readonly accepted: number;
    readonly burnt: number;
    readonly dropped: number;
    readonly expired: number;
  };
}

/** One of perhaps 100,000: its reference is in the name that it's held by. */
interface Held {
  readonly drawer: string;
  readonly secret: SecretBytes;
  readonly metadata: KeyMetadata;
  readonly deliveredAtMs: number;
  readonly expiresAtMs: number;
}

export class AnswererStore {
  readonly #options: Required<Omit<AnswererStoreOptions, 'ledger'>>;
  readonly #ledger: SpentLedger | undefined;
  /** By `slotOf`. */
  readonly #held = new Map<string, Held>();
  readonly #countByDrawer = new Map<string, number>();
  /** By `shortOf` each slot that is gone → when it may be forgotten; in order of time. */
  readonly #gone = new Map<string, number>();
  readonly #totals = { accepted: 0, burnt: 0, dropped: 0, expired: 0 };
  #cancelSweep: (() => void) | undefined;
  #sweepAtMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor({ ledger, ...options }: AnswererStoreOptions) {
    this.#ledger = ledger;
    this.#options = {
      maxKeysPerDrawer: 4_096,
      maxKeys: 65_536,
      keyTtlMs: 3_600_000,
      rememberBurntMs: 6 * 3_600_000,
      maxRemembered: 1_000_000,
      ...options,
    };
  }

  /** What a drawer may have outstanding here. */
  get quotaPerDrawer(): number {
    return this.#options.maxKeysPerDrawer;
  }

  /** Keys of a drawer that are here. */
  countOf(drawer: string): number {
    return this.#countByDrawer.get(drawer) ?? 0;
  }

  /**
   * Whether a key of this reference would be taken now: undefined if so, else
   * the error. Ask before fetching, so that a KME isn't asked for nothing.
   */
  refusal(reference: QkdKeyReference): KdiError | undefined {
    return this.#refusal(reference, slotOf(reference));
  }

  #refusal(reference: QkdKeyReference, slot: string): KdiError | undefined {
    if (this.#held.has(slot) || this.#wasHere(slot)) {
      return new KdiError(KdiErrorCode.alreadyUsed, `${referenceText(reference)} was announced before`);
    }
    if (this.countOf(reference.drawer) >= this.#options.maxKeysPerDrawer) {
      return new KdiError(
        KdiErrorCode.quota,
        `${reference.drawer} has ${this.#options.maxKeysPerDrawer} keys here, its quota`,
      );
    }
    if (this.#held.size >= this.#options.maxKeys) {
      return new KdiError(KdiErrorCode.quota, `${this.#options.maxKeys} keys are here, the most allowed in all`);
    }
    return undefined;
  }

  /**
   * As `accept`, once the ledger has the key: after a crash, too, it is taken
   * by no process that has the same ledger. Rejects also with `ERR_KDI_LEDGER`.
   */
  async acceptOnce(key: DeliveredKey): Promise<void> {
    if (this.#ledger !== undefined) {
      let fresh: boolean | undefined;
      try {
        [fresh] = await this.#ledger.spend([ledgerId('fetched', key.reference)]);
      } catch (error) {
        key.secret.wipe();
        throw error;
      }
      if (!fresh) {
        key.secret.wipe();
        throw new KdiError(KdiErrorCode.alreadyUsed, `${referenceText(key.reference)} was fetched before`);
      }
    }
    this.accept(key);
  }

  /** Takes ownership of `key`. Throws `ERR_KDI_QUOTA` or `ERR_KDI_ALREADY_USED`, with the key wiped. */
  accept(key: DeliveredKey): void {
    const slot = slotOf(key.reference);
    // It may have been closed while the ledger was written.
    const refusal = this.#closed
      ? new KdiError(KdiErrorCode.aborted, 'the store is closed')
      : this.#refusal(key.reference, slot);
    if (refusal !== undefined) {
      key.secret.wipe();
      throw refusal;
    }
    const { clock, keyTtlMs } = this.#options;
    const { drawer } = key.reference;
    const expiresAtMs = Math.min(key.expiresAtMs ?? Number.POSITIVE_INFINITY, clock.now() + keyTtlMs);
    const { secret, metadata } = key;
    this.#held.set(slot, { drawer, secret, metadata, deliveredAtMs: clock.now(), expiresAtMs });
    this.#countByDrawer.set(drawer, this.countOf(drawer) + 1);
    this.#totals.accepted++;
    this.#watch(expiresAtMs);
  }

  /** The key of a reference, if it is here and still good. Burns nothing: an abandoned handshake costs no key. */
  find(reference: QkdKeyReference): FoundKey | undefined {
    const held = this.#held.get(slotOf(reference));
    const now = this.#options.clock.now();
    if (held === undefined || held.expiresAtMs <= now) return undefined;
    const { metadata, secret } = held;
    const provenance = provenanceAt(metadata, held.deliveredAtMs, now);
    return { reference, metadata, provenance, secret: secret.clone(), expiresAtMs: held.expiresAtMs };
  }

  /** Compare-and-set: true for exactly one caller per key, who alone may let application data through. */
  burn(reference: QkdKeyReference): boolean {
    const slot = slotOf(reference);
    const held = this.#held.get(slot);
    if (held === undefined || held.expiresAtMs <= this.#options.clock.now()) return false;
    this.#remove(slot);
    this.#totals.burnt++;
    return true;
  }

  /** The drawer burnt it unused, or the check values differ. Unknown references are remembered as gone too. */
  drop(reference: QkdKeyReference): void {
    const slot = slotOf(reference);
    if (this.#remove(slot)) this.#totals.dropped++;
    else this.#remember(slot);
  }

  /** Drops every key of a drawer, or those of one of its streams. */
  dropAll(drawer: string, ksid?: Uint8Array): void {
    for (const [slot, held] of [...this.#held]) {
      if (held.drawer !== drawer) continue;
      if (ksid !== undefined && !isOfStream(nameIn(slot, drawer), ksid)) continue;
      if (this.#remove(slot)) this.#totals.dropped++;
    }
  }

  status(): AnswererStoreStatus {
    return {
      keys: this.#held.size,
      keysByDrawer: Object.fromEntries(this.#countByDrawer),
      remembered: this.#gone.size,
      totals: { ...this.#totals },
    };
  }

  /** Wipes everything and stops the timer. */
  close(): void {
    this.#closed = true;
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    for (const { secret } of this.#held.values()) secret.wipe();
    this.#held.clear();
    this.#countByDrawer.clear();
  }

  #remove(slot: string): boolean {
    const held = this.#held.get(slot);
    if (held === undefined) return false;
    this.#held.delete(slot);
    const { drawer, secret } = held;
    secret.wipe();
    const left = (this.#countByDrawer.get(drawer) ?? 1) - 1;
    if (left === 0) this.#countByDrawer.delete(drawer);
    else this.#countByDrawer.set(drawer, left);
    this.#remember(slot);
    return true;
  }

  #remember(slot: string): void {
    const short = shortOf(slot);
    this.#gone.delete(short);
    this.#gone.set(short, this.#options.clock.now() + this.#options.rememberBurntMs);
    if (this.#gone.size > this.#options.maxRemembered) {
      const [oldest] = this.#gone.keys();
      this.#gone.delete(oldest as string);
    }
  }

  #wasHere(slot: string): boolean {
    const until = this.#gone.get(shortOf(slot));
    return until !== undefined && until > this.#options.clock.now();
  }

  #watch(expiresAtMs: number): void {
    // Late by a second at most, so that many keys cost one pass; find and burn look at the time themselves.
    const atMs = expiresAtMs + 1_000;
    if (atMs > this.#sweepAtMs) return;
    this.#cancelSweep?.();
    this.#sweepAtMs = atMs;
    const { clock } = this.#options;
    this.#cancelSweep = clock.schedule(() => this.#sweep(), Math.max(0, atMs - clock.now()));
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
    const now = this.#options.clock.now();
    let earliest = Number.POSITIVE_INFINITY;
    for (const [slot, { expiresAtMs }] of [...this.#held]) {
      if (expiresAtMs > now) earliest = Math.min(earliest, expiresAtMs);
      else if (this.#remove(slot)) this.#totals.expired++;
    }
    for (const [short, until] of this.#gone) {
      if (until > now) break;
      this.#gone.delete(short);
    }
    if (this.#held.size > 0) this.#watch(earliest);
  }
}

/** The slot itself, or its hash where that is the shorter one: a million of them are remembered. (A slot has a colon, base64 none.) */
function shortOf(slot: string): string {
  return slot.length <= HASH_CHARS ? slot : createHash('sha256').update(slot).digest('base64');
}

/** A reference as a key of maps: its drawer, with its length, and its name. */
function slotOf(reference: QkdKeyReference): string {
  return `${reference.drawer.length}:${reference.drawer}${referenceName(reference)}`;
}

function nameIn(slot: string, drawer: string): string {
  return slot.slice(slotOf({ api: 'skip', drawer, keyId: NO_BYTES }).length - 1);
}

const HASH_CHARS = 44;
const NO_BYTES = new Uint8Array();
