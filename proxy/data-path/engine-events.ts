/**
 * The events of an engine in the order in which they came, also where the
 * handler of one calls the engine again: what comes of that call is handled
 * behind the events that were there already, never in between.
 */
import type { EngineEvent } from '../../tls-ext/index.ts';

export class EngineEvents {
  readonly #handle: (event: EngineEvent) => void;
  readonly #waiting: EngineEvent[] = [];
  #next = 0;
  #handling = false;

  constructor(handle: (event: EngineEvent) => void) {
    this.#handle = handle;
  }

  /** Events are being handled, further up in the call stack. */
  get handling(): boolean {
    return this.#handling;
  }

  /**
   * Handles these and what their handlers add, or leaves that to the call
   * further up. Returns whether all are handled now. Throws what a handler
   * throws, and then nothing waits any more but what `drop` is for.
   */
  handle(events: readonly EngineEvent[]): boolean {
    this.#waiting.push(...events);
    if (this.#handling) return false;
    this.#handling = true;
    try {
      while (this.#next < this.#waiting.length) this.#handle(this.#waiting[this.#next++] as EngineEvent);
      this.#waiting.length = 0;
      this.#next = 0;
    } finally {
      this.#handling = false;
    }
    return true;
  }

  /** Nobody will look at what still waits; its memory goes back. */
  drop(): void {
    for (const event of this.#waiting.slice(this.#next)) {
      if (event.type === 'plaintext' || event.type === 'write') event.release?.();
    }
    this.#waiting.length = this.#next;
  }
}
