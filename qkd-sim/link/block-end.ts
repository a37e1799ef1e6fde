/** What Alice and Bob do alike in one block: remember the conversation, estimate, authenticate, amplify. */
import type { BasisCounts } from '../physics/finite-key.ts';
import type { PackedBits } from '../post-processing/packed-bits.ts';
import { CheckTally, SiftedKey } from '../post-processing/sifted-key.ts';
import { toeplitzHash } from '../post-processing/toeplitz.ts';
import { type Amplification, type BlockParameters, keyBound } from './block-parameters.ts';
import type { Conversation, EndAuthentication } from './end-authentication.ts';
import { BlockAbortReason } from './link-types.ts';

export class BlockEnd {
  protected readonly parameters: BlockParameters;
  protected readonly conversation: Conversation;
  protected readonly sifted: SiftedKey;
  protected readonly tally = new CheckTally();
  readonly #authentication: EndAuthentication;
  #pads: { readonly own: Uint8Array; readonly peer: Uint8Array } | undefined;

  constructor(parameters: BlockParameters, authentication: EndAuthentication) {
    this.parameters = parameters;
    this.conversation = authentication.open();
    this.sifted = new SiftedKey(parameters.blockSizeBits);
    this.#authentication = authentication;
  }

  get siftedBits(): number {
    return this.sifted.length;
  }

  /** Key-basis clicks by intensity. */
  get keyDetections(): readonly [number, number] {
    return this.sifted.detections();
  }

  get check(): CheckTally {
    return this.tally;
  }

  /** ℓ, floored; 0 when there is no key. Both ends come to the same. */
  protected finalLength(keyErrors: readonly number[], leakBits: number): number {
    const key: BasisCounts = { detections: this.keyDetections, errors: keyErrors };
    return Math.max(0, Math.floor(keyBound(this.parameters, key, this.tally.counts, leakBits).lengthBits));
  }

  /** The tag over all that this end sent; undefined when the reserve is empty. */
  sendTag(): Uint8Array | undefined {
    this.#pads = this.#authentication.takePads();
    return this.#pads === undefined ? undefined : this.conversation.sent.tag(this.#pads.own);
  }

  /** Whether the other end sent exactly what was received here. */
  receiveTag(tag: Uint8Array): boolean {
    return this.#pads !== undefined && this.conversation.received.verify(this.#pads.peer, tag);
  }

  /** Shortens `key` to ℓ bits, refills the reserve from the front, and returns the rest in whole bytes. */
  protected amplify(key: PackedBits, { seed, lengthBits }: Amplification): Uint8Array {
    const final = toeplitzHash(key, seed, lengthBits);
    const refill = this.#authentication.refillBits(lengthBits);
    const fresh = final.toBytes(0, refill);
    this.#authentication.reserve.refill(fresh);
    fresh.fill(0);
    const delivered = final.toBytes(refill, lengthBits);
    final.wipe();
    return delivered;
  }

  wipe(): void {
    this.sifted.wipe();
    this.conversation.sent.destroy();
    this.conversation.received.destroy();
    this.#pads?.own.fill(0);
    this.#pads?.peer.fill(0);
  }
}

/**
 * Tags both ways; a reason if either end refuses. An abort before this point costs nothing: who forges one
 * only denies service, which he can do with scissors.
 */
export function exchangeTags(alice: BlockEnd, bob: BlockEnd): BlockAbortReason | undefined {
  const aliceTag = alice.sendTag();
  const bobTag = bob.sendTag();
  if (aliceTag === undefined || bobTag === undefined) return BlockAbortReason.authReserve;
  return bob.receiveTag(aliceTag) && alice.receiveTag(bobTag) ? undefined : BlockAbortReason.authentication;
}
