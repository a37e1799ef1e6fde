/** The 16 bytes of a UUID version 4 (RFC 9562, 5.4), of the given randomness. */
export function uuid4(randomBytes: (length: number) => Uint8Array): Uint8Array {
  const bytes = randomBytes(16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return bytes;
}
