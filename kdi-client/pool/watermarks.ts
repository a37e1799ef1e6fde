/** How many keys a pool keeps ahead: fixed marks, or marks that follow demand. */
import { KdiMisuseError } from '../errors.ts';
import type { DepthPolicy } from './depth.ts';

export class Watermarks {
  /** Present where the marks follow demand. */
  readonly #adaptive: DepthPolicy | undefined;
  #low: number;
  #high: number;
  /** Drawing goes on until the high watermark once it has begun. */
  #wantsMore = true;

  /** Throws `KdiMisuseError` unless 0 ≤ low < high. */
  constructor(low: number, high: number, adaptive: DepthPolicy | undefined) {
    this.#adaptive = adaptive;
    expectWatermarks(low, high);
    this.#low = low;
    this.#high = high;
  }

  get low(): number {
    return this.#low;
  }

  get high(): number {
    return this.#high;
  }

  /** Throws `KdiMisuseError` unless 0 ≤ low < high. */
  set(low: number, high: number): void {
    expectWatermarks(low, high);
    this.#low = low;
    this.#high = high;
  }

  /** Lets the marks follow demand, where they are to. */
  adapt(nowMs: number): void {
    if (this.#adaptive === undefined) return;
    const { low, high } = this.#adaptive.depth(nowMs);
    this.#low = low;
    this.#high = high;
  }

  /** Whether to draw, with this many keys ahead. */
  wantsMore(ahead: number): boolean {
    if (ahead >= this.#high) this.#wantsMore = false;
    else if (ahead <= this.#low) this.#wantsMore = true;
    return this.#wantsMore;
  }
}

function expectWatermarks(low: number, high: number): void {
  const valid = [low, high].every(Number.isInteger) && low >= 0 && low < high;
  if (!valid) throw new KdiMisuseError(`watermarks ${low} and ${high}: 0 ≤ low < high is needed`);
}
