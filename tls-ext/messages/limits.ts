/**
 * Bounds on what a peer may make us parse and hold. The grammar of TLS allows
 * far more in most places; nothing that a real peer sends comes near these.
 */
import { HandshakeType } from './handshake-type.ts';

/** Longest handshake message, header excluded, unless its type is named below. */
export const MAX_MESSAGE_BYTES = 16_384;
/** A ClientHello with two hybrid shares and a few tickets is about 5 KiB. */
const MAX_CLIENT_HELLO_BYTES = 32_768;
/** Four certificates with ML-DSA-87 keys and signatures and an OCSP response are about 40 KiB. */
const MAX_CERTIFICATE_MESSAGE_BYTES = 131_072;
/** A CertificateRequest may carry the names of many authorities. */
const MAX_CERTIFICATE_REQUEST_BYTES = 65_536;
/** A rekey_request with a share of SecP384r1MLKEM1024 and the longest identity is about 2.8 KiB. */
const MAX_REKEY_MESSAGE_BYTES = 4096;

export const MAX_EXTENSIONS = 64;
export const MAX_CIPHER_SUITES = 256;
export const MAX_VERSIONS = 127;
export const MAX_NAMED_GROUPS = 128;
export const MAX_SIGNATURE_SCHEMES = 128;
export const MAX_KEY_SHARES = 16;
export const MAX_ALPN_PROTOCOLS = 64;
export const MAX_PSK_IDENTITIES = 32;
export const MAX_CERTIFICATES = 16;
export const MAX_CERTIFICATE_AUTHORITIES = 512;
/** RFC 1035: a host name has at most 253 characters; one more for a trailing dot. */
export const MAX_HOST_NAME_BYTES = 254;
/** SAE IDs on the wire: UTF-8. */
export const MAX_SAE_ID_BYTES = 255;
/** SKIP leaves the length of a key ID to the implementation. */
export const MAX_SKIP_KEY_ID_BYTES = 255;

/** The longest body that a handshake message of this type may have. */
export function maxMessageBytes(type: number): number {
  switch (type) {
    case HandshakeType.clientHello:
      return MAX_CLIENT_HELLO_BYTES;
    case HandshakeType.certificate:
      return MAX_CERTIFICATE_MESSAGE_BYTES;
    case HandshakeType.certificateRequest:
      return MAX_CERTIFICATE_REQUEST_BYTES;
    case HandshakeType.rekeyRequest:
    case HandshakeType.rekeyResponse:
    case HandshakeType.rekeyFinish:
    case HandshakeType.rekeyWanted:
      return MAX_REKEY_MESSAGE_BYTES;
    default:
      return MAX_MESSAGE_BYTES;
  }
}
