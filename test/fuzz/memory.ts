import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes on this thread's heap and in its array buffers. Cheap enough to ask before and after each execution. */
export function bytesInUse(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

setFlagsFromString('--expose-gc');
const gc: () => void = runInNewContext('gc');

/** Runs the collector now: what is in use afterwards is really held. */
export function collectGarbage(): void {
  gc();
  // The second one waits for the array buffers that the first one found free.
  gc();
}
