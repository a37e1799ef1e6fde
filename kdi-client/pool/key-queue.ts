/**
 * Keys in the order in which they are offered. A list through the keys
 * themselves: joining, leaving from anywhere and looking at the first cost the
 * same with 100,000 keys as with one. (A `Set` walks over all that have left.)
 */
export interface Queued<K extends Queued<K>> {
  queue: KeyQueue<K> | undefined;
  before: K | undefined;
  after: K | undefined;
}

export class KeyQueue<K extends Queued<K>> {
  #first: K | undefined;
  #last: K | undefined;

  /** At the end. A key is in one queue at a time. */
  push(key: K): void {
    key.queue?.remove(key);
    key.queue = this;
    key.before = this.#last;
    if (this.#last === undefined) this.#first = key;
    else this.#last.after = key;
    this.#last = key;
  }

  /** Harmless if it isn't here. */
  remove(key: K): void {
    if (key.queue !== this) return;
    const { before, after } = key;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    key.queue = undefined;
    key.before = undefined;
    key.after = undefined;
  }

  /** From the first on. The key in hand may be removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<K> {
    for (let key = this.#first; key !== undefined; ) {
      const { after } = key;
      yield key;
      key = after;
    }
  }
}
