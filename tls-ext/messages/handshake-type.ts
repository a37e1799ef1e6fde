import { ByteWriter } from '../bytes/index.ts';

/** HandshakeType of TLS 1.3 (RFC 8446, 4). */
export const HandshakeType = {
  clientHello: 1,
  serverHello: 2,
  newSessionTicket: 4,
  endOfEarlyData: 5,
  encryptedExtensions: 8,
  certificate: 11,
  certificateRequest: 13,
  certificateVerify: 15,
  finished: 20,
  keyUpdate: 24,
  /** draft-qstunnel-tls-qkd-psk, "Rekeying a live connection". */
  rekeyRequest: 0xe0,
  rekeyResponse: 0xe1,
  rekeyFinish: 0xe2,
  rekeyWanted: 0xe3,
  /** Never on the wire: stands for the first ClientHello in the transcript after a HelloRetryRequest. */
  messageHash: 254,
} as const;
export type HandshakeType = (typeof HandshakeType)[keyof typeof HandshakeType];

/** Bytes of `msg_type` and `length`. */
export const HANDSHAKE_HEADER_BYTES = 4;

const names = new Map<number, string>(Object.entries(HandshakeType).map(([name, code]) => [code, name]));

/** Name of a handshake message for error texts, e.g. `encryptedExtensions`. */
export function handshakeTypeName(type: number): string {
  return names.get(type) ?? `handshake message ${type}`;
}

/** A whole handshake message: header and whatever `body` writes. Owned by the caller. */
export function encodeHandshake(type: HandshakeType, body: (writer: ByteWriter) => void): Uint8Array {
  return new ByteWriter().u8(type).vector(3, body).finish();
}
