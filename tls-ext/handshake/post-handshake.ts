/**
 * What may follow a handshake: KeyUpdate and NewSessionTicket (RFC 8446, 4.6).
 * Post-handshake authentication is not offered, so a request for it is
 * `unexpected_message`, as is everything else.
 */
import {
  type ApplicationTrafficSecret,
  deriveTrafficKeys,
  nextTrafficSecret,
  type TrafficKeys,
} from '../key-schedule/index.ts';
import {
  decodeKeyUpdate,
  decodeNewSessionTicket,
  encodeKeyUpdate,
  HandshakeType,
  handshakeTypeName,
  KeyUpdateRequest,
} from '../messages/index.ts';
import { limitExceeded, unexpectedMessage } from './faults.ts';
import type { Session } from './session.ts';
import { bodyOf, type HandshakeMessage } from './steps.ts';

/** Post-handshake messages in a row, without application data between them, that a peer may send. */
export const MAX_POST_HANDSHAKE_MESSAGES_IN_A_ROW = 32;

/** What post-handshake messages do to the connection. */
export interface PostHandshakeWire {
  /** Whether our side may still send: after close_notify it may not. */
  readonly writable: boolean;
  send(message: Uint8Array): void;
  protectSending(keys: TrafficKeys): void;
  protectReceiving(keys: TrafficKeys): void;
}

export class PostHandshake {
  readonly #wire: PostHandshakeWire;
  readonly #role: 'client' | 'server';
  readonly #session: Session;
  #sendingSecret: ApplicationTrafficSecret;
  #receivingSecret: ApplicationTrafficSecret;
  #messagesInARow = 0;

  constructor(wire: PostHandshakeWire, role: 'client' | 'server', session: Session) {
    this.#wire = wire;
    this.#role = role;
    this.#session = session;
    const { clientApplicationTrafficSecret, serverApplicationTrafficSecret } = session;
    this.#sendingSecret = role === 'client' ? clientApplicationTrafficSecret : serverApplicationTrafficSecret;
    this.#receivingSecret = role === 'client' ? serverApplicationTrafficSecret : clientApplicationTrafficSecret;
  }

  /** Application data arrived: the peer is doing something useful. */
  applicationDataReceived(): void {
    this.#messagesInARow = 0;
  }

  /** Something that is neither data nor an end: bounded, so that it can't keep us busy. */
  countIdleMessage(): void {
    if (++this.#messagesInARow > MAX_POST_HANDSHAKE_MESSAGES_IN_A_ROW) {
      throw limitExceeded('too many post-handshake messages without application data');
    }
  }

  receive(message: HandshakeMessage): void {
    this.countIdleMessage();
    switch (message.type) {
      case HandshakeType.keyUpdate:
        if (this.#session.rekeyNegotiated) throw unexpectedMessage('KeyUpdate although rekeying was negotiated');
        this.#receiveKeyUpdate(decodeKeyUpdate(bodyOf(message)));
        return;
      case HandshakeType.newSessionTicket:
        if (this.#role === 'server') throw unexpectedMessage('NewSessionTicket from a client');
        // Checked and dropped: only tickets that descend from a QKD key are of use here.
        decodeNewSessionTicket(bodyOf(message));
        return;
      default:
        throw unexpectedMessage(`${handshakeTypeName(message.type)} after the handshake`);
    }
  }

  /** Sends a KeyUpdate of our own and changes our sending keys. */
  updateSendingKeys(request: KeyUpdateRequest): void {
    const { suite } = this.#session;
    this.#wire.send(encodeKeyUpdate(request));
    this.#sendingSecret = nextTrafficSecret(suite.hash, this.#sendingSecret);
    this.#wire.protectSending(deriveTrafficKeys(suite, this.#sendingSecret));
  }

  wipe(): void {
    this.#sendingSecret.wipe();
    this.#receivingSecret.wipe();
  }

  #receiveKeyUpdate(request: KeyUpdateRequest): void {
    const { suite } = this.#session;
    this.#receivingSecret = nextTrafficSecret(suite.hash, this.#receivingSecret);
    this.#wire.protectReceiving(deriveTrafficKeys(suite, this.#receivingSecret));
    if (request === KeyUpdateRequest.updateRequested && this.#wire.writable) {
      this.updateSendingKeys(KeyUpdateRequest.updateNotRequested);
    }
  }
}
