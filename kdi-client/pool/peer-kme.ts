/**
 * Whether the peer gets keys from its KME, as far as is known here: it says so,
 * and each key that it has or can't have tells. Where it gets none, its KME may
 * be lost while ours is well, and the keys of another one of ours may do.
 */
import type { Clock } from '../clock.ts';
import { Backoff } from './backoff.ts';

/** What a peer that can't get keys is given to recover, before another KME is tried; doubles until a key agrees. */
const PATIENCE = { firstMs: 4_000, maxMs: 60_000 } as const;

export interface PeerKmeOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Whether the peer still has to say something about a key of the KME that is drawn from. */
  readonly keyAwaited: () => boolean;
  /** The peer has had no key for long enough: draw from another KME, if there is one. */
  readonly onLost: () => void;
}

export class PeerKme {
  readonly #options: PeerKmeOptions;
  readonly #patience: Backoff;
  #reachable = true;
  #cancelWait: (() => void) | undefined;

  constructor(options: PeerKmeOptions) {
    this.#options = options;
    this.#patience = new Backoff({ ...PATIENCE, random: options.random });
  }

  /** False: keys are drawn for it one at a time, until it has one. */
  get reachable(): boolean {
    return this.#reachable;
  }

  /** It is said to be. A wait that has begun goes on: only a key shows that it has keys of the KME that is drawn from. */
  saidReachable(): void {
    this.#reachable = true;
  }

  saidUnreachable(): void {
    this.#reachable = false;
    this.keyAnnounced();
  }

  /** A key was announced to it. */
  keyAnnounced(): void {
    if (this.#reachable || this.#cancelWait !== undefined || !this.#options.keyAwaited()) return;
    this.#cancelWait = this.#options.clock.schedule(() => {
      this.#cancelWait = undefined;
      if (this.#options.keyAwaited()) this.#options.onLost();
    }, this.#patience.next());
  }

  /** It has a key of the KME that is drawn from. */
  keyAgreed(): void {
    this.#reachable = true;
    this.#patience.reset();
    this.stop();
  }

  /** Ends the wait: the channel is lost, or the pool is closed. */
  stop(): void {
    this.#cancelWait?.();
    this.#cancelWait = undefined;
  }
}
