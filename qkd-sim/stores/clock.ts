/** Time as the key stores and key managers see it: injected, so that tests own it. */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes back. */
  nowMs(): number;
  /** Calls `action` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, action: () => void): () => void;
}

/** The process's own monotonic clock. Its timers don't keep the process alive. */
export function systemClock(): Clock {
  return {
    nowMs: () => performance.now(),
    after(delayMs, action) {
      const timer = setTimeout(action, delayMs);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** A clock that moves only when told to. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #sequence = 0;
  readonly #timers = new Map<number, { readonly atMs: number; readonly action: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const id = this.#sequence++;
    this.#timers.set(id, { atMs: this.#nowMs + delayMs, action });
    return () => this.#timers.delete(id);
  }

  /** Timers not yet fired nor cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Moves on by `byMs`, firing what falls due in order of time. */
  advance(byMs: number): void {
    const until = this.#nowMs + byMs;
    for (;;) {
      let next: { id: number; atMs: number; action: () => void } | undefined;
      for (const [id, timer] of this.#timers) {
        if (timer.atMs <= until && (next === undefined || timer.atMs < next.atMs)) next = { id, ...timer };
      }
      if (next === undefined) break;
      this.#timers.delete(next.id);
      this.#nowMs = next.atMs;
      next.action();
    }
    this.#nowMs = until;
  }
}
