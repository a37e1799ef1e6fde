/**
 * A bounds-checked big-endian reader over a borrowed byte array.
 *
 * Every wire decoder of the project reads through it. A reader never copies:
 * what it returns is a view of the input, and the caller copies what must
 * outlive it.
 */

/** Thrown when input is shorter or longer than its grammar allows. Decoders' callers map it to a `decode_error` alert or a `KdiError`. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** Bytes already read. */
  get offset(): number {
    return this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#advance(1)] as number;
  }

  u16(): number {
    const at = this.#advance(2);
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  u24(): number {
    const at = this.#advance(3);
    const b = this.#bytes;
    return ((b[at] as number) << 16) | ((b[at + 1] as number) << 8) | (b[at + 2] as number);
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  /** The next `length` bytes, as a view. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** `opaque x<min..max>` with a length prefix of 1, 2 or 3 bytes, as a view. */
  vector(prefixBytes: 1 | 2 | 3, min = 0, max = 2 ** (8 * prefixBytes) - 1): Uint8Array {
    const length = prefixBytes === 1 ? this.u8() : prefixBytes === 2 ? this.u16() : this.u24();
    if (length < min || length > max) {
      throw new DecodeError(`vector of ${length} bytes, ${min} to ${max} allowed`);
    }
    return this.bytes(length);
  }

  /** All that is left, as a view. */
  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  /** Rejects trailing bytes: call it after the last field of a structure. */
  end(): void {
    if (this.remaining !== 0) throw new DecodeError(`${this.remaining} trailing bytes`);
  }

  #advance(length: number): number {
    const at = this.#offset;
    if (length > this.#bytes.length - at) {
      throw new DecodeError(`${length} bytes wanted, ${this.#bytes.length - at} left`);
    }
    this.#offset = at + length;
    return at;
  }
}

/** Decodes the whole of `bytes` with `decode`, rejecting trailing bytes. */
export function decodeWhole<T>(bytes: Uint8Array, decode: (reader: ByteReader) => T): T {
  const reader = new ByteReader(bytes);
  const value = decode(reader);
  reader.end();
  return value;
}
