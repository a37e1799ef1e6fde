/**
 * The rekey of a well-behaved peer, in steps. Binder and confirmations are the
 * last thing to be made, over the messages as they are really sent.
 */
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import {
  defaultKeyAgreements,
  hash,
  type KeyAgreement,
  type KeyAgreementProvider,
} from '../../../tls-ext/crypto/index.ts';
import { importQkdKey } from '../../../tls-ext/handshake/qkd-import.ts';
import {
  EarlySecret,
  type ImportedPsk,
  type MainSecret,
  pskBinder,
  rekeyConfirmation,
} from '../../../tls-ext/key-schedule/index.ts';
import {
  decodeRekeyFinish,
  decodeRekeyRequest,
  decodeRekeyResponse,
  encodeRekeyFinish,
  encodeRekeyRequest,
  encodeRekeyResponse,
  encodeRekeyWanted,
  HandshakeType,
  withoutBinder,
  withoutConfirmation,
} from '../../../tls-ext/messages/index.ts';
import { rekeyKey } from '../engine/rekey-pair.ts';
import type { ScriptedPeer } from './scripted-peer.ts';
import { act, expects, type Script, sends } from './scripts.ts';

/** With a key that both have; without one; with one that the server lacks; or the server has not said yet. */
export type RekeyKind = 'with-key' | 'without-key' | 'unavailable' | 'later';

const GROUP = 29;
const HASH_BYTES = 32;

const x25519 = (provider: KeyAgreementProvider = defaultKeyAgreements) => provider(GROUP) as KeyAgreement;
const importedKey = (): ImportedPsk => importQkdKey(rekeyKey(1), 'rekey', 'sha256');
const said = (peer: ScriptedPeer, type: number) => peer.heard.get(`${type}`) ?? new Uint8Array(0);
const requestOf = (peer: ScriptedPeer) => said(peer, HandshakeType.rekeyRequest);

/** Epoch N+1 of the peer, as the messages have it that were really sent. */
function nextTranscriptHash(peer: ScriptedPeer): Uint8Array {
  return hash('sha256', peer.transcriptHash, requestOf(peer), said(peer, HandshakeType.rekeyResponse));
}

/** What a rekey after this one goes on from. */
function enter(peer: ScriptedPeer, next: MainSecret): void {
  peer.transcriptHash = nextTranscriptHash(peer);
  peer.mainSecret = next;
}

function withTail(message: Uint8Array, tail: Uint8Array): Uint8Array {
  return concatBytes(message.subarray(0, message.length - tail.length), tail);
}

/** A binder that is right for this request. */
function bound(message: Uint8Array, peer: ScriptedPeer): Uint8Array {
  const binderKey = EarlySecret.of('sha256', importedKey().key).binderKey('imported');
  const covered = hash('sha256', peer.transcriptHash, withoutBinder(message, HASH_BYTES));
  return withTail(message, pskBinder('sha256', binderKey, covered));
}

/** The client's, for our server. */
export function clientRekeySteps(kind: RekeyKind, keyAgreements?: KeyAgreementProvider): Script {
  let next: MainSecret;
  return [
    sends(
      'rekey_request',
      (peer) => {
        peer.keyShare = x25519(keyAgreements).generateKeyShare();
        const fields = { epoch: 1, keyShare: { group: GROUP, keyExchange: peer.keyShare.share } };
        const psk = { identity: importedKey().identity, binder: new Uint8Array(HASH_BYTES) };
        return encodeRekeyRequest(kind === 'without-key' ? fields : { ...fields, psk });
      },
      kind === 'without-key' ? undefined : bound,
    ),
    ...(kind === 'later'
      ? []
      : [
          expects('rekey_response', HandshakeType.rekeyResponse, (message, peer) => {
            const response = decodeRekeyResponse(message.subarray(4), HASH_BYTES);
            if (response.status === 'refused') return;
            const secret = (peer.keyShare as NonNullable<ScriptedPeer['keyShare']>).finish(
              response.keyShare.keyExchange,
            );
            next = (peer.mainSecret as MainSecret).nextEpoch(
              secret,
              kind === 'with-key' ? importedKey().key : undefined,
            );
            peer.receiveUnder(next, nextTranscriptHash(peer));
          }),
        ]),
    ...(kind === 'unavailable' || kind === 'later'
      ? []
      : [
          sends('rekey_finish', (peer) =>
            encodeRekeyFinish({ epoch: 1, confirmation: rekeyConfirmation(next, 'client', nextTranscriptHash(peer)) }),
          ),
          act('keys of the next epoch', (peer) => {
            peer.sendUnder(next, nextTranscriptHash(peer));
            enter(peer, next);
          }),
        ]),
  ];
}

/** The server's, for our client, whose owner rekeys when it is asked to. */
export function serverRekeySteps(kind: RekeyKind, keyAgreements?: KeyAgreementProvider): Script {
  let next: MainSecret;
  const confirmed = (message: Uint8Array, peer: ScriptedPeer) => {
    const covered = hash('sha256', peer.transcriptHash, requestOf(peer), withoutConfirmation(message, HASH_BYTES));
    return withTail(message, rekeyConfirmation(next, 'server', covered));
  };
  return [
    sends('rekey_wanted', () => encodeRekeyWanted()),
    expects('rekey_request', HandshakeType.rekeyRequest),
    ...(kind === 'unavailable' || kind === 'later'
      ? [sends('rekey_response', () => encodeRekeyResponse({ epoch: 1, status: 'refused' }))]
      : [
          sends(
            'rekey_response',
            (peer) => {
              const { keyShare, psk } = decodeRekeyRequest(requestOf(peer).subarray(4));
              const { share, secret } = x25519(keyAgreements).respond(keyShare.keyExchange);
              next = (peer.mainSecret as MainSecret).nextEpoch(secret, psk && importedKey().key);
              return encodeRekeyResponse({
                epoch: 1,
                status: psk === undefined ? 'without_key' : 'used',
                keyShare: { group: GROUP, keyExchange: share },
                confirmation: new Uint8Array(HASH_BYTES),
              });
            },
            confirmed,
          ),
          act('keys of the next epoch', (peer) => peer.sendUnder(next, nextTranscriptHash(peer))),
          expects('rekey_finish', HandshakeType.rekeyFinish, (message, peer) => {
            decodeRekeyFinish(message.subarray(4), HASH_BYTES);
            peer.receiveUnder(next, nextTranscriptHash(peer));
            enter(peer, next);
          }),
        ]),
  ];
}
