/** Undoes a `schedule`; harmless when the callback has run already. */
export type Cancel = () => void;

/** Time as the pool and the clients see it: injected, so that tests own it. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin. */
  now(): number;
  /** Runs `callback` once, `delayMs` from now at the earliest. */
  schedule(callback: () => void, delayMs: number): Cancel;
}

/** The process's clock. Its timers keep the process alive until they are cancelled. */
export const systemClock: Clock = {
  now: () => performance.now(),
  schedule: (callback, delayMs) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
