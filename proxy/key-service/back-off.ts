/** Growing, scattered pauses between attempts. */
export class ReconnectPause {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #nextMs: number;

  /** `random`: uniform in [0, 1). */
  constructor(options: { firstMs: number; maxMs: number; random: () => number }) {
    this.#firstMs = options.firstMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random;
    this.#nextMs = options.firstMs;
  }

  /** The pause before the next attempt: half of it fixed, half of it random, so that many proxies don't come at once. */
  next(): number {
    const wholeMs = this.#nextMs;
    this.#nextMs = Math.min(this.#maxMs, wholeMs * 2);
    return wholeMs / 2 + (wholeMs / 2) * this.#random();
  }

  reset(): void {
    this.#nextMs = this.#firstMs;
  }
}
