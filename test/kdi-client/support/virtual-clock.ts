import type { Cancel, Clock } from '../../../kdi-client/index.ts';

/** A clock that stands still until a test moves it. */
export class VirtualClock implements Clock {
  #nowMs = 1_000;
  #nextId = 0;
  readonly #timers = new Map<number, { atMs: number; callback: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  schedule(callback: () => void, delayMs: number): Cancel {
    const id = this.#nextId++;
    this.#timers.set(id, { atMs: this.#nowMs + Math.max(0, delayMs), callback });
    return () => {
      this.#timers.delete(id);
    };
  }

  /** Timers that still run: a leak, after everything was closed. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time on, running what falls due in order and letting promises settle in between. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    await settle();
    for (;;) {
      let next: [number, { atMs: number; callback: () => void }] | undefined;
      for (const entry of this.#timers) if (next === undefined || entry[1].atMs < next[1].atMs) next = entry;
      if (next === undefined || next[1].atMs > untilMs) break;
      this.#timers.delete(next[0]);
      this.#nowMs = Math.max(this.#nowMs, next[1].atMs);
      next[1].callback();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Lets every promise that can settle without I/O do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}
