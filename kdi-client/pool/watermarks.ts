/** How many keys a pool keeps ahead: fixed marks, or marks that follow demand. */
import { KdiMisuseError } from '../errors.ts';
import type { DepthPolicy } from './depth.ts';
import type { DrawerPoolOptions } from './drawer-pool-types.ts';

export type WatermarkOptions = Pick<DrawerPoolOptions, 'lowWatermark' | 'highWatermark' | 'adaptiveDepth'>;

const DEFAULT_HIGH_WATERMARK = 4;

export class Watermarks {
  /** Present where the marks follow demand. */
  #adaptive: DepthPolicy | undefined;
  #low: number;
  #high: number;
  /** Drawing goes on until the high watermark once it has begun. */
  #wantsMore = true;

  /** `depth` counts with `adaptiveDepth` only. Throws `KdiMisuseError` unless 0 ≤ low < high. */
  constructor(options: WatermarkOptions, depth: DepthPolicy) {
    const high = options.highWatermark ?? DEFAULT_HIGH_WATERMARK;
    const low = options.lowWatermark ?? Math.max(0, high - 1);
    this.#adaptive = options.adaptiveDepth === undefined ? undefined : depth;
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

  /** From here on these, whatever the demand. Throws `KdiMisuseError` unless 0 ≤ low < high. */
  set(low: number, high: number): void {
    expectWatermarks(low, high);
    this.#adaptive = undefined;
    this.#low = low;
    this.#high = high;
  }

  /** From here on those that fit the demand. */
  follow(policy: DepthPolicy): void {
    this.#adaptive = policy;
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
