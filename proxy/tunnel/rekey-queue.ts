/**
 * Connections of one service that want a key for a rekey and found none: served
 * in order when keys come, of which the keys' keeper tells. Without a key
 * manager none ever come: then nobody waits, and nothing runs.
 */
import type { ClientKeys } from './settings.ts';

/** Something that wants a key. */
export interface KeySeeker {
  readonly peerSae: string;
  /**
   * Takes a key if there is one: `no-key` if there is none for this peer, and
   * `laterMs` if it can't use one before that time has passed.
   */
  trySeek(): 'started' | 'no-key' | { readonly laterMs: number };
}

export class RekeyQueue {
  readonly #onKeys: ClientKeys['onKeys'];
  readonly #seekers = new Set<KeySeeker>();
  #stopListening: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lookAtMs = Number.POSITIVE_INFINITY;

  constructor({ onKeys }: Pick<ClientKeys, 'onKeys'>) {
    this.#onKeys = onKeys;
  }

  get size(): number {
    return this.#seekers.size;
  }

  add(seeker: KeySeeker): void {
    if (this.#onKeys === undefined) return;
    this.#seekers.add(seeker);
    this.#stopListening ??= this.#onKeys(() => this.#lookIn(0));
    this.#lookIn(0);
  }

  remove(seeker: KeySeeker): void {
    if (!this.#seekers.delete(seeker) || this.#seekers.size > 0) return;
    this.#stopListening?.();
    this.#stopListening = undefined;
    clearTimeout(this.#timer);
    this.#lookAtMs = Number.POSITIVE_INFINITY;
  }

  /** Once for whatever comes together, and never from inside of who tells. */
  #lookIn(ms: number): void {
    const atMs = performance.now() + ms;
    if (atMs >= this.#lookAtMs) return;
    this.#lookAtMs = atMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    this.#lookAtMs = Number.POSITIVE_INFINITY;
    const without = new Set<string>();
    for (const seeker of [...this.#seekers]) {
      if (without.has(seeker.peerSae)) continue;
      const outcome = seeker.trySeek();
      if (outcome === 'started') this.remove(seeker);
      else if (outcome === 'no-key') without.add(seeker.peerSae);
      else this.#lookIn(outcome.laterMs);
    }
  }
}
