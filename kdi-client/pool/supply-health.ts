/**
 * How well a drawer is supplied with keys: failures and mismatches in a row,
 * the pause that each of them asks for, and what they mean for those who want
 * a key.
 */
import { type KdiError, KdiErrorCode } from '../errors.ts';
import { Backoff } from './backoff.ts';
import { NoKeyReason } from './drawer-pool-types.ts';

/** Quarantined streams in a row after which the KME itself is quarantined. */
const MISMATCHES_UNTIL_KME_QUARANTINE = 3;
/** Failures in a row, other than an empty KME, after which a stream is given up for a fresh one. */
const FAILURES_UNTIL_FRESH_STREAM = 5;
/** Draws that a KME denies for want of a link, after which one fresh stream is tried: it may have lost this one in a restart. */
const DENIALS_UNTIL_FRESH_STREAM_IS_TRIED = 3;
/** The same for a KME that answers, but knows of no peer or no link … */
const REFUSALS_UNTIL_FRESH_STREAM = 30;
/** … and where there is another KME, which may know of the peer that says it is there. */
const REFUSALS_UNTIL_OTHER_KME = 3;

export class SupplyHealth {
  readonly #failureBackoff: Backoff;
  readonly #emptyBackoff: Backoff;
  readonly #mismatchBackoff: Backoff;
  readonly #unavailableBackoff: Backoff;
  #lastError: KdiError | undefined;
  #mismatchesInARow = 0;
  /** Since the last draw that succeeded. */
  #denials = 0;

  /** `random`: uniform in [0, 1). */
  constructor(random: () => number) {
    this.#failureBackoff = new Backoff({ firstMs: 500, maxMs: 30_000, random });
    this.#emptyBackoff = new Backoff({ firstMs: 200, maxMs: 2_000, random });
    this.#unavailableBackoff = new Backoff({ firstMs: 200, maxMs: 30_000, random });
    this.#mismatchBackoff = new Backoff({ firstMs: 1_000, maxMs: 60_000, random });
  }

  /** The last failure of our KME, until a draw succeeds. */
  get lastError(): KdiError | undefined {
    return this.#lastError;
  }

  get mismatchesInARow(): number {
    return this.#mismatchesInARow;
  }

  get kmeQuarantined(): boolean {
    return this.#mismatchesInARow >= MISMATCHES_UNTIL_KME_QUARANTINE;
  }

  /** Our KME gave keys. */
  drew(): void {
    this.#failureBackoff.reset();
    this.#emptyBackoff.reset();
    this.#denials = 0;
    this.#lastError = undefined;
  }

  /** Opening or drawing failed. Returns the pause before the next try. */
  failed(error: KdiError): number {
    this.#lastError = error;
    if (error.code === KdiErrorCode.noQkdConnection) this.#denials++;
    return (isEmptiness(error) ? this.#emptyBackoff : this.#failureBackoff).next();
  }

  /** The peer gave a stream up, or its KME lost it. Returns the pause before the next one. */
  streamLost(): number {
    return this.#failureBackoff.next();
  }

  /** The peer has the same key. */
  agreed(): void {
    this.#mismatchesInARow = 0;
    this.#mismatchBackoff.reset();
    this.#unavailableBackoff.reset();
  }

  /** The peer can't get a key. Returns the pause before others are drawn. */
  unavailable(): number {
    return this.#unavailableBackoff.next();
  }

  /** The peer has another key. Returns the pause before the next try. */
  mismatched(): number {
    this.#mismatchesInARow++;
    return this.#mismatchBackoff.next();
  }

  /** Whether the failures so far, of which `error` is the last, make a fresh stream worth a try. */
  streamIsDoubtful(error: KdiError): boolean {
    return (
      // A KSID that was not fresh: the indices that follow may have been given before as well.
      error.code === KdiErrorCode.duplicateKey ||
      this.#failureBackoff.failures >= FAILURES_UNTIL_FRESH_STREAM ||
      (error.code === KdiErrorCode.noQkdConnection && this.#denials === DENIALS_UNTIL_FRESH_STREAM_IS_TRIED) ||
      (isRefusal(error) && this.#emptyBackoff.failures >= REFUSALS_UNTIL_FRESH_STREAM)
    );
  }

  /** The same for a stream at another KME. */
  kmeIsDoubtful(error: KdiError): boolean {
    return isRefusal(error) && this.#emptyBackoff.failures >= REFUSALS_UNTIL_OTHER_KME;
  }

  /** What the last failure of our KME means for those who want a key. */
  get failureReason(): NoKeyReason | undefined {
    if (this.#lastError === undefined) return undefined;
    return isEmptiness(this.#lastError) ? NoKeyReason.poolEmpty : NoKeyReason.kmeUnreachable;
  }
}

/** A KME that merely has no key keeps its streams; one that denies the connection may have lost them, or never had the peer's. */
function isRefusal(error: KdiError): boolean {
  return error.code === KdiErrorCode.noQkdConnection || error.code === KdiErrorCode.peerNotConnected;
}

/** The KME works, but has no key just now. */
function isEmptiness(error: KdiError): boolean {
  return (
    error.code === KdiErrorCode.insufficientKey ||
    error.code === KdiErrorCode.kmeTimeout ||
    error.code === KdiErrorCode.noQkdConnection ||
    error.code === KdiErrorCode.peerNotConnected
  );
}
