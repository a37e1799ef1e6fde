/**
 * The buffers that sockets read into. One for each kind of socket is enough
 * for every connection of the process, because each chunk is consumed (sealed,
 * or decrypted) before its callback returns. No view of them may survive that
 * callback: the next chunk, of any connection, overwrites it.
 */

/** What one read may bring. Smaller ones cost throughput: 64 KiB was measured at 0.86 of this. */
export const READ_BUFFER_BYTES = 512 * 1024;

export interface SharedReadBuffer {
  /** What `onread` gets. */
  readonly target: Uint8Array;
  /**
   * The same memory and one byte more: sealing in place writes the inner
   * content type behind the slice, also behind the last one.
   */
  readonly storage: Uint8Array;
}

function sharedReadBuffer(): SharedReadBuffer {
  const storage = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES + 1);
  return { target: storage.subarray(0, READ_BUFFER_BYTES), storage };
}

/** For sockets that carry TLS records. */
export const tlsReadBuffer: SharedReadBuffer = sharedReadBuffer();
/** For sockets of applications. */
export const plainReadBuffer: SharedReadBuffer = sharedReadBuffer();
