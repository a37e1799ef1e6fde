import type { Clock } from '../kernel/clock.ts';
import { LinkEnd, type ReservationPort } from './link-end.ts';

export interface LinkStoresOptions {
  /** Capacity of each direction in bytes. */
  readonly capacityBytesPerDirection: number;
  readonly clock: Clock;
  readonly ackTimeoutMs?: number;
  /** Trusted nodes between the ends; 0 on a direct link. */
  readonly hops?: number;
}

/** Blocks are divided between the directions in units of this, so that keys are rarely pieced together from two deposits. */
const SPLIT_UNIT_BYTES = 16;

/** What became of one deposit, in bytes. */
export interface Deposit {
  readonly storedAToB: number;
  readonly storedBToA: number;
  /** Had no room and was not kept at either end. */
  readonly dropped: number;
}

/** The key stores at both ends of one link. */
export interface LinkStores<Purpose> {
  readonly a: LinkEnd<Purpose>;
  readonly b: LinkEnd<Purpose>;
  /**
   * Stores a block's key: `aliceKey` at end a, `bobKey` at end b, the same
   * part of it for the same direction, the emptier direction first. Borrows
   * both; the caller wipes them.
   */
  deposit(aliceKey: Uint8Array, bobKey: Uint8Array): Deposit;
  /** Whether neither direction has room left. */
  readonly full: boolean;
  /** Wipes both ends, as when a key manager lost its store. */
  reset(): void;
}

/** Two joined ends in one process, whose keys say that they are simulated. */
export function createLinkStores<Purpose>(options: LinkStoresOptions): LinkStores<Purpose> {
  const endOptions = {
    capacityBytes: options.capacityBytesPerDirection,
    clock: options.clock,
    provenance: { simulated: true, hops: options.hops ?? 0 },
    ...(options.ackTimeoutMs === undefined ? {} : { ackTimeoutMs: options.ackTimeoutMs }),
  };
  const a = new LinkEnd<Purpose>(endOptions);
  const b = new LinkEnd<Purpose>(endOptions);
  a.connect(portTo(b));
  b.connect(portTo(a));
  return {
    a,
    b,
    deposit(aliceKey, bobKey) {
      if (aliceKey.length !== bobKey.length) throw new RangeError('the ends have key of different lengths');
      const { aToB, bToA } = split(aliceKey.length, a.level(), b.level());
      a.deposit(aliceKey.subarray(0, aToB), aliceKey.subarray(aToB, aToB + bToA));
      b.deposit(bobKey.subarray(aToB, aToB + bToA), bobKey.subarray(0, aToB));
      return { storedAToB: aToB, storedBToA: bToA, dropped: aliceKey.length - aToB - bToA };
    },
    get full() {
      return room(a.level()) === 0 && room(b.level()) === 0;
    },
    reset() {
      a.reset();
      b.reset();
    },
  };
}

/** A port that calls the other end directly. Replies come later, as over a network. */
export function portTo<Purpose>(end: LinkEnd<Purpose>): ReservationPort<Purpose> {
  return {
    reserve: async (request) => end.acceptReserve(request),
    confirm: (id) => end.acceptConfirm(id),
    void: (id) => end.acceptVoid(id),
  };
}

type Level = { readonly availableBytes: number; readonly capacityBytes: number };

function room(level: Level): number {
  return Math.max(0, level.capacityBytes - level.availableBytes);
}

function wholeUnits(lengthBytes: number): number {
  return SPLIT_UNIT_BYTES * Math.ceil(lengthBytes / SPLIT_UNIT_BYTES);
}

/** Levels the two directions as far as their capacities allow. */
function split(lengthBytes: number, aToB: Level, bToA: Level): { aToB: number; bToA: number } {
  const even = wholeUnits((lengthBytes + bToA.availableBytes - aToB.availableBytes) / 2);
  let forA = Math.min(Math.max(0, even), lengthBytes, room(aToB));
  const forB = Math.min(lengthBytes - forA, room(bToA));
  forA = Math.min(lengthBytes - forB, room(aToB));
  return { aToB: forA, bToA: forB };
}
