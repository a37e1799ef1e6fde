import type { BasisCounts } from '../physics/finite-key.ts';
import { PackedBits, wordWeight } from './packed-bits.ts';

/** One end's sifted key, filled bit by bit, with the intensity Alice announced for each bit. */
export class SiftedKey {
  readonly bits: PackedBits;
  readonly decoy: PackedBits;
  #length = 0;

  constructor(capacityBits: number) {
    this.bits = new PackedBits(capacityBits);
    this.decoy = new PackedBits(capacityBits);
  }

  get length(): number {
    return this.#length;
  }

  push(bit: number, decoy: number): void {
    const i = this.#length++;
    this.bits.words[i >>> 5]! |= bit << (i & 31);
    this.decoy.words[i >>> 5]! |= decoy << (i & 31);
  }

  /** Clicks by intensity: [signal, decoy]. */
  detections(): readonly [number, number] {
    const decoys = this.decoy.weight();
    return [this.#length - decoys, decoys];
  }

  /** Differences from `corrected` by intensity: [signal, decoy]. */
  errors(corrected: PackedBits): readonly [number, number] {
    let [signals, decoys] = [0, 0];
    for (let w = 0; w < this.bits.words.length; w++) {
      const wrong = this.bits.words[w]! ^ corrected.words[w]!;
      decoys += wordWeight(wrong & this.decoy.words[w]!);
      signals += wordWeight(wrong & ~this.decoy.words[w]!);
    }
    return [signals, decoys];
  }

  wipe(): void {
    this.bits.wipe();
    this.decoy.wipe();
  }
}

/** Counts of the disclosed check basis. */
export class CheckTally {
  readonly #detections: [number, number] = [0, 0];
  readonly #errors: [number, number] = [0, 0];

  add(decoy: number, wrong: boolean): void {
    const k = decoy === 1 ? 1 : 0;
    this.#detections[k]++;
    if (wrong) this.#errors[k]++;
  }

  get counts(): BasisCounts {
    return { detections: this.#detections, errors: this.#errors };
  }

  get detections(): number {
    return this.#detections[0] + this.#detections[1];
  }

  /** Error rate so far, 0 to 1; undefined while nothing is disclosed. */
  get qber(): number | undefined {
    return this.detections === 0 ? undefined : (this.#errors[0] + this.#errors[1]) / this.detections;
  }
}
