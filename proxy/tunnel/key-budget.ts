/**
 * How much one QKD key may protect (`rekey-after`): for how long, how many
 * bytes, and how many connections that descend from it by tickets. A live
 * connection is rekeyed in time; a ticket is worth nothing beyond it.
 */

/** Limits on what descends from one QKD key. */
export interface RekeyAfter {
  /** 0: no limit. */
  readonly timeMs: number;
  /** Application data of both directions. Absent: the AEAD's own limit, which acts by itself. */
  readonly bytes?: number;
  /** The first connection, which used the key itself, included. */
  readonly connections: number;
}

/** An hour is what IPsec gateways give a key as well; a hundred connections cost a quiet link one key. */
export const DEFAULT_REKEY_AFTER: RekeyAfter = { timeMs: 3_600_000, connections: 100 };

/** Something whose application bytes count. */
export interface DataCounter {
  readonly dataBytes: number;
}

/** One QKD key in use, and what descends from it: a connection, those resumed from its tickets, and so on. */
export class KeyDescent {
  /** What the log shows. */
  readonly keyId: string;
  /** When the key was used, on the monotonic clock. */
  readonly sinceMs: number;
  readonly #live = new Map<DataCounter, number>();
  #connections = 0;
  #bytesOfEnded = 0;

  constructor(keyId: string, sinceMs: number) {
    this.keyId = keyId;
    this.sinceMs = sinceMs;
  }

  get connections(): number {
    return this.#connections;
  }

  get bytes(): number {
    let bytes = this.#bytesOfEnded;
    for (const [counter, from] of this.#live) bytes += counter.dataBytes - from;
    return bytes;
  }

  ageMs(nowMs: number): number {
    return nowMs - this.sinceMs;
  }

  /** A connection descends from the key from now on. */
  enter(counter: DataCounter): void {
    this.#connections++;
    this.#live.set(counter, counter.dataBytes);
  }

  /** It is over, or has another key. */
  leave(counter: DataCounter): void {
    const from = this.#live.get(counter);
    if (from === undefined) return;
    this.#live.delete(counter);
    this.#bytesOfEnded += counter.dataBytes - from;
  }
}

/** Whether another connection may descend from a key. */
export function admitsDescendant(
  { timeMs, bytes, connections }: RekeyAfter,
  descent: KeyDescent,
  nowMs: number,
): boolean {
  return (
    (timeMs === 0 || descent.ageMs(nowMs) < timeMs) &&
    (bytes === undefined || descent.bytes < bytes) &&
    descent.connections < connections
  );
}

/** How long tickets that descend from a key are good for. */
export function ticketLifetimeMs({ timeMs }: RekeyAfter, descent: KeyDescent, nowMs: number): number {
  return timeMs === 0 ? Number.POSITIVE_INFINITY : timeMs - descent.ageMs(nowMs);
}
