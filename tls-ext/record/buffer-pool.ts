/** Pools of bulk buffers: the memory that records are sealed into and opened into. */
import type { BufferPool } from '../engine-types.ts';
import { BULK_BUFFER_BYTES } from './record-format.ts';

/**
 * A pool that keeps up to `maxIdleBuffers` released buffers. It never refuses:
 * backpressure is what bounds the buffers in use. Several connections may share it.
 */
export function createBufferPool(maxIdleBuffers: number): BufferPool {
  const idle: Uint8Array[] = [];
  return {
    // allocUnsafeSlow: half a megabyte isn't zeroed first, nor cut from a shared slab.
    acquire: () => idle.pop() ?? new Uint8Array(Buffer.allocUnsafeSlow(BULK_BUFFER_BYTES).buffer),
    release: (buffer) => {
      if (buffer.length !== BULK_BUFFER_BYTES) throw new RangeError(`not a bulk buffer: ${buffer.length} bytes`);
      if (idle.length < maxIdleBuffers) idle.push(buffer);
    },
  };
}

/** What connections use that were given no pool: one for the process, of at most 4 MiB. */
export const defaultBufferPool: BufferPool = createBufferPool(8);

/** A `release` for an event: gives the buffer back once, however often it is called. */
export function releaseOnce(pool: BufferPool, buffer: Uint8Array): () => void {
  let owned: Uint8Array | undefined = buffer;
  return () => {
    if (owned === undefined) return;
    pool.release(owned);
    owned = undefined;
  };
}
