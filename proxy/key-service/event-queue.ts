/**
 * Drives a state machine: runs its events in the order in which it made them,
 * also when handling one of them calls the machine again. What is thrown on
 * the way is a bug; it ends the connection of the moment and not the process.
 */
export class EventQueue<E> {
  readonly #handle: (event: E) => void;
  readonly #onBug: (error: unknown) => void;
  readonly #waiting: E[] = [];
  #running = false;

  constructor(handle: (event: E) => void, onBug: (error: unknown) => void) {
    this.#handle = handle;
    this.#onBug = onBug;
  }

  /** Calls the machine and handles what comes of it. */
  run(call: () => readonly E[]): void {
    try {
      this.#waiting.push(...call());
      if (this.#running) return;
      this.#running = true;
      for (let event = this.#waiting.shift(); event !== undefined; event = this.#waiting.shift()) this.#handle(event);
      this.#running = false;
    } catch (error) {
      this.#running = false;
      this.#waiting.length = 0;
      this.#onBug(error);
    }
  }
}
