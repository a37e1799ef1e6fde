const inspect = Symbol.for('nodejs.util.inspect.custom');

/**
 * Owned secret bytes that can be wiped and can't be printed by accident.
 *
 * `SecretBytes` takes ownership of the array it is given: nobody else may keep
 * it. After `wipe()` every access throws, so that a use after the end of a
 * key's life is a loud programming error and not a handshake with zeros.
 * Only this buffer is wiped: copies inside `KeyObject`s and OpenSSL are out of reach.
 */
export class SecretBytes {
  #bytes: Uint8Array | undefined;

  constructor(owned: Uint8Array) {
    this.#bytes = owned;
  }

  static copyOf(bytes: Uint8Array): SecretBytes {
    return new SecretBytes(Uint8Array.from(bytes));
  }

  get length(): number {
    return this.#expectAlive().length;
  }

  get wiped(): boolean {
    return this.#bytes === undefined;
  }

  /** The bytes themselves, borrowed: don't keep them past the current call. */
  expose(): Uint8Array {
    return this.#expectAlive();
  }

  /** A copy with a life of its own. */
  clone(): SecretBytes {
    return SecretBytes.copyOf(this.#expectAlive());
  }

  wipe(): void {
    const bytes = this.#bytes;
    if (bytes === undefined) return;
    // For a key that is cheaper than `fill`.
    for (let i = 0; i < bytes.length; i++) bytes[i] = 0;
    this.#bytes = undefined;
  }

  toString(): string {
    return '[SecretBytes]';
  }

  toJSON(): string {
    return '[SecretBytes]';
  }

  [inspect](): string {
    return '[SecretBytes]';
  }

  #expectAlive(): Uint8Array {
    if (this.#bytes === undefined) throw new Error('SecretBytes used after wipe()');
    return this.#bytes;
  }
}
