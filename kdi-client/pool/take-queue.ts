import type { Clock } from '../clock.ts';
import type { KeyLease, TakeOptions } from './drawer-pool-types.ts';

interface Waiter {
  readonly wanted: TakeOptions;
  settle(lease: KeyLease | undefined): void;
}

/** Handshakes and rekeys that wait for a key, in the order in which they came. */
export class TakeQueue {
  readonly #clock: Clock;
  readonly #lend: (wanted: TakeOptions) => KeyLease | undefined;
  readonly #waiters = new Set<Waiter>();

  constructor(clock: Clock, lend: (wanted: TakeOptions) => KeyLease | undefined) {
    this.#clock = clock;
    this.#lend = lend;
  }

  get size(): number {
    return this.#waiters.size;
  }

  /** Undefined when time is up, `signal` fired, or the pool was closed. */
  wait(wanted: TakeOptions, waitMs: number, signal: AbortSignal | undefined): Promise<KeyLease | undefined> {
    if (signal?.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const giveUp = (): void => settle(undefined);
      const settle = (lease: KeyLease | undefined): void => {
        if (!this.#waiters.delete(waiter)) return;
        cancel();
        signal?.removeEventListener('abort', giveUp);
        resolve(lease);
      };
      const waiter: Waiter = { wanted, settle };
      const cancel = this.#clock.schedule(giveUp, waitMs);
      signal?.addEventListener('abort', giveUp);
      this.#waiters.add(waiter);
    });
  }

  /** Serves those for whom there is a key now; a rekey may be served past handshakes, from the reserve. */
  serve(): void {
    for (const waiter of [...this.#waiters]) {
      const lease = this.#lend(waiter.wanted);
      if (lease !== undefined) waiter.settle(lease);
    }
  }

  close(): void {
    for (const waiter of [...this.#waiters]) waiter.settle(undefined);
  }
}
