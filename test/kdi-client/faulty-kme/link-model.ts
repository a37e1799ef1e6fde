import { createHash } from 'node:crypto';

/**
 * What the two key managers of a link share: which keys the drawer's one has
 * handed out, and which of them the answerer's one still holds. A key's name
 * is `KSID/index` for 004 and its ID, in lower-case hex, for the others.
 */
export class LinkModel {
  /** Keys that the drawer's key manager can still hand out. */
  available = Number.POSITIVE_INFINITY;
  readonly #held = new Map<string, Uint8Array>();
  readonly #drawn = new Set<string>();
  /** Keys whose delivery the tool itself destroyed after they were spent, at either end. */
  readonly lost = new Set<string>();

  /** A new key under this name, `undefined` if it had one before, or none is left. */
  draw(name: string, lengthBytes: number): Uint8Array | undefined {
    if (this.#drawn.has(name) || this.available <= 0) return undefined;
    this.available--;
    this.#drawn.add(name);
    const parts: Uint8Array[] = [];
    for (let at = 0; at < lengthBytes; at += 32) {
      parts.push(createHash('sha256').update(`${name}:${at}`).digest());
    }
    const key = Uint8Array.from(Buffer.concat(parts).subarray(0, lengthBytes));
    this.#held.set(name, key);
    return Uint8Array.from(key);
  }

  /** The key at the other end, once. */
  fetch(name: string): Uint8Array | undefined {
    const key = this.#held.get(name);
    this.#held.delete(name);
    return key;
  }

  holds(name: string): boolean {
    return this.#held.has(name);
  }

  /** Names of the keys that were drawn and can still be fetched. */
  get held(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** The answerer's key manager has lost its memory. */
  forgetHeld(): void {
    for (const name of this.#held.keys()) this.lost.add(name);
    this.#held.clear();
  }
}
