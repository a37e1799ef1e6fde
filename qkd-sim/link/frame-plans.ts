import { CascadePlan, linkSchedule } from '../post-processing/cascade.ts';
import type { CorrectionStart } from './block-parameters.ts';

/** Cascade's public plans for the frames of one block. Frames of one size share theirs: errors in one say nothing about another. */
export class FramePlans {
  readonly #start: CorrectionStart;
  readonly #bySize = new Map<number, CascadePlan>();

  constructor(start: CorrectionStart) {
    this.#start = start;
  }

  of(frameBits: number): CascadePlan {
    let plan = this.#bySize.get(frameBits);
    if (plan === undefined) {
      plan = new CascadePlan(frameBits, linkSchedule(frameBits, this.#start.qber), this.#start.shuffleSeed);
      this.#bySize.set(frameBits, plan);
    }
    return plan;
  }
}
