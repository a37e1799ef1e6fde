/**
 * A handshake, or a rekey, is a generator: its body reads as the steps of the RFC in their
 * order, and it pauses where it needs something from outside. What it holds
 * between two steps is what it has proved so far, nothing else.
 */
import { concatBytes } from '../bytes/index.ts';
import type { EngineEvent, PeerVerdict, PskDecision, QkdPsk, QkdResult } from '../engine-types.ts';
import type { TrafficKeys } from '../key-schedule/index.ts';
import { HANDSHAKE_HEADER_BYTES, type HandshakeType, handshakeTypeName } from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import { unexpectedMessage } from './faults.ts';

/** Where a handshake may wait; the names stand in error messages and in the models of the state machines. */
export type HandshakeState =
  | 'ExpectServerHello'
  | 'ExpectServerHelloAfterRetry'
  | 'ExpectEncryptedExtensions'
  | 'ExpectCertificateOrCertificateRequest'
  | 'ExpectServerCertificate'
  | 'ExpectServerVerdict'
  | 'ExpectServerCertificateVerify'
  | 'ExpectServerFinished'
  | 'ExpectClientHello'
  | 'ExpectClientHelloAfterRetry'
  | 'ExpectPskDecision'
  | 'ExpectClientCertificate'
  | 'ExpectClientVerdict'
  | 'ExpectClientCertificateVerify'
  | 'ExpectClientFinished'
  | 'ExpectRekeyResponse'
  | 'ExpectRekeyKey'
  | 'ExpectRekeyFinish';

/** One handshake message, header included. Owned by the handshake: views into it may be kept. */
export interface HandshakeMessage {
  readonly type: number;
  readonly bytes: Uint8Array;
}

export function bodyOf(message: HandshakeMessage): Uint8Array {
  return message.bytes.subarray(HANDSHAKE_HEADER_BYTES);
}

export type Pause = {
  readonly awaits: 'message' | 'psk-decision' | 'verdict' | 'rekey-key';
  readonly state: HandshakeState;
};

export type Answer =
  | { readonly kind: 'message'; readonly message: HandshakeMessage }
  | { readonly kind: 'psk-decision'; readonly decision: PskDecision }
  | { readonly kind: 'verdict'; readonly verdict: PeerVerdict }
  | { readonly kind: 'rekey-key'; readonly key: QkdPsk | undefined };

export type Steps<T> = Generator<Pause, T, Answer>;

/** What a handshake does to the connection. Each call takes effect in the order of the calls. */
export interface HandshakeWire {
  /** Sends a handshake message under the keys of this moment. */
  send(message: Uint8Array): void;
  /** Sends a change_cipher_spec before the next record, for middleboxes (RFC 8446, D.4). */
  sendChangeCipherSpec(): void;
  /** Keys for what is sent from here on. */
  protectSending(keys: TrafficKeys): void;
  /** Keys for what is received from here on; `unexpected_message` if a part of a message has come under the old ones. */
  protectReceiving(keys: TrafficKeys): void;
  /** Early data that we don't accept may follow: what can't be read is passed over, within a bound, up to the first record that can. */
  skipEarlyData(): void;
  /** Longest inner plaintext (content and type) that the peer wants in a protected record. */
  limitRecords(direction: 'sending' | 'receiving', innerPlaintextBytes: number): void;
  /** What the server made of the QKD offer, for a failure that may follow. */
  qkdResult(result: QkdResult | undefined): void;
  emit(event: EngineEvent): void;
}

/** Waits for a handshake message of one of the given types; another is `unexpected_message`. */
export function* receive(state: HandshakeState, ...accepts: readonly HandshakeType[]): Steps<HandshakeMessage> {
  const answer = yield { awaits: 'message', state };
  if (answer.kind !== 'message') throw new TlsMisuseError(`${state} answered with a ${answer.kind}`);
  if (!accepts.some((type) => type === answer.message.type)) {
    throw unexpectedMessage(`${handshakeTypeName(answer.message.type)} in state ${state}`);
  }
  return answer.message;
}

export function* awaitPskDecision(): Steps<PskDecision> {
  const answer = yield { awaits: 'psk-decision', state: 'ExpectPskDecision' };
  if (answer.kind !== 'psk-decision') throw new TlsMisuseError(`ExpectPskDecision answered with a ${answer.kind}`);
  return answer.decision;
}

export function* awaitVerdict(state: 'ExpectServerVerdict' | 'ExpectClientVerdict'): Steps<PeerVerdict> {
  const answer = yield { awaits: 'verdict', state };
  if (answer.kind !== 'verdict') throw new TlsMisuseError(`${state} answered with a ${answer.kind}`);
  return answer.verdict;
}

export function* awaitRekeyKey(): Steps<QkdPsk | undefined> {
  const answer = yield { awaits: 'rekey-key', state: 'ExpectRekeyKey' };
  if (answer.kind !== 'rekey-key') throw new TlsMisuseError(`ExpectRekeyKey answered with a ${answer.kind}`);
  return answer.key;
}

/** Everything secret that a handshake holds. Wiped when the handshake ends in whatever way, except what was released. */
export class SecretScope {
  readonly #secrets = new Set<{ wipe(): void }>();

  own<T extends { wipe(): void }>(secret: T): T {
    this.#secrets.add(secret);
    return secret;
  }

  /** Hands a secret over to whoever takes the result of the handshake. */
  release<T extends { wipe(): void }>(secret: T): T {
    this.#secrets.delete(secret);
    return secret;
  }

  wipe(): void {
    for (const secret of this.#secrets) secret.wipe();
    this.#secrets.clear();
  }
}

/** The synthetic message that stands for ClientHello1 in the transcript after a HelloRetryRequest (RFC 8446, 4.4.1). */
export function messageHash(clientHello1Hash: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(254, 0, 0, clientHello1Hash.length), clientHello1Hash);
}
