/** When a connection is rekeyed: who may ask and how often, what crosses what, and what an end of either direction does to it. */
import type { QkdKeyReference, QkdPsk, RekeyRefusal } from '../engine-types.ts';
import {
  decodeRekeyRequest,
  decodeRekeyWanted,
  encodeRekeyWanted,
  HandshakeType,
  handshakeTypeName,
} from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import type { Directions } from './epoch.ts';
import { limitExceeded, unexpectedMessage } from './faults.ts';
import { type MessageAllowance, RekeyAllowance } from './message-allowance.ts';
import { clientRekey, type RekeyContext, type RekeyEnd, type RekeyWire, serverRekey } from './rekey.ts';
import type { Session } from './session.ts';
import { type Answer, bodyOf, type HandshakeMessage, type Pause, type Steps } from './steps.ts';

/** The share of an AEAD's limit at which new keys are asked for … */
export const NEW_KEYS_DUE_SHARE = 0.75;
/** … and at which a client rekeys by itself, without a key, if its owner has not done so. */
export const OWN_REKEY_SHARE = 0.875;

const MAX_EPOCH = 0xffff_ffff;

/** The connection, as rekeying sees it. */
export interface RekeyingWire extends RekeyWire {
  /** close_notify was sent, or waits for the rekey under way. */
  readonly closing: boolean;
  /** close_notify was sent. */
  readonly writeClosed: boolean;
  /** close_notify was received. */
  readonly readClosed: boolean;
  /** No rekey is under way any more. */
  rekeyEnded(): void;
}

export class Rekeying {
  readonly #wire: RekeyingWire;
  readonly #role: 'client' | 'server';
  readonly #negotiated: boolean;
  readonly #directions: Directions;
  readonly #session: Session;
  readonly #allowance = new RekeyAllowance();
  readonly #otherMessages: MessageAllowance;
  /** The exchange under way, and what it waits for. */
  #exchange: { readonly steps: Steps<RekeyEnd>; readonly pause: Pause } | undefined;
  /** The key of the exchange under way. */
  #reference: QkdKeyReference | undefined;
  /** Epochs in which something happens once: rekey_wanted was sent or received, the AEAD's limit told or near, a rekey of our own tried. */
  #wantedIn: number | undefined;
  #limitToldIn: number | undefined;
  #limitNearIn: number | undefined;
  #ownRekeyIn: number | undefined;
  /** Server: the one request that our close_notify may cross has come. */
  #requestDropped = false;

  constructor(
    wire: RekeyingWire,
    role: 'client' | 'server',
    session: Session,
    directions: Directions,
    otherMessages: MessageAllowance,
  ) {
    this.#wire = wire;
    this.#role = role;
    this.#negotiated = session.summary.rekey;
    this.#session = session;
    this.#directions = directions;
    this.#otherMessages = otherMessages;
  }

  /** Whether another rekey may begin. */
  get possible(): boolean {
    return (
      this.#negotiated &&
      this.#exchange === undefined &&
      !this.#wire.closing &&
      !this.#wire.readClosed &&
      this.#directions.complete.number < MAX_EPOCH &&
      !this.#allowance.exhausted
    );
  }

  /** Data went through, in either direction. */
  applicationData(lengthBytes: number): void {
    this.#allowance.applicationData(lengthBytes);
  }

  /** Client: begins a rekey. Takes ownership of the key. */
  start(key: QkdPsk | undefined): void {
    try {
      this.#expectNegotiated('client');
      if (!this.possible) throw new TlsMisuseError('rekey() while none is possible');
      this.#reference = key?.reference;
      this.#advance(clientRekey(this.#context(), key), undefined);
      this.#allowance.spend();
    } finally {
      key?.secret.wipe();
    }
  }

  /** Server: asks for a rekey, once in an epoch. */
  want(): void {
    this.#expectNegotiated('server');
    const epoch = this.#directions.complete.number;
    if (!this.possible || this.#wantedIn === epoch) return;
    this.#wantedIn = epoch;
    this.#wire.sendAtRecordEnd(encodeRekeyWanted());
  }

  /** Server: the key that was asked for. Takes ownership. */
  provideKey(key: QkdPsk | undefined): void {
    this.#expectNegotiated('server');
    if (this.#exchange?.pause.awaits === 'rekey-key') {
      this.#advance(this.#exchange.steps, { kind: 'rekey-key', key });
      return;
    }
    key?.secret.wipe();
    // Closed while the key was being looked for: the question is no longer there.
    if (!this.#requestDropped) throw new TlsMisuseError('a rekey key was not asked for');
  }

  receive(message: HandshakeMessage): void {
    if (!this.#negotiated) throw this.#unexpected(message);
    switch (message.type) {
      case HandshakeType.rekeyRequest:
        this.#receiveRequest(message);
        return;
      case HandshakeType.rekeyWanted:
        this.#receiveWanted(message);
        return;
      default:
        if (this.#exchange?.pause.awaits !== 'message') throw this.#unexpected(message);
        this.#advance(this.#exchange.steps, { kind: 'message', message });
    }
  }

  /**
   * Our side wants to close. Whether close_notify has to wait: the client's does, until its request is answered.
   * A server that has not answered yet does not answer any more.
   */
  close(): boolean {
    if (this.#exchange === undefined) return false;
    if (this.#role === 'client') return true;
    if (this.#exchange.pause.awaits === 'rekey-key') {
      this.#requestDropped = true;
      this.#giveUp();
    }
    return false;
  }

  /** The peer has closed. A request that is still outstanding will not be answered. */
  peerClosed(): void {
    if (this.#exchange === undefined) return;
    if (this.#role === 'server') throw unexpectedMessage('close_notify with a rekey request outstanding');
    this.#giveUp();
  }

  /** The part of the AEADs' limits that each direction has used up: new keys are due before either is reached. */
  watchLimits(sendingShare: number, receivingShare: number): void {
    const share = Math.max(sendingShare, receivingShare);
    const epoch = this.#directions.complete.number;
    if (this.#role === 'server') {
      if (share >= NEW_KEYS_DUE_SHARE) this.#limitNearIn = epoch;
      if (sendingShare >= NEW_KEYS_DUE_SHARE) this.want();
      return;
    }
    if (share < NEW_KEYS_DUE_SHARE || !this.possible) return;
    if (this.#limitToldIn !== epoch) {
      this.#limitToldIn = epoch;
      this.#wire.emit({ type: 'rekey-wanted', by: 'limit' });
    }
    if (share >= OWN_REKEY_SHARE && this.#ownRekeyIn !== epoch) {
      this.#ownRekeyIn = epoch;
      this.start(undefined);
    }
  }

  /** Drops what an exchange holds. */
  wipe(): void {
    this.#exchange?.steps.return(undefined as never);
    this.#exchange = undefined;
  }

  #receiveRequest(message: HandshakeMessage): void {
    if (this.#role === 'client' || this.#exchange !== undefined) throw this.#unexpected(message);
    if (this.#wire.writeClosed) {
      if (this.#requestDropped) throw this.#unexpected(message);
      this.#wire.expectRecordBoundary();
      decodeRekeyRequest(bodyOf(message));
      this.#requestDropped = true;
      return;
    }
    if (this.#allowance.exhausted) throw limitExceeded('too many rekey requests for so little application data');
    this.#allowance.spend();
    this.#reference = undefined;
    this.#advance(serverRekey(this.#context(), message), undefined);
  }

  #receiveWanted(message: HandshakeMessage): void {
    const epoch = this.#directions.receiving.number;
    if (this.#role === 'server' || this.#wantedIn === epoch) throw this.#unexpected(message);
    this.#wire.expectRecordBoundary();
    decodeRekeyWanted(bodyOf(message));
    this.#wantedIn = epoch;
    // One that crosses our request is answered by it; one that comes too late, by nothing.
    if (this.possible) this.#wire.emit({ type: 'rekey-wanted', by: 'peer' });
  }

  #context(): RekeyContext {
    const { suite, settings, summary } = this.#session;
    const keyAgreement = settings.keyAgreements(summary.group);
    if (keyAgreement === undefined) throw new TlsMisuseError(`no key agreement for group ${summary.group}`);
    const wire: RekeyWire = {
      sendAtRecordEnd: (message) => this.#wire.sendAtRecordEnd(message),
      expectRecordBoundary: () => this.#wire.expectRecordBoundary(),
      emit: (event) => {
        if (event.type === 'rekey-key-required') this.#reference = event.reference;
        this.#wire.emit(event);
      },
    };
    // Near its limit a connection could not go on without: policy on QKD keys has limits of its own.
    const limitNear = this.#limitNearIn === this.#directions.complete.number;
    const rekeyWithoutKey = limitNear ? 'accept' : settings.rekeyWithoutKey;
    return { wire, directions: this.#directions, suite, group: summary.group, keyAgreement, rekeyWithoutKey };
  }

  #advance(steps: Steps<RekeyEnd>, answer: Answer | undefined): void {
    this.#exchange = undefined;
    const step = answer === undefined ? steps.next() : steps.next(answer);
    if (step.done) this.#ended(step.value);
    else this.#exchange = { steps, pause: step.value };
  }

  #ended(end: RekeyEnd): void {
    if (end.status === 'refused') {
      this.#refused(end.reference, end.why);
    } else {
      const { status, epoch, reference } = end;
      if (status === 'used') {
        // The supply of keys is bound enough.
        this.#allowance.refund();
        this.#otherMessages.restore();
      }
      this.#wire.emit({ type: 'rekeyed', epoch, status, ...(reference === undefined ? {} : { reference }) });
    }
    this.#wire.rekeyEnded();
  }

  /** A close_notify came first: the epoch stays, and the key is not used again. */
  #giveUp(): void {
    this.wipe();
    this.#refused(this.#reference, 'closed');
    this.#wire.rekeyEnded();
  }

  #refused(reference: QkdKeyReference | undefined, why: RekeyRefusal | undefined): void {
    this.#wire.emit({
      type: 'rekey-refused',
      ...(reference === undefined ? {} : { reference }),
      ...(why === undefined ? {} : { why }),
    });
  }

  #expectNegotiated(role: 'client' | 'server'): void {
    if (!this.#negotiated) throw new TlsMisuseError('rekeying was not negotiated');
    if (this.#role !== role) throw new TlsMisuseError(`only a ${role} does that`);
  }

  #unexpected({ type }: HandshakeMessage) {
    return unexpectedMessage(`${handshakeTypeName(type)} in this state of rekeying`);
  }
}
