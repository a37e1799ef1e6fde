/**
 * Information-theoretic authentication of a block's whole conversation, one
 * tag for each direction: Wegman and Carter, "New hash functions and their use
 * in authentication and set equality", J. Comput. Syst. Sci. 22 (1981), with
 * the polynomial hash of Poly1305 (Bernstein, FSE 2005) under a hash key that
 * stays and a one-time pad that is spent. A forgery succeeds with probability
 * at most 8⌈L/16⌉/2^106 for L bytes: below 2^-83 for 64 MiB.
 */
import { poly1305 } from '@noble/ciphers/_poly1305.js';
import { constantTimeEqual } from '../../tls-ext/bytes/index.ts';

/** Pad spent by each tag. */
export const TAG_BITS = 128;
/** r of one direction. */
export const HASH_KEY_BYTES = 16;

/** Pre-shared and then self-renewing key, held by one end. Never handed to a SAE. */
export class AuthReserve {
  #bytes: Uint8Array;

  /** Takes ownership of `initial`. */
  constructor(initial: Uint8Array) {
    this.#bytes = initial;
  }

  get availableBits(): number {
    return 8 * this.#bytes.length;
  }

  /** The next bytes, never given out again; undefined when there are not enough. The caller wipes them. */
  take(lengthBytes: number): Uint8Array | undefined {
    if (lengthBytes > this.#bytes.length) return undefined;
    const taken = this.#bytes.slice(0, lengthBytes);
    this.#replace(this.#bytes.slice(lengthBytes));
    return taken;
  }

  /** Appends fresh key (copied). */
  refill(fresh: Uint8Array): void {
    const grown = new Uint8Array(this.#bytes.length + fresh.length);
    grown.set(this.#bytes);
    grown.set(fresh, this.#bytes.length);
    this.#replace(grown);
  }

  wipe(): void {
    this.#replace(new Uint8Array(0));
  }

  #replace(bytes: Uint8Array): void {
    this.#bytes.fill(0);
    this.#bytes = bytes;
  }
}

/** A field of a message: text that names it, numbers, or packed data. */
export type TranscriptField = string | number | Uint8Array | Uint32Array;

const encoder = new TextEncoder();

/** The running hash over all messages of one direction, as one end saw them. */
export class TranscriptHash {
  readonly #hash: ReturnType<typeof poly1305.create>;

  constructor(hashKey: Uint8Array) {
    if (hashKey.length !== HASH_KEY_BYTES) throw new RangeError(`a hash key of ${hashKey.length} bytes`);
    const key = new Uint8Array(32);
    key.set(hashKey);
    // The pad is added at the end, when it is known that the block is worth one.
    this.#hash = poly1305.create(key);
    key.fill(0);
  }

  /** Takes in one message. Each field is framed by type and length, so that no two messages read alike. */
  absorb(...fields: readonly TranscriptField[]): void {
    this.#frame('m', fields.length);
    for (const field of fields) {
      if (typeof field === 'string') this.#data('s', encoder.encode(field));
      else if (typeof field === 'number') this.#data('n', new Uint8Array(Float64Array.of(field).buffer));
      else if (field instanceof Uint8Array) this.#data('b', field);
      else this.#data('w', new Uint8Array(field.buffer, field.byteOffset, field.byteLength));
    }
  }

  /** The tag under `pad` (16 bytes, used once). Ends the hash. */
  tag(pad: Uint8Array): Uint8Array {
    const tag = this.#hash.digest();
    let carry = 0;
    for (let i = 0; i < tag.length; i++) {
      carry += tag[i]! + pad[i]!;
      tag[i] = carry;
      carry >>>= 8;
    }
    return tag;
  }

  /** Whether `tag` is the right one. Ends the hash. */
  verify(pad: Uint8Array, tag: Uint8Array): boolean {
    return constantTimeEqual(this.tag(pad), tag);
  }

  destroy(): void {
    this.#hash.destroy();
  }

  #data(type: string, bytes: Uint8Array): void {
    this.#frame(type, bytes.length);
    this.#hash.update(bytes);
  }

  #frame(type: string, count: number): void {
    this.#hash.update(Uint8Array.of(type.charCodeAt(0), count, count >>> 8, count >>> 16, count >>> 24));
  }
}
