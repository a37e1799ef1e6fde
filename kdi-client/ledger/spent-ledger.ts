/**
 * The ledger of spent keys: whatever stands in it is never used again, also by
 * the next process. It holds hashes of references, no references and no keys.
 * Replicas that share one need an implementation whose `spend` is atomic among
 * them; two for a single process are here and in `file-ledger.ts`.
 */
import { createHash } from 'node:crypto';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { type QkdKeyReference, referenceText } from '../key-source.ts';

/** Length of a ledger entry's name. */
export const LEDGER_ID_BYTES = 32;

/**
 * What a reference was spent on. Drawn or fetched, a key is in the hands of one
 * process, which uses it once; the next process takes neither again. (One may
 * be the drawer and the answerer of the same key, in a test or a loop.)
 */
export type LedgerUse = 'drawn' | 'fetched';

/** The name under which a reference stands in the ledger: SHA-256 of use and reference. */
export function ledgerId(use: LedgerUse, reference: QkdKeyReference): Uint8Array {
  return createHash('sha256')
    .update(`${use}\n${referenceText(reference)}`)
    .digest();
}

/** The name under which a 004 stream stands that was drawn from: a KME that gives its KSID to a later process does not give a fresh one. */
export function ledgerIdOfStream(ksid: Uint8Array): Uint8Array {
  return Uint8Array.from(
    createHash('sha256')
      .update(`stream\n${hexOf(ksid)}`)
      .digest(),
  );
}

export interface SpentLedger {
  /**
   * For each name whether it was spent now, by this call: true at most once for
   * a name, ever. Resolves when that will survive a crash. Rejects with
   * `ERR_KDI_LEDGER`; the keys must not be used then.
   */
  spend(ids: readonly Uint8Array[]): Promise<readonly boolean[]>;
  close(): Promise<void>;
}

export interface MemoryLedgerOptions {
  /** Milliseconds on any clock. */
  readonly nowMs: () => number;
  /** How long a name is kept (default 6 h): longer than any key lives. */
  readonly retentionMs?: number;
}

/** How long names are kept by default. */
export const DEFAULT_LEDGER_RETENTION_MS = 6 * 3_600_000;

/** A ledger for one process's life. */
export class MemoryLedger implements SpentLedger {
  readonly #names: ExpiringNames;

  constructor({ nowMs, retentionMs = DEFAULT_LEDGER_RETENTION_MS }: MemoryLedgerOptions) {
    this.#names = new ExpiringNames(nowMs, retentionMs);
  }

  /** Names held. */
  get size(): number {
    return this.#names.size;
  }

  async spend(ids: readonly Uint8Array[]): Promise<readonly boolean[]> {
    return ids.map((id) => this.#names.add(id));
  }

  async close(): Promise<void> {}
}

/** Names in the order in which they expire. */
export class ExpiringNames {
  readonly #nowMs: () => number;
  readonly #retentionMs: number;
  readonly #expiryByName = new Map<string, number>();

  constructor(nowMs: () => number, retentionMs: number) {
    this.#nowMs = nowMs;
    this.#retentionMs = retentionMs;
  }

  get size(): number {
    return this.#expiryByName.size;
  }

  /** False if it is there already. */
  add(id: Uint8Array, expiresAtMs = this.#nowMs() + this.#retentionMs): boolean {
    this.#forgetExpired();
    const name = Buffer.from(id.buffer, id.byteOffset, id.length).toString('latin1');
    if (this.#expiryByName.has(name)) return false;
    this.#expiryByName.set(name, expiresAtMs);
    return true;
  }

  *entries(): IterableIterator<readonly [id: Uint8Array, expiresAtMs: number]> {
    for (const [name, expiresAtMs] of this.#expiryByName) yield [Buffer.from(name, 'latin1'), expiresAtMs];
  }

  #forgetExpired(): void {
    const now = this.#nowMs();
    for (const [name, expiresAtMs] of this.#expiryByName) {
      if (expiresAtMs > now) return;
      this.#expiryByName.delete(name);
    }
  }
}
