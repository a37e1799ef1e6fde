/**
 * The receiving side of the record layer: bytes in as they come, records out in
 * order. Records are opened straight out of the caller's chunk; only a record
 * that a chunk leaves incomplete is copied.
 *
 *     reader.receive(chunk);
 *     for (let record = reader.next(); record !== undefined; record = reader.next()) …
 *
 * Consecutive records of application data come out as one; every other record
 * comes alone, and nothing behind it has been touched yet: `setKeys` between
 * two calls of `next` takes effect with the following record.
 */
import { AEAD_TAG_BYTES } from '../crypto/aead.ts';
import { plainBytes } from '../crypto/plain-bytes.ts';
import type { BufferPool } from '../engine-types.ts';
import type { TrafficKeys } from '../key-schedule/traffic-keys.ts';
import { TlsError } from '../tls-error.ts';
import { defaultBufferPool, releaseOnce } from './buffer-pool.ts';
import { detach, OpeningHalf } from './half-connection.ts';
import { RecordBytes } from './record-bytes.ts';
import {
  badRecordMac,
  ContentType,
  LEGACY_RECORD_VERSION,
  MAX_CIPHERTEXT_BYTES,
  MAX_INNER_PLAINTEXT_BYTES,
  MAX_RECORD_SIZE_LIMIT_BYTES,
  MIN_CIPHERTEXT_BYTES,
  MIN_RECORD_SIZE_LIMIT_BYTES,
  recordOverflow,
  SMALL_WRITE_BYTES,
  unexpectedRecord,
} from './record-format.ts';

/**
 * What the peer sent in one record, or in several of application data.
 * `bytes` belong to the receiver: until `release` where there is one, else for
 * good. Only application data may be empty, and then comes alone and without
 * `release`. A `changeCipherSpec` is well-formed. Whether either may stand here
 * is the engine's to say.
 */
export interface OpenedRecord {
  readonly type: ContentType;
  readonly bytes: Uint8Array;
  /** Whether it came under traffic keys. */
  readonly protected: boolean;
  readonly release?: () => void;
}

export interface RecordReaderOptions {
  readonly pool?: BufferPool;
}

/** Records of application data without content that a peer may send … */
export const MAX_EMPTY_RECORDS = 32;
/** … and one more for so many bytes of content. */
export const CONTENT_BYTES_PER_EMPTY_RECORD = 1024;

/** level, description. */
const ALERT_BYTES = 2;

export class RecordReader {
  readonly #pool: BufferPool;
  readonly #input = new RecordBytes();
  #half: OpeningHalf | undefined;
  #maxInnerBytes = MAX_INNER_PLAINTEXT_BYTES;
  #openedAny = false;
  /** Empty records, less those that content has made up for. */
  #emptyRecords = 0;
  #skipping = false;
  #skippableBytes = 0;
  /** What the decipher returned last: memory of its own, to be freed once it has been copied. */
  #lastInner: Uint8Array | undefined;
  /** What `next` says after the batch that it returned: the record, or the fault, that ended it. */
  #pending: OpenedRecord | TlsError | undefined;
  #fault: TlsError | undefined;

  constructor(options: RecordReaderOptions = {}) {
    this.#pool = options.pool ?? defaultBufferPool;
  }

  /** Whether records must be protected by now. */
  get protected(): boolean {
    return this.#half !== undefined;
  }

  /** Records opened under the present keys. */
  get recordCount(): number {
    return this.#half?.recordCount ?? 0;
  }

  /** The part of the AEAD's usage limit that the peer has used up of the present keys. */
  get limitShare(): number {
    return this.#half?.limitShare ?? 0;
  }

  /** Bytes received that are no whole record yet, or that `next` has not come to. */
  get unreadBytes(): number {
    return this.#input.incompleteBytes;
  }

  /** Opens all that follows with these keys, which it takes and wipes; the keys before are ended. */
  setKeys(keys: TrafficKeys): void {
    this.#half?.wipe();
    this.#half = new OpeningHalf(keys);
  }

  /** The record_size_limit that we announced and the peer must keep (RFC 8449): 64 … 2^14 + 1 bytes of TLSInnerPlaintext. */
  setRecordSizeLimit(limitBytes: number): void {
    if (
      !Number.isInteger(limitBytes) ||
      limitBytes < MIN_RECORD_SIZE_LIMIT_BYTES ||
      limitBytes > MAX_RECORD_SIZE_LIMIT_BYTES
    ) {
      throw new RangeError(`record_size_limit of ${limitBytes}`);
    }
    this.#maxInnerBytes = limitBytes;
  }

  /**
   * Skips up to `limitBytes` of early data that we don't take (RFC 9846, "Early
   * Data Indication"; RFC 8446, 4.2.10): before keys, records of application
   * data; under keys, records that don't open, up to the first that does.
   * More of it is `unexpected_message`.
   */
  skipEarlyData(limitBytes: number): void {
    this.#skipping = true;
    this.#skippableBytes = limitBytes;
  }

  /** Takes a chunk, which stays borrowed until `next` answers `undefined` or `keepRest` is called. */
  receive(chunk: Uint8Array): void {
    this.#input.append(chunk);
  }

  /** Copies what is left of the chunk: for a caller that can't call `next` to its end now. */
  keepRest(): void {
    this.#input.keepRest();
  }

  /**
   * The next record, or `undefined` if no whole one is left; then the chunk is
   * the caller's again. Throws `TlsError` on a fault, after everything in front
   * of it has come out, and from then on always.
   */
  next(): OpenedRecord | undefined {
    if (this.#fault !== undefined) throw this.#fault;
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending instanceof TlsError) throw this.#failed(pending);
    if (pending !== undefined) return pending;
    let record: OpenedRecord | undefined;
    try {
      record = this.#openNext();
    } catch (error) {
      throw this.#failed(error);
    }
    const gathered =
      record?.type === ContentType.applicationData &&
      record.bytes.length > 0 &&
      this.#input.applicationDataFollows(MAX_CIPHERTEXT_BYTES)
        ? this.#gather(record)
        : record;
    this.#lastInner = undefined;
    return gathered;
  }

  /** Ends the keys and drops what has not been read. Idempotent. */
  wipe(): void {
    this.#half?.wipe();
    this.#input.clear();
    this.#pending = undefined;
  }

  /** All application data from `first` on that lies whole in the chunk, or as much as fits into a bulk buffer. */
  #gather(first: OpenedRecord): OpenedRecord {
    const boundBytes = first.bytes.length + this.#input.chunkBytesLeft;
    const pooled = boundBytes > SMALL_WRITE_BYTES;
    const buffer = pooled ? this.#pool.acquire() : new Uint8Array(boundBytes);
    let length = 0;
    for (let record: OpenedRecord | undefined = first; record !== undefined; ) {
      if (record.type !== ContentType.applicationData) {
        this.#pending = record;
        break;
      }
      buffer.set(record.bytes, length);
      length += record.bytes.length;
      if (this.#lastInner !== undefined) detach(this.#lastInner);
      if (!this.#input.applicationDataFollows(buffer.length - length)) break;
      try {
        record = this.#openNext();
      } catch (error) {
        if (!(error instanceof TlsError)) throw error;
        this.#pending = error;
        break;
      }
    }
    const gathered = { type: first.type, bytes: buffer.subarray(0, length), protected: true };
    return pooled ? { ...gathered, release: releaseOnce(this.#pool, buffer) } : gathered;
  }

  /** The next record that is not skipped as early data; an empty one of application data comes out too. */
  #openNext(): OpenedRecord | undefined {
    while (this.#input.advance()) {
      const record = this.#half === undefined ? this.#readPlaintext() : this.#readUnder(this.#half);
      if (record !== undefined) return record;
    }
    return undefined;
  }

  /** A record before there are keys. */
  #readPlaintext(): OpenedRecord | undefined {
    const { type, start, end } = this.#input;
    switch (type) {
      case ContentType.handshake:
      case ContentType.alert:
        if (start === end) throw unexpectedRecord('empty record');
        return this.#copyOfRecord(type);
      case ContentType.changeCipherSpec:
        return this.#changeCipherSpec();
      default:
        if (this.#skip()) return undefined;
        throw unexpectedRecord('application data before keys');
    }
  }

  /** A record when there are keys. */
  #readUnder(half: OpeningHalf): OpenedRecord | undefined {
    const { type } = this.#input;
    switch (type) {
      case ContentType.applicationData:
        return this.#openProtected(half);
      case ContentType.changeCipherSpec:
        return this.#changeCipherSpec();
      case ContentType.alert:
        // A peer that could not use our hello has no keys to send its alert under.
        if (!this.#openedAny && this.#input.end - this.#input.start === ALERT_BYTES) return this.#copyOfRecord(type);
        throw unexpectedRecord('unprotected alert');
      default:
        throw unexpectedRecord('unprotected handshake record');
    }
  }

  #openProtected(half: OpeningHalf): OpenedRecord | undefined {
    const { bytes, start, end, version } = this.#input;
    const innerBytes = end - start - AEAD_TAG_BYTES;
    if (innerBytes > this.#maxInnerBytes) throw recordOverflow(`TLSInnerPlaintext of ${innerBytes} bytes`);
    let inner: Uint8Array;
    try {
      if (end - start < MIN_CIPHERTEXT_BYTES) throw badRecordMac('protected record without content');
      // The header is the additional data, and its version is a constant: another one can't authenticate.
      if (version !== LEGACY_RECORD_VERSION) throw badRecordMac('protected record of another version');
      inner = half.openRecord(bytes, start, end);
    } catch (error) {
      if (this.#skip()) return undefined;
      throw this.#skipping ? unexpectedRecord('more early data than is skipped') : error;
    }
    this.#openedAny = true;
    this.#skipping = false;
    this.#skippableBytes = 0;
    return this.#innerContent(inner);
  }

  /** Takes TLSInnerPlaintext apart. Application data may be empty: whether it may stand here is not known here. */
  #innerContent(inner: Uint8Array): OpenedRecord {
    let contentBytes = inner.length - 1;
    while (contentBytes >= 0 && inner[contentBytes] === 0) contentBytes--;
    if (contentBytes < 0) throw unexpectedRecord('protected record of padding only');
    const type = inner[contentBytes];
    switch (type) {
      case ContentType.applicationData:
        if (contentBytes === 0 && ++this.#emptyRecords > MAX_EMPTY_RECORDS) {
          throw unexpectedRecord('too many empty records');
        }
        break;
      case ContentType.handshake:
      case ContentType.alert:
        if (contentBytes === 0) throw unexpectedRecord('empty record');
        break;
      default:
        throw unexpectedRecord(`content type ${type} in a protected record`);
    }
    if (this.#emptyRecords > 0) {
      this.#emptyRecords = Math.max(0, this.#emptyRecords - contentBytes / CONTENT_BYTES_PER_EMPTY_RECORD);
    }
    this.#lastInner = inner;
    return { type, bytes: plainBytes(inner).subarray(0, contentBytes), protected: true };
  }

  #changeCipherSpec(): OpenedRecord {
    const { bytes, start, end } = this.#input;
    if (end - start !== 1 || bytes[start] !== 1) throw unexpectedRecord('malformed change_cipher_spec');
    return this.#copyOfRecord(ContentType.changeCipherSpec);
  }

  #copyOfRecord(type: ContentType): OpenedRecord {
    const { bytes, start, end } = this.#input;
    return { type, bytes: bytes.slice(start, end), protected: false };
  }

  /** Whether the current record is early data that may be passed over. */
  #skip(): boolean {
    const fragmentBytes = this.#input.end - this.#input.start;
    if (this.#skippableBytes < fragmentBytes) return false;
    this.#skippableBytes -= fragmentBytes;
    // An empty record costs nothing of the budget, so it ends with the first one.
    return fragmentBytes > 0;
  }

  /** Remembers the first fault: a record layer that has failed stays so. */
  #failed(error: unknown): unknown {
    if (error instanceof TlsError) this.#fault = error;
    return error;
  }
}
