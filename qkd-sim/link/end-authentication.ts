import { AuthReserve, HASH_KEY_BYTES, TAG_BITS, TranscriptHash } from '../post-processing/authentication.ts';

/** Pad bits a block costs each end: one tag in each direction. */
export const BLOCK_AUTH_BITS = 2 * TAG_BITS;

export type EndRole = 'alice' | 'bob';

/** One end's authentication key: two hash keys for good, and the reserve that pays for tags. */
export class EndAuthentication {
  readonly reserve: AuthReserve;
  /** The level that new key refills first. */
  readonly targetBits: number;
  readonly #role: EndRole;
  readonly #aliceHashKey: Uint8Array;
  readonly #bobHashKey: Uint8Array;

  /** `preShared` (copied) is the same at both ends: hash keys of both directions, then the reserve. */
  constructor(role: EndRole, preShared: Uint8Array) {
    this.#role = role;
    this.#aliceHashKey = preShared.slice(0, HASH_KEY_BYTES);
    this.#bobHashKey = preShared.slice(HASH_KEY_BYTES, 2 * HASH_KEY_BYTES);
    this.reserve = new AuthReserve(preShared.slice(2 * HASH_KEY_BYTES));
    this.targetBits = this.reserve.availableBits;
  }

  /** The hashes of a new block's conversation. */
  open(): Conversation {
    const [own, peer] =
      this.#role === 'alice' ? [this.#aliceHashKey, this.#bobHashKey] : [this.#bobHashKey, this.#aliceHashKey];
    return { sent: new TranscriptHash(own), received: new TranscriptHash(peer) };
  }

  /** Both pads of a block, in the same order at both ends. Undefined when the reserve is too small. */
  takePads(): { readonly own: Uint8Array; readonly peer: Uint8Array } | undefined {
    const pads = this.reserve.take(BLOCK_AUTH_BITS / 8);
    if (pads === undefined) return undefined;
    const alice = pads.subarray(0, TAG_BITS / 8);
    const bob = pads.subarray(TAG_BITS / 8);
    return this.#role === 'alice' ? { own: alice, peer: bob } : { own: bob, peer: alice };
  }

  /** Bits to put back into the reserve out of `availableBits` of new key. */
  refillBits(availableBits: number): number {
    const missing = Math.max(0, this.targetBits - this.reserve.availableBits);
    return Math.min(missing, 8 * Math.floor(availableBits / 8));
  }

  wipe(): void {
    this.#aliceHashKey.fill(0);
    this.#bobHashKey.fill(0);
    this.reserve.wipe();
  }
}

/** What one end said and heard during a block. */
export interface Conversation {
  readonly sent: TranscriptHash;
  readonly received: TranscriptHash;
}
