/**
 * The rekey of a live connection (draft-qstunnel-tls-qkd-psk, "Rekeying a live
 * connection"), each role a list of steps:
 *
 *     client                                              server
 *     rekey_request(N+1, share, identity, binder)   →
 *                                                   ←     rekey_response(N+1, status, share, confirmation)
 *                                                         the server sends under N+1 from here
 *     the client receives under N+1 from here
 *     rekey_finish(N+1, confirmation)               →
 *     the client sends under N+1 from here                the server receives under N+1 from here
 *
 * Application data flows throughout, under the keys that its sender has at that
 * time. States and rules are those of tls-ext/models/rekey.pml.
 */
import { bytesEqual } from '../bytes/index.ts';
import { type CipherSuiteInfo, hash, hashLengthBytes, type KeyAgreement } from '../crypto/index.ts';
import type { EngineEvent, QkdKeyReference, QkdPsk, RekeyRefusal } from '../engine-types.ts';
import {
  EarlySecret,
  type ImportedPsk,
  type MainSecret,
  pskBinder,
  rekeyConfirmation,
  verifyPskBinder,
  verifyRekeyConfirmation,
} from '../key-schedule/index.ts';
import {
  decodeRekeyFinish,
  decodeRekeyRequest,
  decodeRekeyResponse,
  encodeRekeyFinish,
  encodeRekeyRequest,
  encodeRekeyResponse,
  HandshakeType,
  type KeyShareEntry,
  type RekeyRequest,
  withoutBinder,
  withoutConfirmation,
} from '../messages/index.ts';
import { type Directions, type Epoch, nextEpoch } from './epoch.ts';
import { decryptError, illegalParameter } from './faults.ts';
import { importQkdKey, referenceOf } from './qkd-import.ts';
import { awaitRekeyKey, bodyOf, type HandshakeMessage, receive, SecretScope, type Steps } from './steps.ts';

/** What a rekey does to the connection, beside changing the epochs of its directions. */
export interface RekeyWire {
  /** Sends a message that ends with its record. */
  sendAtRecordEnd(message: Uint8Array): void;
  /** `unexpected_message` unless the last message ended with its record. */
  expectRecordBoundary(): void;
  emit(event: EngineEvent): void;
}

/** The connection that is rekeyed. */
export interface RekeyContext {
  readonly wire: RekeyWire;
  readonly directions: Directions;
  readonly suite: CipherSuiteInfo;
  /** The group that the handshake negotiated. */
  readonly group: number;
  readonly keyAgreement: KeyAgreement;
  readonly rekeyWithoutKey: 'accept' | 'refuse';
}

/** How it ended, if not with the connection. */
export type RekeyEnd =
  | {
      readonly status: 'used' | 'without_key';
      readonly epoch: number;
      readonly reference: QkdKeyReference | undefined;
    }
  | {
      readonly status: 'refused';
      readonly reference: QkdKeyReference | undefined;
      readonly why: RekeyRefusal | undefined;
    };

/** The client's rekey, with a key or without. Takes ownership of the key. */
export function* clientRekey(context: RekeyContext, key: QkdPsk | undefined): Steps<RekeyEnd> {
  const { wire, directions, suite, group, keyAgreement } = context;
  const scope = new SecretScope();
  const current = directions.complete;
  const reference = key?.reference;
  try {
    const imported = key && importKey(key, suite, scope);
    const keyShare = scope.own(keyAgreement.generateKeyShare());
    const request = boundRequest(context, current, { group, keyExchange: keyShare.share }, imported);
    wire.sendAtRecordEnd(request);

    const message = yield* receive('ExpectRekeyResponse', HandshakeType.rekeyResponse);
    wire.expectRecordBoundary();
    const response = decodeRekeyResponse(bodyOf(message), hashLengthBytes[suite.hash]);
    expectEpoch(response.epoch, current);
    if (response.status === 'refused') return { status: 'refused', reference, why: undefined };
    if ((response.status === 'used') !== (imported !== undefined)) {
      throw illegalParameter(`rekey_response says ${response.status}, which does not answer the request`);
    }
    expectGroup(response.keyShare, group);
    const sharedSecret = scope.own(keyShare.finish(response.keyShare.keyExchange));
    const mainSecret = scope.own(current.mainSecret.nextEpoch(sharedSecret, imported?.key));
    const confirmed = withoutConfirmation(message.bytes, response.confirmation.length);
    const covered = hash(suite.hash, current.transcriptHash, request, confirmed);
    if (!verifyRekeyConfirmation(mainSecret, 'server', covered, response.confirmation)) throw unconfirmed('server');

    const transcriptHash = hash(suite.hash, current.transcriptHash, request, message.bytes);
    const epoch = nextEpoch(current, scope.release(mainSecret), transcriptHash);
    directions.receiveUnder(epoch);
    const confirmation = rekeyConfirmation(mainSecret, 'client', transcriptHash);
    wire.sendAtRecordEnd(encodeRekeyFinish({ epoch: epoch.number, confirmation }));
    directions.sendUnder(epoch);
    return { status: response.status, epoch: epoch.number, reference };
  } finally {
    scope.wipe();
  }
}

/** The server's, from the client's rekey_request on. */
export function* serverRekey(context: RekeyContext, message: HandshakeMessage): Steps<RekeyEnd> {
  const { wire, directions, suite, group, keyAgreement } = context;
  const scope = new SecretScope();
  const current = directions.complete;
  try {
    wire.expectRecordBoundary();
    const request = decodeRekeyRequest(bodyOf(message));
    expectEpoch(request.epoch, current);
    expectGroup(request.keyShare, group);

    const proved = yield* proveKey(context, current, request, message, scope);
    if ('why' in proved) {
      wire.sendAtRecordEnd(encodeRekeyResponse({ epoch: request.epoch, status: 'refused' }));
      return { status: 'refused', ...proved };
    }
    const { imported, reference } = proved;
    const status = imported === undefined ? 'without_key' : 'used';

    const { share, secret } = keyAgreement.respond(request.keyShare.keyExchange);
    scope.own(secret);
    const mainSecret = scope.own(current.mainSecret.nextEpoch(secret, imported?.key));
    const keyShare = { group, keyExchange: share };
    const response = confirmedResponse(context, mainSecret, [current.transcriptHash, message.bytes], {
      epoch: request.epoch,
      status,
      keyShare,
    });
    wire.sendAtRecordEnd(response);
    const transcriptHash = hash(suite.hash, current.transcriptHash, message.bytes, response);
    const epoch = nextEpoch(current, scope.release(mainSecret), transcriptHash);
    directions.sendUnder(epoch);

    const finishMessage = yield* receive('ExpectRekeyFinish', HandshakeType.rekeyFinish);
    wire.expectRecordBoundary();
    const finish = decodeRekeyFinish(bodyOf(finishMessage), hashLengthBytes[suite.hash]);
    expectEpoch(finish.epoch, current);
    if (!verifyRekeyConfirmation(mainSecret, 'client', transcriptHash, finish.confirmation))
      throw unconfirmed('client');
    directions.receiveUnder(epoch);
    return { status, epoch: epoch.number, reference };
  } finally {
    scope.wipe();
  }
}

interface ProvedKey {
  readonly imported: ImportedPsk | undefined;
  readonly reference: QkdKeyReference | undefined;
}

interface Refused {
  readonly reference: QkdKeyReference | undefined;
  readonly why: RekeyRefusal;
}

/** The key that the request names, if we have it and the binder says that the client does; or that none is named, and none needed. */
function* proveKey(
  { wire, suite, rekeyWithoutKey }: RekeyContext,
  current: Epoch,
  { psk }: RekeyRequest,
  message: HandshakeMessage,
  scope: SecretScope,
): Steps<ProvedKey | Refused> {
  if (psk === undefined) {
    return rekeyWithoutKey === 'accept'
      ? { imported: undefined, reference: undefined }
      : { reference: undefined, why: 'policy' };
  }
  const reference = referenceOf(psk.identity);
  if (reference === undefined) return { reference, why: 'unavailable' };
  wire.emit({ type: 'rekey-key-required', reference });
  const key = yield* awaitRekeyKey();
  if (key === undefined) return { reference, why: 'unavailable' };
  const imported = importKey(key, suite, scope);
  // The client meant another key, context or hash than ours: as if we had none.
  if (!bytesEqual(imported.identity, psk.identity)) return { reference, why: 'unavailable' };
  const covered = hash(suite.hash, current.transcriptHash, withoutBinder(message.bytes, psk.binder.length));
  const binderKey = binderKeyOf(imported);
  const verified = verifyPskBinder(suite.hash, binderKey, covered, psk.binder);
  binderKey.wipe();
  return verified ? { imported, reference } : { reference, why: 'binder' };
}

/** The QKD key that goes in is wiped. */
function importKey(key: QkdPsk, { hash }: CipherSuiteInfo, scope: SecretScope): ImportedPsk {
  try {
    const imported = importQkdKey(key, 'rekey', hash);
    scope.own(imported.key);
    return imported;
  } finally {
    key.secret.wipe();
  }
}

function binderKeyOf({ hash, key }: ImportedPsk) {
  const earlySecret = EarlySecret.of(hash, key);
  const binderKey = earlySecret.binderKey('imported');
  earlySecret.wipe();
  return binderKey;
}

/** RekeyRequest, with its binder if there is a key. */
function boundRequest(
  { suite }: RekeyContext,
  current: Epoch,
  keyShare: KeyShareEntry,
  imported: ImportedPsk | undefined,
): Uint8Array {
  const fields = { epoch: current.number + 1, keyShare };
  if (imported === undefined) return encodeRekeyRequest(fields);
  const binderBytes = hashLengthBytes[suite.hash];
  const psk = { identity: imported.identity, binder: new Uint8Array(binderBytes) };
  const request = encodeRekeyRequest({ ...fields, psk });
  const binderKey = binderKeyOf(imported);
  const covered = hash(suite.hash, current.transcriptHash, withoutBinder(request, binderBytes));
  request.set(pskBinder(suite.hash, binderKey, covered), request.length - binderBytes);
  binderKey.wipe();
  return request;
}

/** RekeyResponse, with the server's confirmation over th_N || RekeyRequest || the response before it. */
function confirmedResponse(
  { suite }: RekeyContext,
  mainSecret: MainSecret,
  before: readonly Uint8Array[],
  fields: { epoch: number; status: 'used' | 'without_key'; keyShare: KeyShareEntry },
): Uint8Array {
  const confirmationBytes = hashLengthBytes[suite.hash];
  const response = encodeRekeyResponse({ ...fields, confirmation: new Uint8Array(confirmationBytes) });
  const covered = hash(suite.hash, ...before, withoutConfirmation(response, confirmationBytes));
  response.set(rekeyConfirmation(mainSecret, 'server', covered), response.length - confirmationBytes);
  return response;
}

function expectEpoch(epoch: number, current: Epoch): void {
  if (epoch !== current.number + 1) throw illegalParameter(`rekey for epoch ${epoch} in epoch ${current.number}`);
}

function expectGroup({ group }: KeyShareEntry, negotiated: number): void {
  if (group !== negotiated) throw illegalParameter('a rekey share of another group than the handshake negotiated');
}

function unconfirmed(party: 'client' | 'server') {
  return decryptError(`the ${party}'s confirmation of the rekey does not verify`);
}
