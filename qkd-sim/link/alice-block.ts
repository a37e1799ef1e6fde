import type { RandomStream } from '../kernel/random.ts';
import { CascadeResponder } from '../post-processing/cascade.ts';
import { PackedBits, wordsFor } from '../post-processing/packed-bits.ts';
import { toeplitzSeedBits } from '../post-processing/toeplitz.ts';
import { verificationBits, verificationHash } from '../post-processing/verification.ts';
import { BlockEnd } from './block-end.ts';
import type {
  Amplification,
  BlockParameters,
  CorrectionStart,
  Detections,
  ErrorCounts,
  Sifting,
  Verification,
} from './block-parameters.ts';
import type { EndAuthentication } from './end-authentication.ts';
import { FramePlans } from './frame-plans.ts';
import { ClickBits } from './transmission.ts';

/** Alice's end of one block. Her sifted bits are the key that Bob corrects to. */
export class AliceBlock extends BlockEnd {
  readonly #seeds: RandomStream;
  #plans: FramePlans | undefined;
  #leakBits = 0;
  #lengthBits = 0;

  constructor(parameters: BlockParameters, authentication: EndAuthentication, seeds: RandomStream) {
    super(parameters, authentication);
    this.#seeds = seeds;
  }

  get leakBits(): number {
    return this.#leakBits;
  }

  /** ℓ, after `receiveErrorCounts`. */
  get lengthBits(): number {
    return this.#lengthBits;
  }

  /** Keeps the clicks where the bases agree. `notes` are what she prepared in those gates (borrowed). */
  sift(notes: Uint8Array, { gateGaps, check }: Detections): Sifting {
    this.conversation.received.absorb('detections', gateGaps, check.length, check.words);
    const keep = new PackedBits(notes.length);
    const decoy = new PackedBits(notes.length);
    const checkBits = new PackedBits(notes.length);
    let [kept, checked] = [0, 0];
    for (let i = 0; i < notes.length; i++) {
      const note = notes[i]!;
      const inCheckBasis = (note & ClickBits.check) !== 0 ? 1 : 0;
      if (inCheckBasis !== check.get(i)) continue;
      keep.flip(i);
      const isDecoy = (note & ClickBits.decoy) !== 0 ? 1 : 0;
      if (isDecoy === 1) decoy.flip(kept);
      kept++;
      const bit = note & ClickBits.value;
      if (inCheckBasis === 0) this.sifted.push(bit, isDecoy);
      else if (bit === 1) checkBits.flip(checked++);
      else checked++;
    }
    const sifting = { keep, decoy: decoy.slice(0, kept), checkBits: checkBits.slice(0, checked) };
    this.conversation.sent.absorb('sifting', keep.words, sifting.decoy.words, checked, sifting.checkBits.words);
    return sifting;
  }

  /** Bob's bits of the check basis, in answer to `sifting`, which tells her own. */
  receiveCheckBits(theirs: PackedBits, { check, own }: { check: PackedBits; own: Sifting }): void {
    this.conversation.received.absorb('check', theirs.words);
    let [kept, checked] = [0, 0];
    for (let i = 0; i < own.keep.length; i++) {
      if (own.keep.get(i) === 0) continue;
      if (check.get(i) === 1) {
        this.tally.add(own.decoy.get(kept), own.checkBits.get(checked) !== theirs.get(checked));
        checked++;
      }
      kept++;
    }
  }

  startCorrection(): CorrectionStart {
    const start = { shuffleSeed: this.#seeds.words(4), qber: this.tally.qber ?? 0 };
    this.#plans = new FramePlans(start);
    this.conversation.sent.absorb('correction', start.shuffleSeed, start.qber);
    return start;
  }

  /** Her side of Cascade for the frame of bits `start` to `end` − 1. */
  openFrame(start: number, end: number): CascadeResponder {
    return new CascadeResponder(this.#plans!.of(end - start), this.sifted.bits.slice(start, end));
  }

  /** Books what a frame disclosed: Bob's questions and her answers, in order. */
  closeFrame(responder: CascadeResponder, questions: Uint32Array, answers: Uint8Array): void {
    this.#leakBits += responder.disclosedBits;
    responder.wipe();
    this.conversation.received.absorb('questions', questions);
    this.conversation.sent.absorb('answers', answers);
  }

  verify(): Verification {
    const bits = verificationBits(this.parameters.security.epsilonCorrectness);
    const seed = this.#randomBits(toeplitzSeedBits(this.siftedBits, bits));
    const hash = verificationHash(this.sifted.bits, seed, bits);
    this.conversation.sent.absorb('verification', seed.words, hash.words);
    return { seed, hash };
  }

  /** What Bob counted gives her ℓ. */
  receiveErrorCounts({ errors }: ErrorCounts): void {
    this.conversation.received.absorb('errors', errors[0], errors[1]);
    this.#lengthBits = this.finalLength(errors, this.#leakBits);
  }

  startAmplification(): Amplification {
    const seed = this.#randomBits(toeplitzSeedBits(this.siftedBits, this.#lengthBits));
    this.conversation.sent.absorb('amplification', this.#lengthBits, seed.words);
    return { lengthBits: this.#lengthBits, seed };
  }

  /** Her final key. Only after Bob's tag was found right. */
  finish(amplification: Amplification): Uint8Array {
    return this.amplify(this.sifted.bits, amplification);
  }

  #randomBits(length: number): PackedBits {
    return new PackedBits(length, this.#seeds.words(wordsFor(length)));
  }
}
