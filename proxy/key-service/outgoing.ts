/**
 * Joins what a state machine says within one turn of the event loop, or while
 * more is about to come: the results for a chunk of keys, or for several that
 * are looked up one by one, are then one record and one write, not one each.
 */

/** How long bytes wait for others that are about to come, at most. */
const WAIT_FOR_MORE_MS = 20;

export class Outgoing {
  readonly #send: (bytes: Uint8Array) => void;
  #parts: Uint8Array[] = [];
  #scheduled: NodeJS.Immediate | undefined;
  #latest: NodeJS.Timeout | undefined;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  /** `moreSoon`: more is about to come, which this waits for a moment to be joined with. */
  push(bytes: Uint8Array, moreSoon = false): void {
    this.#parts.push(bytes);
    if (moreSoon) this.#latest ??= setTimeout(() => this.flush(), WAIT_FOR_MORE_MS);
    else this.#scheduled ??= setImmediate(() => this.flush());
  }

  /** Sends now: before a connection is closed. */
  flush(): void {
    clearImmediate(this.#scheduled);
    clearTimeout(this.#latest);
    this.#scheduled = undefined;
    this.#latest = undefined;
    const parts = this.#parts;
    this.#parts = [];
    if (parts.length > 0) this.#send(parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts));
  }

  /** The connection is gone. */
  discard(): void {
    this.#parts = [];
    this.flush();
  }
}
