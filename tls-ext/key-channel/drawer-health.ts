import { HEALTHY_ACKED_KEYS, MISMATCHES_UNTIL_KME_QUARANTINE } from './limits.ts';

export interface BackOff {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Whether the two KMEs give equal keys, as far as the drawer has seen: counts
 * mismatches in a row and decides on the quarantine of the KME and on how long
 * to wait. One agreeing key ends a quarantine, but only many of them the
 * "row": KMEs that agree on each stream's first key and on no other must not
 * start afresh without delay for ever.
 */
export class DrawerHealth {
  readonly #backOff: BackOff;
  #mismatchesInARow = 0;
  #ackedSinceMismatch = 0;
  #failuresInARow = 0;
  #kmeQuarantined = false;

  constructor(backOff: BackOff) {
    this.#backOff = backOff;
  }

  get mismatchesInARow(): number {
    return this.#mismatchesInARow;
  }

  get kmeQuarantined(): boolean {
    return this.#kmeQuarantined;
  }

  /** Returns the delay before the next try, and whether the KME's quarantine begins now. */
  mismatch(): { delayMs: number; quarantineBegins: boolean } {
    this.#mismatchesInARow++;
    this.#ackedSinceMismatch = 0;
    const quarantineBegins = !this.#kmeQuarantined && this.#mismatchesInARow >= MISMATCHES_UNTIL_KME_QUARANTINE;
    if (quarantineBegins) this.#kmeQuarantined = true;
    return { delayMs: this.#delayMs(this.#mismatchesInARow), quarantineBegins };
  }

  /** Returns whether the KME's quarantine ends now. */
  acked(): boolean {
    this.#ackedSinceMismatch++;
    if (this.#kmeQuarantined) {
      this.#kmeQuarantined = false;
      // One more mismatch, and it begins again.
      this.#mismatchesInARow = MISMATCHES_UNTIL_KME_QUARANTINE - 1;
      return true;
    }
    if (this.#ackedSinceMismatch >= HEALTHY_ACKED_KEYS) this.#mismatchesInARow = 0;
    return false;
  }

  /** A stream was not opened, or lost. Returns the delay before the next try. */
  streamFailed(): number {
    return this.#delayMs(++this.#failuresInARow);
  }

  streamOpened(): void {
    this.#failuresInARow = 0;
  }

  #delayMs(attempt: number): number {
    return Math.min(this.#backOff.minMs * 2 ** Math.min(attempt - 1, 30), this.#backOff.maxMs);
  }
}
