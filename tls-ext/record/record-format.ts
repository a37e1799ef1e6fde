/** The record's format and sizes (RFC 9846, "Record Layer"; RFC 8446, 5). */
import { Alert } from '../alert.ts';
import { AEAD_TAG_BYTES } from '../crypto/aead.ts';
import { TlsError, TlsErrorCode } from '../tls-error.ts';

export const ContentType = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
} as const;
export type ContentType = (typeof ContentType)[keyof typeof ContentType];

/** type, legacy_record_version, length. */
export const RECORD_HEADER_BYTES = 5;
/** Largest TLSPlaintext.fragment and TLSInnerPlaintext.content. */
export const MAX_PLAINTEXT_BYTES = 2 ** 14;
/** Largest TLSInnerPlaintext: content, content type and padding. */
export const MAX_INNER_PLAINTEXT_BYTES = MAX_PLAINTEXT_BYTES + 1;
/** Largest TLSCiphertext.encrypted_record. */
export const MAX_CIPHERTEXT_BYTES = MAX_PLAINTEXT_BYTES + 256;
/** Smallest TLSCiphertext.encrypted_record: a content type and a tag. */
export const MIN_CIPHERTEXT_BYTES = 1 + AEAD_TAG_BYTES;
/** What protection adds to a record's content: header, content type and tag. */
export const RECORD_OVERHEAD_BYTES = RECORD_HEADER_BYTES + 1 + AEAD_TAG_BYTES;
/** Limits that record_size_limit may announce in TLS 1.3 (RFC 8449, 4): of TLSInnerPlaintext. */
export const MIN_RECORD_SIZE_LIMIT_BYTES = 64;
export const MAX_RECORD_SIZE_LIMIT_BYTES = MAX_INNER_PLAINTEXT_BYTES;

/** legacy_record_version of all records but an initial ClientHello's. */
export const LEGACY_RECORD_VERSION = 0x0303;
/** What an initial ClientHello may carry instead, for old middleboxes. */
export const LEGACY_CLIENT_HELLO_VERSION = 0x0301;

/** Full-size records that one bulk buffer holds. */
const RECORDS_PER_BULK_BUFFER = 32;
/** Size of every buffer of a `BufferPool`: 32 protected records of full size, headers included. */
export const BULK_BUFFER_BYTES = RECORDS_PER_BULK_BUFFER * (MAX_PLAINTEXT_BYTES + RECORD_OVERHEAD_BYTES);
/** Below this much application data, a buffer of the exact size is cheaper than a pooled one. */
export const SMALL_WRITE_BYTES = 8192;

export function recordOverflow(message: string): TlsError {
  return new TlsError(TlsErrorCode.recordOverflow, Alert.recordOverflow, message);
}

export function badRecordMac(message: string): TlsError {
  return new TlsError(TlsErrorCode.badRecordMac, Alert.badRecordMac, message);
}

export function unexpectedRecord(message: string): TlsError {
  return new TlsError(TlsErrorCode.unexpectedMessage, Alert.unexpectedMessage, message);
}

/** Writes a record header at `at`. */
export function writeRecordHeader(
  target: Uint8Array,
  at: number,
  type: ContentType,
  version: number,
  lengthBytes: number,
): void {
  target[at] = type;
  target[at + 1] = version >>> 8;
  target[at + 2] = version;
  target[at + 3] = lengthBytes >>> 8;
  target[at + 4] = lengthBytes;
}

/** A peer that speaks plaintext HTTP or another protocol altogether is told apart by its first byte. */
export function expectTls([contentType]: Uint8Array): void {
  if (!Object.values(ContentType).some((type) => type === contentType)) {
    throw new TlsError(TlsErrorCode.protocolVersion, Alert.protocolVersion, 'the peer does not speak TLS');
  }
}
