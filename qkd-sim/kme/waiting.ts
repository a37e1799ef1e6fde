import type { Clock } from '../kernel/clock.ts';

/** A wait that can be given up. `done` resolves in either case. */
export interface Wait {
  readonly done: Promise<void>;
  readonly cancel: () => void;
}

/** Waits for the first of: `timeoutMs`, an abort, or a call of `wake` by one of the subscriptions. Cleans all of them up. */
export function whenAny(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  subscribe: (wake: () => void) => readonly (() => void)[],
): Wait {
  let finish = () => {};
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const wake = () => {
    cancelTimer();
    signal.removeEventListener('abort', wake);
    for (const unsubscribe of subscriptions) unsubscribe();
    finish();
  };
  const cancelTimer = clock.setTimer(timeoutMs, wake);
  signal.addEventListener('abort', wake, { once: true });
  const subscriptions = subscribe(wake);
  if (signal.aborted) wake();
  return { done, cancel: wake };
}

/** What `promise` resolves to; `undefined` if it rejects or takes longer than `timeoutMs`. */
export function settledOrAfter<T>(clock: Clock, timeoutMs: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.setTimer(timeoutMs, () => resolve(undefined));
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      () => {
        cancel();
        resolve(undefined);
      },
    );
  });
}
