/** Growing, spread delays between attempts. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  /** The delay after one more failure: doubling, between half and the whole of it by chance. */
  next(): number {
    const { firstMs, maxMs, random } = this.#options;
    const whole = Math.min(maxMs, firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return whole * (0.5 + random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
