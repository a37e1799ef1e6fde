import { SecretBytes } from '../../tls-ext/bytes/index.ts';

/** Key bytes with the time at which the oldest of them was deposited. */
export interface TakenKey {
  readonly key: SecretBytes;
  readonly depositedAtMs: number;
}

interface Segment {
  readonly position: number;
  readonly bytes: Uint8Array;
  readonly depositedAtMs: number;
}

/**
 * A queue of key bytes in which each byte has a position that is never used
 * again: the two ends of a link name key by position and never by content.
 *
 * What is taken or discarded is zeroed in place. Positions may be taken out of
 * order, since reservations of the other end may overtake each other.
 */
export class KeyBuffer {
  #segments: Segment[] = [];
  #endPosition = 0;
  #heldBytes = 0;

  /** Bytes held at present. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The position that the next appended byte gets. */
  get endPosition(): number {
    return this.#endPosition;
  }

  /** Appends a copy of `bytes`; the caller keeps, and wipes, its own. */
  append(bytes: Uint8Array, depositedAtMs: number): void {
    if (bytes.length === 0) return;
    this.#segments.push({ position: this.#endPosition, bytes: Uint8Array.from(bytes), depositedAtMs });
    this.#endPosition += bytes.length;
    this.#heldBytes += bytes.length;
  }

  /** Takes `lengthBytes` at `position` out; `undefined`, and nothing changed, unless all of them are held. */
  take(position: number, lengthBytes: number): TakenKey | undefined {
    const end = position + lengthBytes;
    const touched = this.#segments.filter((s) => s.position < end && s.position + s.bytes.length > position);
    let covered = position;
    for (const segment of touched) {
      if (segment.position > covered) return undefined;
      covered = segment.position + segment.bytes.length;
    }
    if (lengthBytes <= 0 || covered < end) return undefined;
    const key = new Uint8Array(lengthBytes);
    for (const segment of touched) {
      const from = Math.max(position, segment.position);
      const to = Math.min(end, segment.position + segment.bytes.length);
      key.set(segment.bytes.subarray(from - segment.position, to - segment.position), from - position);
    }
    this.#erase(position, end);
    return { key: new SecretBytes(key), depositedAtMs: Math.min(...touched.map((s) => s.depositedAtMs)) };
  }

  /** Puts back what was just taken at `position`, and wipes `taken`. Nothing else may be held there. */
  putBack(position: number, taken: TakenKey): void {
    const bytes = Uint8Array.from(taken.key.expose());
    taken.key.wipe();
    this.#segments.push({ position, bytes, depositedAtMs: taken.depositedAtMs });
    this.#segments.sort((one, other) => one.position - other.position);
    this.#heldBytes += bytes.length;
  }

  /** Wipes whatever is still held below `position`. */
  discardBelow(position: number): void {
    if (this.#segments.length > 0 && (this.#segments[0] as Segment).position < position) this.#erase(0, position);
  }

  /** Wipes everything. Positions go on from where they were. */
  clear(): void {
    this.#erase(0, this.#endPosition);
  }

  #erase(from: number, to: number): void {
    const kept: Segment[] = [];
    for (const segment of this.#segments) {
      const { position, bytes, depositedAtMs } = segment;
      const end = position + bytes.length;
      if (end <= from || position >= to) {
        kept.push(segment);
        continue;
      }
      const head = bytes.subarray(0, Math.max(0, from - position));
      const tail = bytes.subarray(Math.min(bytes.length, to - position));
      bytes.subarray(head.length, bytes.length - tail.length).fill(0);
      this.#heldBytes -= bytes.length - head.length - tail.length;
      if (head.length > 0) kept.push({ position, bytes: head, depositedAtMs });
      if (tail.length > 0) kept.push({ position: to, bytes: tail, depositedAtMs });
    }
    this.#segments = kept;
  }
}
