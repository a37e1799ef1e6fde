/**
 * The same memory as a plain `Uint8Array`: node:crypto answers with `Buffer`s,
 * whose `slice` and `toString` behave otherwise, and which the core doesn't let through.
 */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
