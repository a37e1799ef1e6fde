/**
 * Runs the events of a state machine in the order in which it made them, also
 * when handling one of them calls the machine again.
 */
export class EventQueue<E> {
  readonly #handle: (event: E) => void;
  readonly #waiting: E[] = [];
  #running = false;

  constructor(handle: (event: E) => void) {
    this.#handle = handle;
  }

  push(events: readonly E[]): void {
    this.#waiting.push(...events);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) this.#handle(event);
    } finally {
      this.#running = false;
    }
  }
}
