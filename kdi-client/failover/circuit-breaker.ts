/** Rests a KME that fails, and tries it with one real request at a time: no bare TCP connects, some servers die of them. */
import type { Clock } from '../clock.ts';
import { isKdiError, KdiErrorCode } from '../errors.ts';
import type { KdiApi } from '../key-source.ts';
import { Backoff } from '../pool/backoff.ts';

export type BreakerState = 'closed' | 'open' | 'half-open';

export interface BreakerOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Failures in a row after which it opens (default 3). */
  readonly failureThreshold?: number;
  /** First and longest rest (defaults 1 s and 60 s). */
  readonly firstRestMs?: number;
  readonly maxRestMs?: number;
}

export class CircuitBreaker {
  readonly #options: BreakerOptions;
  readonly #backoff: Backoff;
  #failuresInARow = 0;
  #openUntilMs: number | undefined;
  #trialRunning = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
    const { firstRestMs: firstMs = 1_000, maxRestMs: maxMs = 60_000, random } = options;
    this.#backoff = new Backoff({ firstMs, maxMs, random });
  }

  get state(): BreakerState {
    if (this.#openUntilMs === undefined) return 'closed';
    return this.#options.clock.now() >= this.#openUntilMs ? 'half-open' : 'open';
  }

  get failuresInARow(): number {
    return this.#failuresInARow;
  }

  /** Whether a request may be made now; in `half-open` only one at a time. After a yes, `record` its outcome. */
  admit(): boolean {
    const { state } = this;
    if (state === 'closed') return true;
    if (state === 'open' || this.#trialRunning) return false;
    this.#trialRunning = true;
    return true;
  }

  /** The outcome of a request: `error` undefined for success. */
  record(error?: unknown): void {
    this.#trialRunning = false;
    if (isKdiError(error, KdiErrorCode.aborted)) return;
    if (error === undefined || !isKmeFault(error)) {
      this.#failuresInARow = 0;
      this.#openUntilMs = undefined;
      this.#backoff.reset();
      return;
    }
    this.#failuresInARow++;
    const { clock, failureThreshold = 3 } = this.#options;
    // Of many calls that were under way together, those that end after it opened say nothing new: no longer rest for them.
    if (this.#failuresInARow < failureThreshold || this.state === 'open') return;
    this.#openUntilMs = clock.now() + this.#backoff.next();
  }
}

const NO_FAULTS: ReadonlySet<KdiErrorCode> = new Set([
  // The KME works; it has no key, or no peer, for the moment.
  KdiErrorCode.insufficientKey,
  KdiErrorCode.peerNotConnected,
  KdiErrorCode.kmeTimeout,
  KdiErrorCode.keyNotFound,
  // Ours.
  KdiErrorCode.stream,
  KdiErrorCode.quota,
  KdiErrorCode.config,
  KdiErrorCode.ledger,
]);

/** Whether an error says that the KME itself is unfit, so that another one would do better. */
export function isKmeFault(error: unknown): boolean {
  return !isKdiError(error) || !NO_FAULTS.has(error.code);
}

/**
 * The same of a look-up. What is asked for by its ID was drawn before: that
 * none is available, as SKIP's 503 is read, is no word on it. A 004 stream may
 * run dry.
 */
export function isLookupFault(error: unknown, api: KdiApi): boolean {
  return isKmeFault(error) || (api !== 'etsi004' && isKdiError(error, KdiErrorCode.insufficientKey));
}
