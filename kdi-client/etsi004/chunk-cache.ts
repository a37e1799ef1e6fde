/**
 * What an answerer fetched along with the keys that it was asked for: the other
 * keys of their chunks, and chunks that a KME gave in place of others. Most are
 * announced a moment later. What is not is wiped when there is too much of it,
 * or when it has lain for longer than a drawer waits for an announced key.
 */
import type { SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Cancel, Clock } from '../clock.ts';
import type { KeyMetadata } from '../key-source.ts';

/** A chunk cut into keys; `undefined` where a key was taken. */
export interface Chunk {
  readonly index: number;
  readonly keys: (SecretBytes | undefined)[];
  readonly metadata: KeyMetadata;
  readonly expiresAtMs?: number;
}

export const MAX_CACHED_CHUNKS = 64;
/** Keys of all chunks together, untaken ones; the newest chunk is kept whatever its size. */
export const MAX_CACHED_KEYS = 8_192;
/** A drawer gives an announced key up after 60 s without an answer, and a look-up lasts 30 s. */
export const MAX_CACHED_MS = 120_000;

interface Cached {
  readonly chunk: Chunk;
  readonly endsAtMs: number;
  left: number;
}

export class ChunkCache {
  readonly #clock: Clock;
  /** By index; the oldest first. */
  readonly #chunks = new Map<number, Cached>();
  #keys = 0;
  #cancelSweep: Cancel | undefined;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keys that are held. */
  get size(): number {
    return this.#keys;
  }

  has(index: number): boolean {
    return this.#chunks.has(index);
  }

  /** Owns the chunk's keys from here on; a chunk of the same index is replaced. */
  put(chunk: Chunk): void {
    this.#forget(chunk.index);
    const { length: left } = chunk.keys;
    const endsAtMs = Math.min(chunk.expiresAtMs ?? Number.POSITIVE_INFINITY, this.#clock.now() + MAX_CACHED_MS);
    this.#chunks.set(chunk.index, { chunk, endsAtMs, left });
    this.#keys += left;
    for (const oldest of this.#chunks.keys()) {
      const tooMuch = this.#chunks.size > MAX_CACHED_CHUNKS || this.#keys > MAX_CACHED_KEYS;
      if (!tooMuch || oldest === chunk.index) break;
      this.#forget(oldest);
    }
    this.#sweepLater();
  }

  /** A key, which the caller owns from here on, and what is known of its chunk. */
  take(index: number, slice: number): { readonly chunk: Chunk; readonly secret: SecretBytes } | undefined {
    const cached = this.#chunks.get(index);
    const secret = cached?.chunk.keys[slice];
    if (cached === undefined || secret === undefined) return undefined;
    const { chunk } = cached;
    chunk.keys[slice] = undefined;
    this.#keys--;
    if (--cached.left === 0) this.#forget(index);
    return { chunk, secret };
  }

  /** Wipes all of it, and stops the timer. */
  clear(): void {
    for (const index of [...this.#chunks.keys()]) this.#forget(index);
  }

  #forget(index: number): void {
    const cached = this.#chunks.get(index);
    if (cached === undefined) return;
    for (const key of cached.chunk.keys) key?.wipe();
    this.#chunks.delete(index);
    this.#keys -= cached.left;
    if (this.#chunks.size > 0) return;
    this.#cancelSweep?.();
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
  }

  #sweepLater(): void {
    const earliestMs = Math.min(...[...this.#chunks.values()].map(({ endsAtMs }) => endsAtMs));
    if (earliestMs >= this.#sweepAtMs) return;
    this.#cancelSweep?.();
    this.#sweepAtMs = earliestMs;
    this.#cancelSweep = this.#clock.schedule(
      () => {
        this.#sweepAtMs = Number.POSITIVE_INFINITY;
        const now = this.#clock.now();
        for (const [index, { endsAtMs }] of [...this.#chunks]) if (endsAtMs <= now) this.#forget(index);
        this.#sweepLater();
      },
      Math.max(0, earliestMs - this.#clock.now()),
    );
  }
}
