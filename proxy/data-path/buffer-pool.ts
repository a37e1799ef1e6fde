import { BULK_BUFFER_BYTES, type BufferPool } from '../../tls-ext/index.ts';

/** Free buffers kept: enough for both directions of a few busy connections, about 8 MiB. */
const MAX_FREE_BUFFERS = 16;

/**
 * The bulk buffers of all connections. A buffer is lent to one connection at a
 * time and comes back when its last byte is in the kernel's hands.
 */
export class BulkBufferPool implements BufferPool {
  readonly #free: Uint8Array[] = [];
  /** What is lent out: a buffer released twice would be lent to two connections. */
  readonly #lent = new Set<Uint8Array>();

  acquire(): Uint8Array {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(BULK_BUFFER_BYTES);
    this.#lent.add(buffer);
    return buffer;
  }

  release(buffer: Uint8Array): void {
    if (!this.#lent.delete(buffer)) throw new Error('a bulk buffer was released that is not lent');
    if (this.#free.length < MAX_FREE_BUFFERS) this.#free.push(buffer);
  }
}
