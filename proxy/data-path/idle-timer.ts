/**
 * Finds out that nothing has moved for a while. Not the socket's own time-out:
 * rekeys keep that one from ever firing, and they are nobody's data.
 */

/** What tells whether something moves. */
export interface Movement {
  /** Application bytes of both directions so far. */
  readonly dataBytes: number;
  /** Bytes that wait to be sent: as long as they become fewer, somebody reads. */
  readonly unsentBytes: number;
}

export class IdleTimer {
  readonly #movement: Movement;
  readonly #onIdle: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(movement: Movement, onIdle: () => void) {
    this.#movement = movement;
    this.#onIdle = onIdle;
  }

  /** From now on `onIdle` is called once when nothing has moved for so long; 0 turns it off. */
  set(timeoutMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (timeoutMs > 0) this.#watch(timeoutMs, timeoutMs);
  }

  /** In steps, so that what moved at the start of one costs little time beyond the limit. */
  #watch(timeoutMs: number, leftMs: number): void {
    const { dataBytes, unsentBytes } = this.#movement;
    const stepMs = Math.min(leftMs, Math.max(MIN_STEP_MS, timeoutMs / STEPS));
    this.#timer = setTimeout(() => {
      const moved = this.#movement.dataBytes !== dataBytes || this.#movement.unsentBytes !== unsentBytes;
      const stillLeftMs = moved ? timeoutMs : leftMs - stepMs;
      if (stillLeftMs > 0) this.#watch(timeoutMs, stillLeftMs);
      else this.#onIdle();
    }, stepMs);
  }
}

const STEPS = 8;
const MIN_STEP_MS = 10;
