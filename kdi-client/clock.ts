/** Undoes a `schedule`; harmless when the callback has run already. */
export type Cancel = () => void;

/** Time as the pool and the clients see it: injected, so that tests own it. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin. */
  now(): number;
  /** Runs `callback` once, `delayMs` from now at the earliest. */
  schedule(callback: () => void, delayMs: number): Cancel;
}

/** Longest timer that node has: a longer one would run out at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The process's clock. Its timers keep the process alive until they are cancelled. */
export const systemClock: Clock = {
  now: () => performance.now(),
  schedule: (callback, delayMs) => {
    let leftMs = delayMs;
    let timer: NodeJS.Timeout;
    const wait = (): void => {
      const stepMs = Math.min(leftMs, MAX_TIMER_MS);
      leftMs -= stepMs;
      timer = setTimeout(leftMs > 0 ? wait : callback, stepMs);
    };
    wait();
    return () => clearTimeout(timer);
  },
};
