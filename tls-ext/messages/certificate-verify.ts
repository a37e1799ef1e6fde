import { decodeWhole } from '../bytes/index.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';

/** RFC 8446, 4.4.3. `signature` of a decoded one is a view of the message. */
export interface CertificateVerify {
  /** SignatureScheme. */
  readonly algorithm: number;
  readonly signature: Uint8Array;
}

export function encodeCertificateVerify({ algorithm, signature }: CertificateVerify): Uint8Array {
  return encodeHandshake(HandshakeType.certificateVerify, (writer) => writer.u16(algorithm).vector(2, signature));
}

export function decodeCertificateVerify(body: Uint8Array): CertificateVerify {
  return decodeWhole(body, (reader) => ({ algorithm: reader.u16(), signature: reader.vector(2) }));
}
