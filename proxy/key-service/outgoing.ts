/**
 * Joins what a state machine says within one turn of the event loop: the
 * results for a chunk of keys are then one record and one write, not one each.
 */
export class Outgoing {
  readonly #send: (bytes: Uint8Array) => void;
  #parts: Uint8Array[] = [];
  #scheduled: NodeJS.Immediate | undefined;

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send;
  }

  push(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#scheduled ??= setImmediate(() => this.flush());
  }

  /** Sends now: before a connection is closed. */
  flush(): void {
    clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
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
