/**
 * How deep a pool should be: enough for the demand that is seen, over the time
 * that a refill takes, and never more than allowed. Plain arithmetic on times
 * that the caller gives.
 */

/** A rate that follows events with exponential forgetting. */
export class RateEstimate {
  readonly #timeConstantMs: number;
  #perMs = 0;
  #atMs: number | undefined;

  /** `timeConstantMs`: how far back it looks. */
  constructor(timeConstantMs: number) {
    this.#timeConstantMs = timeConstantMs;
  }

  record(nowMs: number, events = 1): void {
    this.#perMs = this.#decayed(nowMs) + events / this.#timeConstantMs;
    this.#atMs = nowMs;
  }

  perSecond(nowMs: number): number {
    return 1000 * this.#decayed(nowMs);
  }

  #decayed(nowMs: number): number {
    return this.#atMs === undefined ? 0 : this.#perMs * Math.exp((this.#atMs - nowMs) / this.#timeConstantMs);
  }
}

export interface DepthOptions {
  /** Ahead without any demand (default 4). */
  readonly minAhead?: number;
  /** Never more than this: the policy's, the peer's or the KME's limit (default 1,024). */
  readonly maxAhead?: number;
  /** How long the pool should last at the demand seen, without a refill (default 10 s). */
  readonly coverMs?: number;
  /** Demand counts this far back (default 30 s). */
  readonly memoryMs?: number;
}

export interface Depth {
  readonly low: number;
  readonly high: number;
}

/** Follows demand and supply of one pool. */
export class DepthPolicy {
  #options: Required<DepthOptions>;
  readonly #demand: RateEstimate;
  readonly #supply: RateEstimate;

  constructor(options: DepthOptions = {}) {
    this.#options = { minAhead: 4, maxAhead: 1_024, coverMs: 10_000, memoryMs: 30_000, ...options };
    this.#demand = new RateEstimate(this.#options.memoryMs);
    this.#supply = new RateEstimate(this.#options.memoryMs);
  }

  /** Other bounds; what was seen of demand and supply stays. */
  configure(options: DepthOptions): void {
    this.#options = { ...this.#options, ...options };
  }

  /** A key was asked for, whether there was one or not. */
  recordDemand(nowMs: number): void {
    this.#demand.record(nowMs);
  }

  recordSupply(nowMs: number, keys: number): void {
    this.#supply.record(nowMs, keys);
  }

  demandPerSecond(nowMs: number): number {
    return this.#demand.perSecond(nowMs);
  }

  supplyPerSecond(nowMs: number): number {
    return this.#supply.perSecond(nowMs);
  }

  /** The watermarks that fit the demand of the moment. */
  depth(nowMs: number): Depth {
    const { minAhead, maxAhead, coverMs } = this.#options;
    const wanted = Math.ceil((this.demandPerSecond(nowMs) * coverMs) / 1000);
    const high = Math.max(1, Math.min(maxAhead, Math.max(minAhead, wanted)));
    return { high, low: Math.min(high - 1, Math.floor(high * 0.75)) };
  }
}

/** When a stock runs out at these rates, in milliseconds; undefined if it doesn't. */
export function exhaustionMs(keys: number, demandPerSecond: number, supplyPerSecond: number): number | undefined {
  const lossPerSecond = demandPerSecond - supplyPerSecond;
  return lossPerSecond > 0 ? (1000 * keys) / lossPerSecond : undefined;
}
