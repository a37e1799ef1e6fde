import type { Etsi004Qos } from '../../kdi-client/wire/index.ts';
import type { SharedKey } from '../stores/index.ts';
import { IndexSet } from './index-set.ts';

/** Chunks that may wait for one application while the other draws ahead. */
const MAX_WAITING_CHUNKS = 1024;
/** Gaps that an application may leave in the indices it draws. */
const MAX_INDEX_RANGES = 1024;

/** Whether one of the two applications has opened the stream. `lost`: its key manager forgot it. */
export type Attachment = 'not-yet' | 'open' | 'closed' | 'lost';

interface Waiting {
  readonly shared: SharedKey;
  readonly cancelExpiry: () => void;
}

/**
 * One key manager's side of a 004 key stream. Every index gets key at most
 * once and gives it out at most once: a chunk is waiting, then spent.
 */
export class KeyStream {
  readonly ksid: string;
  readonly localSaeId: string;
  readonly remoteSaeId: string;
  readonly remoteKmeId: string;
  /** Until both sides have opened, a tie with the other key manager may change these two. */
  ownerKmeId: string;
  qos: Etsi004Qos;
  local: Attachment = 'not-yet';
  remote: Attachment = 'not-yet';
  lastUsedAtMs = 0;
  /** Stops the timer that ends a half-closed stream. */
  cancelEnd: (() => void) | undefined;
  /** Indices being delivered to, or reserved for, at present. */
  readonly delivering = new Set<number>();
  readonly assigning = new Map<number, Promise<'assigned' | 'insufficient' | 'refused'>>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #spent = new IndexSet();
  readonly #changed = new Set<() => void>();

  constructor(
    identity: Pick<KeyStream, 'ksid' | 'localSaeId' | 'remoteSaeId' | 'remoteKmeId'>,
    ownerKmeId: string,
    qos: Etsi004Qos,
  ) {
    this.ksid = identity.ksid;
    this.localSaeId = identity.localSaeId;
    this.remoteSaeId = identity.remoteSaeId;
    this.remoteKmeId = identity.remoteKmeId;
    this.ownerKmeId = ownerKmeId;
    this.qos = qos;
  }

  /** Whether key may be assigned to `index`: it never was, and there is room to remember that it is. */
  isFree(index: number): boolean {
    return (
      !this.#waiting.has(index) &&
      !this.#spent.has(index) &&
      this.#waiting.size + this.assigning.size < MAX_WAITING_CHUNKS &&
      this.#spent.rangeCount < MAX_INDEX_RANGES
    );
  }

  isSpent(index: number): boolean {
    return this.#spent.has(index);
  }

  waiting(index: number): SharedKey | undefined {
    return this.#waiting.get(index)?.shared;
  }

  /** Keeps a chunk for the local application; `cancelExpiry` stops its TTL. */
  keep(index: number, shared: SharedKey, cancelExpiry: () => void): void {
    this.#waiting.set(index, { shared, cancelExpiry });
    this.notify();
  }

  /** Takes a chunk out for good. The caller wipes it. */
  spend(index: number): SharedKey | undefined {
    const waiting = this.#waiting.get(index);
    if (waiting === undefined) return undefined;
    waiting.cancelExpiry();
    this.#waiting.delete(index);
    this.#spent.add(index);
    return waiting.shared;
  }

  /** Wipes all that waits. */
  wipe(): void {
    for (const index of [...this.#waiting.keys()]) this.spend(index)?.key.wipe();
  }

  /** Calls back when the stream changes in any way that a waiting call may want to know. */
  onChange(listener: () => void): () => void {
    this.#changed.add(listener);
    return () => this.#changed.delete(listener);
  }

  notify(): void {
    for (const listener of [...this.#changed]) listener();
  }
}
