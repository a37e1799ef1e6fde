import { CascadeCorrector, frames, type ParityOracle } from '../post-processing/cascade.ts';
import { PackedBits } from '../post-processing/packed-bits.ts';
import { sameHash, verificationHash } from '../post-processing/verification.ts';
import { BlockEnd } from './block-end.ts';
import type {
  Amplification,
  CorrectionStart,
  Detections,
  ErrorCounts,
  Sifting,
  Verification,
} from './block-parameters.ts';
import { FramePlans } from './frame-plans.ts';
import { ClickBits } from './transmission.ts';

/** Bob's end of one block: he detects, corrects his bits to Alice's, and counts what he corrected. */
export class BobBlock extends BlockEnd {
  #plans: FramePlans | undefined;
  #corrected: PackedBits | undefined;
  #leakBits = 0;
  #lengthBits = 0;
  #errors: readonly [number, number] = [0, 0];

  get leakBits(): number {
    return this.#leakBits;
  }

  /** ℓ, after `verify`. */
  get lengthBits(): number {
    return this.#lengthBits;
  }

  /** Errors of the key basis by intensity, after `verify`. */
  get keyErrors(): readonly [number, number] {
    return this.#errors;
  }

  /** Says when it clicked and in which basis. `notes` and `gateGaps` are borrowed. */
  announce(notes: Uint8Array, gateGaps: Uint32Array): Detections {
    const check = new PackedBits(notes.length);
    for (let i = 0; i < notes.length; i++) {
      if ((notes[i]! & ClickBits.check) !== 0) check.flip(i);
    }
    this.conversation.sent.absorb('detections', gateGaps, check.length, check.words);
    return { gateGaps, check };
  }

  /** Keeps what Alice keeps, and discloses his bits of the check basis. */
  sift(notes: Uint8Array, { keep, decoy, checkBits }: Sifting): PackedBits {
    this.conversation.received.absorb('sifting', keep.words, decoy.words, checkBits.length, checkBits.words);
    const own = new PackedBits(checkBits.length);
    let [kept, checked] = [0, 0];
    for (let i = 0; i < notes.length; i++) {
      if (keep.get(i) === 0) continue;
      const note = notes[i]!;
      const bit = note & ClickBits.value;
      const isDecoy = decoy.get(kept++);
      if ((note & ClickBits.check) === 0) this.sifted.push(bit, isDecoy);
      else {
        this.tally.add(isDecoy, checkBits.get(checked) !== bit);
        if (bit === 1) own.flip(checked);
        checked++;
      }
    }
    this.conversation.sent.absorb('check', own.words);
    return own;
  }

  receiveCorrectionStart(start: CorrectionStart): void {
    this.conversation.received.absorb('correction', start.shuffleSeed, start.qber);
    this.#plans = new FramePlans(start);
    this.#corrected = new PackedBits(this.siftedBits, this.sifted.bits.words.slice());
  }

  /** The frames to correct, in order, as `[start, end)`. */
  frames(): [start: number, end: number][] {
    return frames(this.siftedBits);
  }

  /** Corrects the bits `start` to `end` − 1 by asking `oracle`. Returns the questions asked and the answers had. */
  correctFrame(start: number, end: number, oracle: ParityOracle): { questions: Uint32Array; answers: Uint8Array } {
    const corrected = this.#corrected!;
    const frame = corrected.slice(start, end);
    const log = new QuestionLog(oracle, end - start);
    const corrector = new CascadeCorrector(this.#plans!.of(end - start), frame, log);
    while (corrector.runPass());
    corrected.words.set(frame.words, start >>> 5);
    corrector.wipe();
    frame.wipe();
    this.#leakBits += log.answerCount;
    const record = log.record();
    this.conversation.sent.absorb('questions', record.questions);
    this.conversation.received.absorb('answers', record.answers);
    return record;
  }

  /** Compares hashes; undefined when the keys differ. */
  verify({ seed, hash }: Verification): ErrorCounts | undefined {
    this.conversation.received.absorb('verification', seed.words, hash.words);
    if (!sameHash(verificationHash(this.#corrected!, seed, hash.length), hash)) return undefined;
    this.#errors = this.sifted.errors(this.#corrected!);
    this.#lengthBits = this.finalLength(this.#errors, this.#leakBits);
    this.conversation.sent.absorb('errors', this.#errors[0], this.#errors[1]);
    return { errors: this.#errors };
  }

  receiveAmplification({ lengthBits, seed }: Amplification): void {
    this.conversation.received.absorb('amplification', lengthBits, seed.words);
  }

  /** His final key. Only after Alice's tag was found right; an ℓ that is not his own never gets here. */
  finish(amplification: Amplification): Uint8Array {
    return this.amplify(this.#corrected!, { ...amplification, lengthBits: this.#lengthBits });
  }

  override wipe(): void {
    super.wipe();
    this.#corrected?.wipe();
  }
}

/** Passes questions on, and keeps the record that both ends authenticate. */
class QuestionLog implements ParityOracle {
  readonly #oracle: ParityOracle;
  readonly #frameBits: number;
  readonly #questions: number[] = [];
  readonly #answers: number[] = [];

  constructor(oracle: ParityOracle, frameBits: number) {
    this.#oracle = oracle;
    this.#frameBits = frameBits;
  }

  get answerCount(): number {
    return this.#answers.length;
  }

  openPass(): PackedBits {
    const parities = this.#oracle.openPass();
    for (let b = 0; b < parities.length; b++) this.#answers.push(parities.get(b));
    return parities;
  }

  parity(pass: number, start: number, end: number): 0 | 1 {
    const answer = this.#oracle.parity(pass, start, end);
    // A left half is named by its pass and its end.
    this.#questions.push(pass * this.#frameBits + end);
    this.#answers.push(answer);
    return answer;
  }

  record(): { questions: Uint32Array; answers: Uint8Array } {
    return { questions: Uint32Array.from(this.#questions), answers: Uint8Array.from(this.#answers) };
  }
}
