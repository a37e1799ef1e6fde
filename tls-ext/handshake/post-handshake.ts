/**
 * What may follow a handshake: NewSessionTicket and KeyUpdate (RFC 8446, 4.6),
 * and the rekey that takes the place of the latter where it was negotiated.
 * Post-handshake authentication is not offered, so a request for it is
 * `unexpected_message`, as is everything else.
 */
import type { EngineEvent, IssuedTicket, TicketHandle } from '../engine-types.ts';
import { exportKeyingMaterial } from '../key-schedule/index.ts';
import {
  decodeKeyUpdate,
  encodeKeyUpdate,
  HandshakeType,
  handshakeTypeName,
  KeyUpdateRequest,
} from '../messages/index.ts';
import { Directions, type KeyChanges } from './epoch.ts';
import { unexpectedMessage } from './faults.ts';
import { MessageAllowance } from './message-allowance.ts';
import { NEW_KEYS_DUE_SHARE, Rekeying } from './rekeying.ts';
import type { Session } from './session.ts';
import { bodyOf, type HandshakeMessage } from './steps.ts';
import { Tickets } from './tickets.ts';

/** The connection, as what follows a handshake sees it. */
export interface PostHandshakeWire extends KeyChanges {
  /** close_notify was sent, or is to be sent when no rekey is under way. */
  readonly closing: boolean;
  /** close_notify was sent. */
  readonly writeClosed: boolean;
  /** close_notify was received. */
  readonly readClosed: boolean;
  /** The parts of the AEAD's limit that the keys of each direction have used up. */
  readonly sendingLimitShare: number;
  readonly receivingLimitShare: number;
  send(message: Uint8Array): void;
  /** The same, and the record ends with it. */
  sendAtRecordEnd(message: Uint8Array): void;
  /** `unexpected_message` if the record goes on behind the message that was read last. */
  expectRecordBoundary(): void;
  emit(event: EngineEvent): void;
  /** No rekey is under way any more. */
  rekeyEnded(): void;
}

export class PostHandshake {
  readonly #wire: PostHandshakeWire;
  readonly #role: 'client' | 'server';
  readonly #session: Session;
  readonly #directions: Directions;
  readonly #tickets: Tickets;
  readonly #rekeying: Rekeying;
  readonly #allowance = new MessageAllowance();

  constructor(wire: PostHandshakeWire, role: 'client' | 'server', session: Session) {
    this.#wire = wire;
    this.#role = role;
    this.#session = session;
    this.#directions = new Directions(wire, role, session);
    this.#tickets = new Tickets(session);
    this.#rekeying = new Rekeying(wire, role, session, this.#directions, this.#allowance);
  }

  /** Completed rekeys. */
  get epoch(): number {
    return this.#directions.complete.number;
  }

  get rekeying(): Rekeying {
    return this.#rekeying;
  }

  /** Application data was received or sealed: somebody is doing something useful, and using keys up. */
  applicationData(lengthBytes: number): void {
    this.#allowance.applicationData(lengthBytes);
    this.#rekeying.applicationData(lengthBytes);
    const { sendingLimitShare, receivingLimitShare } = this.#wire;
    if (this.#session.summary.rekey && !this.#wire.readClosed) {
      this.#rekeying.watchLimits(sendingLimitShare, receivingLimitShare);
    } else if (sendingLimitShare >= NEW_KEYS_DUE_SHARE && !this.#wire.writeClosed) {
      this.#updateSendingKeys();
    }
  }

  /** Something that is neither data nor an end: bounded, so that it can't keep us busy. */
  countIdleMessage(): void {
    this.#allowance.spend();
  }

  receive(message: HandshakeMessage): void {
    switch (message.type) {
      case HandshakeType.keyUpdate:
        this.countIdleMessage();
        this.#receiveKeyUpdate(message);
        return;
      case HandshakeType.newSessionTicket:
        this.countIdleMessage();
        this.#receiveTicket(message);
        return;
      case HandshakeType.rekeyRequest:
      case HandshakeType.rekeyResponse:
      case HandshakeType.rekeyFinish:
      case HandshakeType.rekeyWanted:
        // These have bounds of their own.
        this.#rekeying.receive(message);
        return;
      default:
        throw unexpectedMessage(`${handshakeTypeName(message.type)} after the handshake`);
    }
  }

  /** Server: sends a ticket of the epoch at hand; between response and finish of a rekey there is none to rely on. */
  issueTicket(ticket: TicketHandle): Omit<IssuedTicket, 'events'> | undefined {
    if (this.#directions.sending.number !== this.#directions.complete.number) return undefined;
    const { message, psk, epoch } = this.#tickets.issue(this.#directions.sending, ticket);
    this.#wire.send(message);
    return { psk, epoch };
  }

  /** Exporter of the last complete epoch. */
  exportEpochKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array {
    const { exporterSecret } = this.#directions.complete;
    return exportKeyingMaterial(this.#session.suite.hash, exporterSecret, label, context, lengthBytes);
  }

  wipe(): void {
    this.#rekeying.wipe();
    this.#directions.wipe();
    this.#session.exporterSecret.wipe();
  }

  #receiveTicket(message: HandshakeMessage): void {
    if (this.#role === 'server') throw unexpectedMessage('NewSessionTicket from a client');
    const event = this.#tickets.receive(this.#directions.receiving, message);
    if (event !== undefined) this.#wire.emit(event);
  }

  /** Where rekeying is on there is one use for it: new keys of a peer that goes on after our close_notify. */
  #receiveKeyUpdate(message: HandshakeMessage): void {
    const { rekey } = this.#session.summary;
    if (rekey && !this.#wire.writeClosed) throw unexpectedMessage('KeyUpdate although rekeying was negotiated');
    const request = decodeKeyUpdate(bodyOf(message));
    if (rekey && request === KeyUpdateRequest.updateRequested) {
      throw unexpectedMessage('KeyUpdate that asks a closed side for another');
    }
    this.#directions.updateReceivingKeys();
    if (request === KeyUpdateRequest.updateRequested && !this.#wire.writeClosed) this.#updateSendingKeys();
  }

  #updateSendingKeys(): void {
    this.#wire.sendAtRecordEnd(encodeKeyUpdate(KeyUpdateRequest.updateNotRequested));
    this.#directions.updateSendingKeys();
  }
}
