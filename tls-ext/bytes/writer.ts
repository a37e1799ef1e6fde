/**
 * Storage of the last writer that was finished: memory for each message would
 * cost more than writing it. A writer inside of another one makes its own.
 */
let idleStorage: Uint8Array | undefined;
const INITIAL_STORAGE_BYTES = 2_048;
const nothing = new Uint8Array(0);

function takeStorage(): Uint8Array {
  const storage = idleStorage ?? new Uint8Array(INITIAL_STORAGE_BYTES);
  idleStorage = undefined;
  return storage;
}

/**
 * A growing big-endian writer. Length-prefixed vectors are written by a
 * callback, so that a prefix can't disagree with what follows it.
 */
export class ByteWriter {
  #bytes: Uint8Array = takeStorage();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#bytes[at] = checked(value, 0xff);
    return this;
  }

  u16(value: number): this {
    checked(value, 0xffff);
    const at = this.#grow(2);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
    return this;
  }

  u24(value: number): this {
    checked(value, 0xff_ffff);
    const at = this.#grow(3);
    this.#bytes[at] = value >>> 16;
    this.#bytes[at + 1] = value >>> 8;
    this.#bytes[at + 2] = value;
    return this;
  }

  u32(value: number): this {
    checked(value, 0xffff_ffff);
    const at = this.#grow(4);
    this.#bytes[at] = value >>> 24;
    this.#bytes[at + 1] = value >>> 16;
    this.#bytes[at + 2] = value >>> 8;
    this.#bytes[at + 3] = value;
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** Whatever `body` writes, behind its length in 1, 2 or 3 bytes. */
  vector(prefixBytes: 1 | 2 | 3, body: Uint8Array | ((writer: this) => void)): this {
    const at = this.#grow(prefixBytes);
    if (typeof body === 'function') body(this);
    else this.bytes(body);
    const length = checked(this.#length - at - prefixBytes, 2 ** (8 * prefixBytes) - 1);
    for (let i = 0; i < prefixBytes; i++) {
      this.#bytes[at + i] = length >>> (8 * (prefixBytes - 1 - i));
    }
    return this;
  }

  /** What was written, in memory of the caller's own. The writer is empty afterwards. */
  finish(): Uint8Array {
    const written = this.#bytes.slice(0, this.#length);
    // It may have held a secret, and somebody else writes into it next.
    this.#bytes.fill(0, 0, this.#length);
    idleStorage = this.#bytes;
    this.#bytes = nothing;
    this.#length = 0;
    return written;
  }

  #grow(by: number): number {
    const at = this.#length;
    const needed = at + by;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, at));
      // The old storage may hold part of a secret.
      this.#bytes.fill(0);
      this.#bytes = grown;
    }
    this.#length = needed;
    return at;
  }
}

function checked(value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new RangeError(`${value} is not an integer of 0 to ${max}`);
  }
  return value;
}

/** One-shot form: `encode(w => w.u8(1).vector(2, body))`. */
export function encode(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter();
  write(writer);
  return writer.finish();
}
