/** Connections of one service that want a key for a rekey and found none: served in order as keys come. */

/** Something that wants a key. */
export interface KeySeeker {
  readonly peerSae: string;
  /** Takes a key if there is one: `no-key` if there is none for this peer, `later` if it can't use one just now. */
  trySeek(): 'started' | 'no-key' | 'later';
}

/** How often the pool is looked at: memory only. */
const LOOK_EVERY_MS = 250;

export class RekeyQueue {
  readonly #seekers = new Set<KeySeeker>();
  #timer: NodeJS.Timeout | undefined;

  get size(): number {
    return this.#seekers.size;
  }

  add(seeker: KeySeeker): void {
    this.#seekers.add(seeker);
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  remove(seeker: KeySeeker): void {
    this.#seekers.delete(seeker);
    if (this.#seekers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const without = new Set<string>();
    for (const seeker of [...this.#seekers]) {
      if (without.has(seeker.peerSae)) continue;
      switch (seeker.trySeek()) {
        case 'started':
          this.remove(seeker);
          break;
        case 'no-key':
          without.add(seeker.peerSae);
          break;
        case 'later':
          break;
      }
    }
  }
}
