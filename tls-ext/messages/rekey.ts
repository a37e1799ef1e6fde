/**
 * The rekey of a live connection (draft-qstunnel-tls-qkd-psk, "Rekeying a live connection").
 *
 *     struct {
 *         uint32 epoch;                       // the one that the exchange sets up
 *         KeyShareEntry key_share;
 *         opaque identity<0..2^16-1>;         // an ImportedIdentity, or empty: without a key
 *         select (length of identity) { default: PskBinderEntry binder; case 0: Empty; };
 *     } RekeyRequest;
 *
 *     enum { refused(0), used(1), without_key(2), (255) } RekeyStatus;
 *     struct {
 *         uint32 epoch;
 *         RekeyStatus status;
 *         select (status) {
 *             case refused: Empty;
 *             case used, without_key: KeyShareEntry key_share; opaque confirmation[Hash.length];
 *         };
 *     } RekeyResponse;
 *
 *     struct { uint32 epoch; opaque confirmation[Hash.length]; } RekeyFinish;
 *     struct {} RekeyWanted;
 */
import { decodeWhole } from '../bytes/index.ts';
import { illegalParameter } from './extension-block.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';
import { decodeKeyShareEntry, encodeKeyShareEntry, type KeyShareEntry } from './key-share.ts';

/** Arrays of a decoded one are views of the message. */
export interface RekeyRequest {
  readonly epoch: number;
  readonly keyShare: KeyShareEntry;
  /** The QKD key, and the proof of it; absent: a rekey without one. */
  readonly psk?: { readonly identity: Uint8Array; readonly binder: Uint8Array };
}

export type RekeyResponse =
  | { readonly epoch: number; readonly status: 'refused' }
  | {
      readonly epoch: number;
      readonly status: 'used' | 'without_key';
      readonly keyShare: KeyShareEntry;
      readonly confirmation: Uint8Array;
    };

export interface RekeyFinish {
  readonly epoch: number;
  readonly confirmation: Uint8Array;
}

const RekeyStatus = { refused: 0, used: 1, without_key: 2 } as const;
/** PskBinderEntry<32..255> (RFC 8446, 4.2.11). */
const MIN_BINDER_BYTES = 32;

export function encodeRekeyRequest({ epoch, keyShare, psk }: RekeyRequest): Uint8Array {
  return encodeHandshake(HandshakeType.rekeyRequest, (writer) => {
    encodeKeyShareEntry(writer.u32(epoch), keyShare);
    if (psk === undefined) writer.u16(0);
    else writer.vector(2, psk.identity).vector(1, psk.binder);
  });
}

export function decodeRekeyRequest(body: Uint8Array): RekeyRequest {
  return decodeWhole(body, (reader) => {
    const epoch = reader.u32();
    const keyShare = decodeKeyShareEntry(reader);
    const identity = reader.vector(2);
    if (identity.length === 0) return { epoch, keyShare };
    return { epoch, keyShare, psk: { identity, binder: reader.vector(1, MIN_BINDER_BYTES) } };
  });
}

/** The part of a request that its binder covers: all of the message, header included, before the binder's length. */
export function withoutBinder(request: Uint8Array, binderBytes: number): Uint8Array {
  return request.subarray(0, request.length - 1 - binderBytes);
}

export function encodeRekeyResponse(response: RekeyResponse): Uint8Array {
  return encodeHandshake(HandshakeType.rekeyResponse, (writer) => {
    writer.u32(response.epoch).u8(RekeyStatus[response.status]);
    if (response.status === 'refused') return;
    encodeKeyShareEntry(writer, response.keyShare);
    writer.bytes(response.confirmation);
  });
}

/** `confirmationBytes`: Hash.length of the suite. */
export function decodeRekeyResponse(body: Uint8Array, confirmationBytes: number): RekeyResponse {
  return decodeWhole(body, (reader) => {
    const epoch = reader.u32();
    const status = reader.u8();
    switch (status) {
      case RekeyStatus.refused:
        return { epoch, status: 'refused' };
      case RekeyStatus.used:
      case RekeyStatus.without_key:
        return {
          epoch,
          status: status === RekeyStatus.used ? 'used' : 'without_key',
          keyShare: decodeKeyShareEntry(reader),
          confirmation: reader.bytes(confirmationBytes),
        };
      default:
        throw illegalParameter(`rekey_response with status ${status}`);
    }
  });
}

/** The part of a response or finish that its confirmation covers: all of the message, header included, before it. */
export function withoutConfirmation(message: Uint8Array, confirmationBytes: number): Uint8Array {
  return message.subarray(0, message.length - confirmationBytes);
}

export function encodeRekeyFinish({ epoch, confirmation }: RekeyFinish): Uint8Array {
  return encodeHandshake(HandshakeType.rekeyFinish, (writer) => writer.u32(epoch).bytes(confirmation));
}

export function decodeRekeyFinish(body: Uint8Array, confirmationBytes: number): RekeyFinish {
  return decodeWhole(body, (reader) => ({ epoch: reader.u32(), confirmation: reader.bytes(confirmationBytes) }));
}

export function encodeRekeyWanted(): Uint8Array {
  return encodeHandshake(HandshakeType.rekeyWanted, () => {});
}

export function decodeRekeyWanted(body: Uint8Array): void {
  decodeWhole(body, () => {});
}
