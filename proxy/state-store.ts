/**
 * State that outlives a connection, behind the port that replicas will share
 * one day: each entry has an end, and one that may be used once is taken by
 * exactly one caller. In this process for now: a restart forgets everything.
 */
import { type Clock, systemClock } from '../kdi-client/index.ts';

export interface StateStore<Value> {
  /** Owns `value` from here on. An entry of that key is replaced. */
  put(key: string, value: Value, ttlMs: number): Promise<void>;
  get(key: string): Promise<Value | undefined>;
  /** Gets and removes, for one caller alone, who owns the value. */
  take(key: string): Promise<Value | undefined>;
}

export interface InProcessStoreOptions<Value> {
  readonly clock?: Clock;
  /** Of more entries than these the oldest go. */
  readonly maxEntries: number;
  /** An entry is gone without having been taken. */
  readonly onRemoved?: (value: Value) => void;
}

interface Entry<Value> {
  readonly value: Value;
  readonly expiresAtMs: number;
}

/** Ended entries go at the latest after this. */
const SWEEP_MS = 10_000;

export class InProcessStore<Value> implements StateStore<Value> {
  readonly #options: InProcessStoreOptions<Value>;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry<Value>>();
  #cancelSweep: (() => void) | undefined;

  constructor(options: InProcessStoreOptions<Value>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get size(): number {
    return this.#entries.size;
  }

  async put(key: string, value: Value, ttlMs: number): Promise<void> {
    this.#remove(key);
    this.#entries.set(key, { value, expiresAtMs: this.#clock.now() + ttlMs });
    if (this.#entries.size > this.#options.maxEntries) {
      const [oldest] = this.#entries.keys();
      this.#remove(oldest as string);
    }
    this.#cancelSweep ??= this.#clock.schedule(() => this.#sweep(), SWEEP_MS);
  }

  async get(key: string): Promise<Value | undefined> {
    return this.#live(key)?.value;
  }

  async take(key: string): Promise<Value | undefined> {
    const entry = this.#live(key);
    if (entry !== undefined) this.#entries.delete(key);
    return entry?.value;
  }

  /** Removes the entries for which `goes` says so. */
  removeIf(goes: (value: Value) => boolean): void {
    for (const [key, { value }] of [...this.#entries]) if (goes(value)) this.#remove(key);
  }

  /** Removes everything and stops the timer. */
  close(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
    for (const key of [...this.#entries.keys()]) this.#remove(key);
  }

  #live(key: string): Entry<Value> | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAtMs > this.#clock.now()) return entry;
    this.#remove(key);
    return undefined;
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#options.onRemoved?.(entry.value);
  }

  #sweep(): void {
    const now = this.#clock.now();
    for (const [key, { expiresAtMs }] of [...this.#entries]) if (expiresAtMs <= now) this.#remove(key);
    this.#cancelSweep = this.#entries.size === 0 ? undefined : this.#clock.schedule(() => this.#sweep(), SWEEP_MS);
  }
}
