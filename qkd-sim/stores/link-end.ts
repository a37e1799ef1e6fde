/**
 * One end of a link's key store, and the reservation protocol between the two.
 *
 * The store is split by direction: each end allocates only from its outbound
 * buffer, of which the other end keeps the copy (its inbound buffer), so that
 * both may draw at once without ever naming the same bits. A reservation
 * follows the pattern of ETSI GS QKD 020 (ext_keys, ack, void):
 *
 *   allocator                         other end
 *     reserve(position, purpose)  →     takes the bytes aside
 *                                 ←   acknowledged | refused | missing
 *     confirm                     →     hands them to its receiver
 *   or, unless acknowledged in time,
 *     void                        →     wipes them
 *
 * A refusal means that nothing was taken, so the allocator keeps the bytes;
 * otherwise it never names a position again.
 *
 * The allocator uses only what was acknowledged and the other end only what was
 * confirmed. So a lost message can cost key, but can't make the ends differ.
 */
import type { Clock } from '../kernel/clock.ts';
import { KeyBuffer, type TakenKey } from './key-buffer.ts';
import type { KeyProvenance, KeyReceiver, KeySupply, Reservation, StoreLevel } from './key-supply.ts';

/** How long an end waits for an acknowledgement unless told otherwise. */
export const DEFAULT_ACK_TIMEOUT_MS = 2_000;
/** Bytes held for unconfirmed reservations of the other end wait this many acknowledgement time-outs. */
const CONFIRM_PATIENCE = 2;

/** Names bytes of the sender's outbound buffer and what they are for. */
export interface ReserveRequest<Purpose> {
  /** Unique per sender, so that a late confirm can't be taken for another reservation's. */
  readonly id: number;
  /** Both ends count resets; requests from before one are refused. */
  readonly epoch: number;
  readonly position: number;
  readonly lengthBytes: number;
  /** The sender will name nothing below this position any more. */
  readonly discardBelow: number;
  readonly purpose: Purpose;
}

/** `refused`: not wanted here, and nothing was taken. `missing`: these bytes are not here. */
export type ReserveReply = 'acknowledged' | 'refused' | 'missing';

/** The other end, as reservations reach it. Messages may be lost or late; both are safe. */
export interface ReservationPort<Purpose> {
  reserve(request: ReserveRequest<Purpose>): Promise<ReserveReply>;
  confirm(id: number): void;
  void(id: number): void;
}

export interface LinkEndOptions {
  /** Capacity of the outbound direction. */
  readonly capacityBytes: number;
  readonly clock: Clock;
  readonly provenance: KeyProvenance;
  readonly ackTimeoutMs?: number;
}

export class LinkEnd<Purpose> implements KeySupply<Purpose> {
  readonly provenance: KeyProvenance;
  readonly #clock: Clock;
  readonly #capacityBytes: number;
  readonly #ackTimeoutMs: number;
  readonly #outbound = new KeyBuffer();
  readonly #inbound = new KeyBuffer();
  readonly #depositListeners = new Set<() => void>();
  /** Positions of this end's reservations that are not settled, by id. */
  readonly #unsettled = new Map<number, number>();
  /** The other end's reservations that it has not confirmed. */
  readonly #unconfirmed = new Map<number, { purpose: Purpose; taken: TakenKey; cancel: () => void }>();
  #port: ReservationPort<Purpose> | undefined;
  #receiver: KeyReceiver<Purpose> | undefined;
  #nextId = 0;
  #nextPosition = 0;
  #epoch = 0;

  constructor(options: LinkEndOptions) {
    this.#clock = options.clock;
    this.#capacityBytes = options.capacityBytes;
    this.#ackTimeoutMs = options.ackTimeoutMs ?? DEFAULT_ACK_TIMEOUT_MS;
    this.provenance = options.provenance;
  }

  /** Joins this end to the other. */
  connect(port: ReservationPort<Purpose>): void {
    this.#port = port;
  }

  setReceiver(receiver: KeyReceiver<Purpose>): void {
    this.#receiver = receiver;
  }

  level(): StoreLevel {
    return { availableBytes: this.#outbound.heldBytes, capacityBytes: this.#capacityBytes };
  }

  inboundHeldBytes(): number {
    return this.#inbound.heldBytes;
  }

  onDeposit(listener: () => void): () => void {
    this.#depositListeners.add(listener);
    return () => this.#depositListeners.delete(listener);
  }

  /** Adds copies of new key to both directions. Who deposits sees to it that the other end gets the same. */
  deposit(outbound: Uint8Array, inbound: Uint8Array): void {
    const now = this.#clock.nowMs();
    this.#outbound.append(outbound, now);
    this.#inbound.append(inbound, now);
    for (const listener of [...this.#depositListeners]) listener();
  }

  async reserve(purpose: Purpose, lengthBytes: number): Promise<Reservation> {
    const position = this.#nextPosition;
    const port = this.#port;
    if (port === undefined) return { outcome: 'unacknowledged' };
    const taken = this.#outbound.take(position, lengthBytes);
    if (taken === undefined) return { outcome: 'insufficient' };
    const id = this.#nextId++;
    const epoch = this.#epoch;
    this.#nextPosition += lengthBytes;
    this.#unsettled.set(id, position);
    const discardBelow = Math.min(...this.#unsettled.values());
    const reply = await this.#within(port.reserve({ id, epoch, position, lengthBytes, discardBelow, purpose }));
    this.#unsettled.delete(id);
    if (reply !== 'acknowledged' || epoch !== this.#epoch) {
      const isLast = this.#nextPosition === position + lengthBytes;
      if (reply === 'refused' && isLast && epoch === this.#epoch) {
        this.#nextPosition = position;
        this.#outbound.putBack(position, taken);
      } else {
        taken.key.wipe();
        port.void(id);
      }
      return { outcome: 'unacknowledged' };
    }
    port.confirm(id);
    return { outcome: 'reserved', shared: { ...taken, provenance: this.provenance } };
  }

  /** The other end's reservation arrives. */
  acceptReserve(request: ReserveRequest<Purpose>): ReserveReply {
    if (request.epoch !== this.#epoch) return 'missing';
    this.#inbound.discardBelow(Math.min(request.discardBelow, request.position));
    if (this.#receiver?.admits(request.purpose) !== true) return 'refused';
    const taken = this.#inbound.take(request.position, request.lengthBytes);
    if (taken === undefined) return 'missing';
    const cancel = this.#clock.setTimer(CONFIRM_PATIENCE * this.#ackTimeoutMs, () => this.acceptVoid(request.id));
    this.#unconfirmed.set(request.id, { purpose: request.purpose, taken, cancel });
    return 'acknowledged';
  }

  /** The other end got the acknowledgement. */
  acceptConfirm(id: number): void {
    const reservation = this.#settle(id);
    if (reservation === undefined) return;
    const { purpose, taken } = reservation;
    if (this.#receiver === undefined) taken.key.wipe();
    else this.#receiver.receive(purpose, { ...taken, provenance: this.provenance });
  }

  /** The other end gave the reservation up. */
  acceptVoid(id: number): void {
    this.#settle(id)?.taken.key.wipe();
  }

  /** Wipes all key and forgets all reservations, as after the loss of a store. Both ends have to do it. */
  reset(): void {
    this.#epoch++;
    this.#outbound.clear();
    this.#inbound.clear();
    this.#nextPosition = this.#outbound.endPosition;
    for (const id of [...this.#unconfirmed.keys()]) this.acceptVoid(id);
  }

  #settle(id: number): { purpose: Purpose; taken: TakenKey } | undefined {
    const reservation = this.#unconfirmed.get(id);
    this.#unconfirmed.delete(id);
    reservation?.cancel();
    return reservation;
  }

  /** A time-out and a broken connection say nothing about whether the bytes were taken. */
  #within(reply: Promise<ReserveReply>): Promise<ReserveReply | 'unknown'> {
    return new Promise((resolve) => {
      const cancel = this.#clock.setTimer(this.#ackTimeoutMs, () => resolve('unknown'));
      const settle = (outcome: ReserveReply | 'unknown') => {
        cancel();
        resolve(outcome);
      };
      reply.then(settle, () => settle('unknown'));
    });
  }
}
