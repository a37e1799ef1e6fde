/**
 * Runs `work` with a signal that the first SIGINT or SIGTERM aborts, so that it can say what it has so far. A second
 * one ends the process as if nobody listened.
 */
export async function untilStopped<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onStop = () => {
    process.off('SIGINT', onStop).off('SIGTERM', onStop);
    stop.abort();
  };
  process.on('SIGINT', onStop).on('SIGTERM', onStop);
  try {
    return await work(stop.signal);
  } finally {
    process.off('SIGINT', onStop).off('SIGTERM', onStop);
  }
}
