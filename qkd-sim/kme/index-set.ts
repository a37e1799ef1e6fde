/** A set of u32 kept as ranges, so that a stream drawn in order costs one entry however long it lives. */
export class IndexSet {
  /** Sorted, disjoint, not adjacent; both bounds belong to the range. */
  readonly #ranges: { from: number; to: number }[] = [];

  /** Ranges stored: what bounds on memory are about. */
  get rangeCount(): number {
    return this.#ranges.length;
  }

  has(index: number): boolean {
    const range = this.#ranges[this.#firstEndingAt(index)];
    return range !== undefined && range.from <= index;
  }

  add(index: number): void {
    if (this.has(index)) return;
    // The first range that ends at `index - 1` or later: one to grow, or the one to stand before.
    const at = this.#firstEndingAt(index - 1);
    const range = this.#ranges[at];
    if (range === undefined || range.from > index + 1) {
      this.#ranges.splice(at, 0, { from: index, to: index });
      return;
    }
    if (range.from === index + 1) {
      range.from = index;
      return;
    }
    range.to = index;
    const next = this.#ranges[at + 1];
    if (next !== undefined && next.from === index + 1) {
      range.to = next.to;
      this.#ranges.splice(at + 1, 1);
    }
  }

  /** Position of the first range whose end is at or after `index`. */
  #firstEndingAt(index: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ranges[middle] as { to: number }).to < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
