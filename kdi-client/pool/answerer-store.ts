/**
 * The answerer's side: keys that an authenticated peer announced and that our
 * own KME delivered, by reference, until the one handshake or rekey that burns
 * each. A reference that was burnt, dropped or expired is remembered, so that
 * the same peer can't announce it a second time.
 */
import { createHash } from 'node:crypto';
import { bytesEqual, type SecretBytes } from '../../tls-ext/bytes/index.ts';
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

interface Held {
  readonly key: DeliveredKey;
  readonly deliveredAtMs: number;
  readonly expiresAtMs: number;
}

/** References remembered as gone, at most; the oldest are forgotten first. */
const MAX_REMEMBERED = 1_000_000;

export class AnswererStore {
  readonly #options: Required<Omit<AnswererStoreOptions, 'ledger'>>;
  readonly #ledger: SpentLedger | undefined;
  readonly #held = new Map<string, Held>();
  readonly #countByDrawer = new Map<string, number>();
  /** Hash of each reference that is gone → when it may be forgotten; in order of time. */
  readonly #gone = new Map<string, number>();
  readonly #totals = { accepted: 0, burnt: 0, dropped: 0, expired: 0 };
  #cancelSweep: (() => void) | undefined;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor({ ledger, ...options }: AnswererStoreOptions) {
    this.#ledger = ledger;
    this.#options = {
      maxKeysPerDrawer: 4_096,
      maxKeys: 65_536,
      keyTtlMs: 3_600_000,
      rememberBurntMs: 6 * 3_600_000,
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
    const text = referenceText(reference);
    if (this.#held.has(text) || this.#wasHere(text)) {
      return new KdiError(KdiErrorCode.alreadyUsed, `${text} was announced before`);
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
    const refusal = this.refusal(key.reference);
    if (refusal !== undefined) {
      key.secret.wipe();
      throw refusal;
    }
    const { clock, keyTtlMs } = this.#options;
    const { drawer } = key.reference;
    const expiresAtMs = Math.min(key.expiresAtMs ?? Number.POSITIVE_INFINITY, clock.now() + keyTtlMs);
    this.#held.set(referenceText(key.reference), { key, deliveredAtMs: clock.now(), expiresAtMs });
    this.#countByDrawer.set(drawer, this.countOf(drawer) + 1);
    this.#totals.accepted++;
    this.#watch(expiresAtMs);
  }

  /** The key of a reference, if it is here and still good. Burns nothing: an abandoned handshake costs no key. */
  find(reference: QkdKeyReference): FoundKey | undefined {
    const held = this.#held.get(referenceText(reference));
    const now = this.#options.clock.now();
    if (held === undefined || held.expiresAtMs <= now) return undefined;
    const { metadata, secret } = held.key;
    const provenance = provenanceAt(metadata, held.deliveredAtMs, now);
    return { reference, metadata, provenance, secret: secret.clone(), expiresAtMs: held.expiresAtMs };
  }

  /** Compare-and-set: true for exactly one caller per key, who alone may let application data through. */
  burn(reference: QkdKeyReference): boolean {
    const text = referenceText(reference);
    const held = this.#held.get(text);
    if (held === undefined || held.expiresAtMs <= this.#options.clock.now()) return false;
    this.#remove(text);
    this.#totals.burnt++;
    return true;
  }

  /** The drawer burnt it unused, or the check values differ. Unknown references are remembered as gone too. */
  drop(reference: QkdKeyReference): void {
    const text = referenceText(reference);
    if (this.#remove(text)) this.#totals.dropped++;
    else this.#remember(text);
  }

  /** Drops every key of a drawer, or those of one of its streams. */
  dropAll(drawer: string, ksid?: Uint8Array): void {
    for (const { key } of [...this.#held.values()]) {
      const { reference } = key;
      if (reference.drawer !== drawer) continue;
      if (ksid !== undefined && !(reference.api === 'etsi004' && bytesEqual(reference.ksid, ksid))) continue;
      this.drop(reference);
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
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    for (const { key } of this.#held.values()) key.secret.wipe();
    this.#held.clear();
    this.#countByDrawer.clear();
  }

  #remove(text: string): boolean {
    const held = this.#held.get(text);
    if (held === undefined) return false;
    this.#held.delete(text);
    held.key.secret.wipe();
    const { drawer } = held.key.reference;
    const left = (this.#countByDrawer.get(drawer) ?? 1) - 1;
    if (left === 0) this.#countByDrawer.delete(drawer);
    else this.#countByDrawer.set(drawer, left);
    this.#remember(text);
    return true;
  }

  #remember(text: string): void {
    const hash = hashOf(text);
    this.#gone.delete(hash);
    this.#gone.set(hash, this.#options.clock.now() + this.#options.rememberBurntMs);
    if (this.#gone.size > MAX_REMEMBERED) {
      const [oldest] = this.#gone.keys();
      this.#gone.delete(oldest as string);
    }
  }

  #wasHere(text: string): boolean {
    const until = this.#gone.get(hashOf(text));
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
    for (const [text, { expiresAtMs }] of [...this.#held]) {
      if (expiresAtMs > now) earliest = Math.min(earliest, expiresAtMs);
      else if (this.#remove(text)) this.#totals.expired++;
    }
    for (const [hash, until] of this.#gone) {
      if (until > now) break;
      this.#gone.delete(hash);
    }
    if (this.#held.size > 0) this.#watch(earliest);
  }
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}
