/** One of several KMEs: its client, and how it has been doing. */
import type { Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import type { KeySource } from '../key-source.ts';
import { type BreakerState, CircuitBreaker, isKmeFault } from './circuit-breaker.ts';

export type FailoverEvent =
  /** A call failed for a fault of the KME. `state`: of its circuit, after it. */
  | { readonly type: 'kme-failed'; readonly kme: string; readonly error: KdiError; readonly state: BreakerState }
  /** It works again, after it had been rested. */
  | { readonly type: 'kme-restored'; readonly kme: string }
  /** It serves from now on, instead of another one. */
  | { readonly type: 'kme-chosen'; readonly kme: string };

export interface MemberOptions {
  readonly source: KeySource;
  readonly weight: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onEvent: (event: FailoverEvent) => void;
}

export class Member {
  readonly source: KeySource;
  readonly weight: number;
  readonly breaker: CircuitBreaker;
  readonly #options: MemberOptions;
  #blamedUntilMs = Number.NEGATIVE_INFINITY;
  #timesBlamed = 0;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.source = options.source;
    this.weight = options.weight;
    this.breaker = new CircuitBreaker(options);
  }

  /** Whether peers could use what came from it, as far as is known. */
  get blamed(): boolean {
    return this.#options.clock.now() < this.#blamedUntilMs;
  }

  /** Grows: a stream that was opened before the last time is of no use. */
  get timesBlamed(): number {
    return this.#timesBlamed;
  }

  blame(forMs: number): void {
    this.#timesBlamed++;
    this.#blamedUntilMs = this.#options.clock.now() + forMs;
  }

  /** Makes a call, unless the KME is being rested; the outcome counts for its health. Rejects with its error, or `ERR_KDI_CIRCUIT_OPEN`. */
  async call<T>(call: () => Promise<T>): Promise<T> {
    const { breaker, source } = this;
    if (!breaker.admit()) {
      throw new KdiError(KdiErrorCode.circuitOpen, `KME ${source.kme} failed and is being rested`);
    }
    const rested = breaker.state !== 'closed';
    try {
      const result = await call();
      breaker.record();
      if (rested) this.#options.onEvent({ type: 'kme-restored', kme: source.kme });
      return result;
    } catch (error) {
      breaker.record(error);
      if (isKdiError(error) && isKmeFault(error) && error.code !== KdiErrorCode.aborted) {
        this.#options.onEvent({ type: 'kme-failed', kme: source.kme, error, state: breaker.state });
      }
      throw error;
    }
  }
}

/** The error that says most, of equals the last: a KME that failed may be the one that has the key; a not-found says less. */
export function tellingError(errors: readonly unknown[]): unknown {
  const rank = (error: unknown): number => {
    if (isKdiError(error, KdiErrorCode.circuitOpen)) return 2;
    return isKdiError(error) && !isKmeFault(error) ? 1 : 0;
  };
  return [...errors].reverse().sort((a, b) => rank(a) - rank(b))[0];
}
