/** Wall time as the pacing of a link sees it. Injected, so that tests turn the hands themselves. */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary origin. */
  nowMs(): number;
  /** Calls `callback` once after `delayMs`. The returned function cancels it; calling that twice, or late, is harmless. */
  setTimer(delayMs: number, callback: () => void): () => void;
}

/** The clock of the machine. Its timers keep the process alive; whoever starts one also cancels it. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
