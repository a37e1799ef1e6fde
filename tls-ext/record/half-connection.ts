/**
 * The protection of one direction in one epoch: key, nonce and sequence number
 * (RFC 9846, "Record Payload Protection" and "Per-Record Nonce"; RFC 8446, 5.2 and 5.3).
 *
 * Where the time goes decides the form: the `KeyObject` is made once, the nonce
 * is changed in place, the additional data exists once for each length.
 */
import type { KeyObject } from 'node:crypto';
import { Alert } from '../alert.ts';
import { AEAD_TAG_BYTES, aeadKey, createAeadCipher, createAeadDecipher } from '../crypto/aead.ts';
import type { AeadAlgorithm } from '../crypto/cipher-suites.ts';
import type { TrafficKeys } from '../key-schedule/traffic-keys.ts';
import { TlsError, TlsErrorCode, TlsMisuseError } from '../tls-error.ts';
import {
  badRecordMac,
  ContentType,
  LEGACY_RECORD_VERSION,
  MAX_CIPHERTEXT_BYTES,
  RECORD_HEADER_BYTES,
  writeRecordHeader,
} from './record-format.ts';

/** Detaching a cipher's output frees it at once, not at the next collection of garbage (Node ≥ 22). */
const transfer: ((this: ArrayBuffer, length: number) => ArrayBuffer) | undefined = (
  ArrayBuffer.prototype as { transfer?: (this: ArrayBuffer, length: number) => ArrayBuffer }
).transfer;
const MIN_DETACH_BYTES = 1024;

/** Frees what a cipher returned, once it has been copied; small outputs, and views of a larger buffer, are left to the collector. */
export function detach(output: Uint8Array): void {
  if (transfer !== undefined && output.length >= MIN_DETACH_BYTES && output.length === output.buffer.byteLength) {
    transfer.call(output.buffer as ArrayBuffer, 0);
  }
}

/** Headers of protected records by the length of encrypted_record: they are its additional data. */
const headers = new Array<Uint8Array | undefined>(MAX_CIPHERTEXT_BYTES + 1);

/** The header of a protected record. Shared, so not to be changed. */
function protectedHeader(ciphertextBytes: number): Uint8Array {
  const cached = headers[ciphertextBytes];
  if (cached !== undefined) return cached;
  const header = new Uint8Array(RECORD_HEADER_BYTES);
  writeRecordHeader(header, 0, ContentType.applicationData, LEGACY_RECORD_VERSION, ciphertextBytes);
  headers[ciphertextBytes] = header;
  return header;
}

// A `DataView` for each nonce would cost more than all that it is used for in a handshake.
function readUint32(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
  return (a << 24) | (b << 16) | (c << 8) | d;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** The per-record nonce: the sequence number in 64 bits, xored into the IV's last 8 bytes. */
class RecordNonce {
  readonly bytes: Uint8Array;
  readonly #ivHigh: number;
  readonly #ivLow: number;

  constructor(iv: Uint8Array) {
    this.bytes = iv.slice();
    this.#ivHigh = readUint32(iv, 4);
    this.#ivLow = readUint32(iv, 8);
  }

  at(sequence: number): Uint8Array {
    if (sequence > 0xffff_ffff) writeUint32(this.bytes, 4, this.#ivHigh ^ Math.floor(sequence / 0x1_0000_0000));
    writeUint32(this.bytes, 8, this.#ivLow ^ (sequence >>> 0));
    return this.bytes;
  }

  wipe(): void {
    this.bytes.fill(0);
  }
}

/** A key, its nonce and how many records it has protected; the base of both directions. */
class HalfConnection {
  protected readonly aead: AeadAlgorithm;
  protected readonly key: KeyObject;
  protected readonly nonce: RecordNonce;
  protected sequence = 0;
  #wiped = false;

  constructor(keys: TrafficKeys) {
    this.aead = keys.suite.aead;
    this.key = aeadKey(keys.suite.aead, keys.key);
    this.nonce = new RecordNonce(keys.iv.expose());
    keys.key.wipe();
    keys.iv.wipe();
  }

  /** Records protected so far, which is the sequence number of the next one. */
  get recordCount(): number {
    return this.sequence;
  }

  /** The part of the AEAD's usage limit (in records) that this key has used up. */
  get limitShare(): number {
    return this.sequence / this.aead.sealLimitRecords;
  }

  /** Ends this epoch. The `KeyObject` is out of our reach and goes with the garbage. */
  wipe(): void {
    this.#wiped = true;
    this.nonce.wipe();
  }

  protected expectAlive(): void {
    if (this.#wiped) throw new TlsMisuseError('record protection used after its epoch');
  }
}

/** The part of an AEAD's limit that application data may use up: the rest is for the messages that end the key, or the connection. */
const APPLICATION_DATA_SHARE = 15 / 16;

/** The sending half. Takes ownership of the keys and wipes them. */
export class SealingHalf extends HalfConnection {
  /** Throws `TlsError` internal_error if so many records of application data would come too close to the AEAD's limit. */
  expectRoomFor(records: number): void {
    if (this.sequence + records > this.aead.sealLimitRecords * APPLICATION_DATA_SHARE) throw limitReached();
  }

  /**
   * Seals one record into `target` at `at`, header included, and returns where
   * it ends. `inner` is the TLSInnerPlaintext: content, content type, padding.
   * At the AEAD's limit it throws `TlsError` internal_error: no key is overused, whatever the peer does.
   */
  sealRecord(inner: Uint8Array, target: Uint8Array, at: number): number {
    this.expectAlive();
    if (this.sequence >= this.aead.sealLimitRecords) throw limitReached();
    const header = protectedHeader(inner.length + AEAD_TAG_BYTES);
    const cipher = createAeadCipher(this.aead, this.key, this.nonce.at(this.sequence++));
    cipher.setAAD(header);
    const sealed = cipher.update(inner);
    cipher.final();
    target.set(header, at);
    target.set(sealed, at + RECORD_HEADER_BYTES);
    const tagAt = at + RECORD_HEADER_BYTES + sealed.length;
    target.set(cipher.getAuthTag(), tagAt);
    detach(sealed);
    return tagAt + AEAD_TAG_BYTES;
  }
}

/** The receiving half. Takes ownership of the keys and wipes them. */
export class OpeningHalf extends HalfConnection {
  /**
   * Opens the record whose encrypted_record is `bytes[start, end)`, of checked
   * length, and returns its TLSInnerPlaintext in memory of its own.
   * Throws `TlsError` bad_record_mac, and then the sequence number stands still.
   */
  openRecord(bytes: Uint8Array, start: number, end: number): Uint8Array {
    this.expectAlive();
    const tagAt = end - AEAD_TAG_BYTES;
    const decipher = createAeadDecipher(this.aead, this.key, this.nonce.at(this.sequence));
    decipher.setAAD(protectedHeader(end - start));
    decipher.setAuthTag(bytes.subarray(tagAt, end));
    const inner = decipher.update(bytes.subarray(start, tagAt));
    try {
      decipher.final();
    } catch {
      inner.fill(0);
      throw badRecordMac('record fails authentication');
    }
    this.sequence++;
    return inner;
  }
}

function limitReached(): TlsError {
  return new TlsError(TlsErrorCode.limit, Alert.internalError, 'AEAD usage limit reached without new keys');
}
