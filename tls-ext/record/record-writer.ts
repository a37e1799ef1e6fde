/**
 * The sending side of the record layer: cuts content into records, protects
 * them once it has keys, and lays many of them into one buffer for one write.
 */
import type { BufferPool } from '../engine-types.ts';
import type { TrafficKeys } from '../key-schedule/traffic-keys.ts';
import { TlsMisuseError } from '../tls-error.ts';
import { defaultBufferPool, releaseOnce } from './buffer-pool.ts';
import { SealingHalf } from './half-connection.ts';
import {
  BULK_BUFFER_BYTES,
  ContentType,
  LEGACY_RECORD_VERSION,
  MAX_PLAINTEXT_BYTES,
  MAX_RECORD_SIZE_LIMIT_BYTES,
  MIN_RECORD_SIZE_LIMIT_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_OVERHEAD_BYTES,
  SMALL_WRITE_BYTES,
  writeRecordHeader,
} from './record-format.ts';

/** Bytes for one write to the transport. `release` gives pooled memory back; the bytes are gone after it. */
export interface WriteChunk {
  readonly bytes: Uint8Array;
  readonly release?: () => void;
}

export interface RecordWriterOptions {
  readonly pool?: BufferPool;
  /** Pads the content of each protected record to a multiple of this (RFC 8446, 5.4), as far as the size limit lets it. Default 1: no padding. */
  readonly paddingMultipleBytes?: number;
}

/**
 * Room for content that has no spare byte behind it: the content type needs one.
 * Shared by all connections, since each use is over before the call returns.
 */
const scratch = new Uint8Array(MAX_RECORD_SIZE_LIMIT_BYTES);

export class RecordWriter {
  readonly #pool: BufferPool;
  readonly #paddingMultipleBytes: number;
  #half: SealingHalf | undefined;
  #maxContentBytes = MAX_PLAINTEXT_BYTES;

  constructor(options: RecordWriterOptions = {}) {
    this.#pool = options.pool ?? defaultBufferPool;
    this.#paddingMultipleBytes = options.paddingMultipleBytes ?? 1;
    if (!Number.isInteger(this.#paddingMultipleBytes) || this.#paddingMultipleBytes < 1) {
      throw new RangeError('paddingMultipleBytes must be a positive integer');
    }
  }

  /** The part of the AEAD's usage limit that the present keys have used up: from 0 to 1. */
  get limitShare(): number {
    return this.#half?.limitShare ?? 0;
  }

  /** Protects all that follows with these keys, which it takes and wipes; the keys before are ended. */
  setKeys(keys: TrafficKeys): void {
    this.#half?.wipe();
    this.#half = new SealingHalf(keys);
  }

  /** The peer's record_size_limit (RFC 8449): 64 … 2^14 + 1 bytes of TLSInnerPlaintext. For protected records only. */
  setRecordSizeLimit(limitBytes: number): void {
    if (!Number.isInteger(limitBytes) || limitBytes < MIN_RECORD_SIZE_LIMIT_BYTES) {
      throw new RangeError(`record_size_limit of ${limitBytes}`);
    }
    this.#maxContentBytes = Math.min(limitBytes, MAX_RECORD_SIZE_LIMIT_BYTES) - 1;
  }

  /**
   * A handshake message, an alert or ChangeCipherSpec (which is never
   * protected), in as many records as its length needs. `legacyVersion` is for an initial ClientHello.
   */
  write(type: ContentType, content: Uint8Array, legacyVersion = LEGACY_RECORD_VERSION): Uint8Array {
    if (content.length === 0) throw new TlsMisuseError('a record of this type is never empty');
    if (this.#half === undefined || type === ContentType.changeCipherSpec) {
      return writePlaintext(type, content, legacyVersion);
    }
    return this.#writeProtected(this.#half, type, content);
  }

  /** Application data, borrowed for this call. Empty data give no record. */
  writeApplicationData(plaintext: Uint8Array): WriteChunk[] {
    const half = this.#expectKeys();
    if (plaintext.length === 0) return [];
    half.expectRoomFor(Math.ceil(plaintext.length / this.#maxContentBytes));
    if (plaintext.length < SMALL_WRITE_BYTES) {
      return [{ bytes: this.#writeProtected(half, ContentType.applicationData, plaintext) }];
    }
    return this.#fillBulkBuffers(plaintext.length, (from, to, target, at) => {
      scratch.set(plaintext.subarray(from, to));
      return half.sealRecord(this.#innerInScratch(ContentType.applicationData, to - from), target, at);
    });
  }

  /**
   * The bulk path: application data `buffer[start, end)` without a copy. Byte
   * `buffer[end]` must exist; the byte after each slice is borrowed for its
   * content type and restored.
   */
  sealInPlace(buffer: Uint8Array, start: number, end: number): WriteChunk[] {
    if (!(start >= 0 && start <= end && end < buffer.length)) {
      throw new TlsMisuseError('sealInPlace needs a range with one byte behind it');
    }
    if (this.#paddingMultipleBytes > 1 || end - start < SMALL_WRITE_BYTES) {
      return this.writeApplicationData(buffer.subarray(start, end));
    }
    const half = this.#expectKeys();
    half.expectRoomFor(Math.ceil((end - start) / this.#maxContentBytes));
    return this.#fillBulkBuffers(end - start, (from, to, target, at) => {
      const borrowed = buffer[start + to] as number;
      buffer[start + to] = ContentType.applicationData;
      try {
        return half.sealRecord(buffer.subarray(start + from, start + to + 1), target, at);
      } finally {
        buffer[start + to] = borrowed;
      }
    });
  }

  /** Ends the keys. Idempotent. */
  wipe(): void {
    this.#half?.wipe();
  }

  #expectKeys(): SealingHalf {
    if (this.#half === undefined) throw new TlsMisuseError('application data before traffic keys');
    return this.#half;
  }

  /** Cuts `lengthBytes` into full records and lays as many as fit into each pooled buffer. */
  #fillBulkBuffers(
    lengthBytes: number,
    seal: (from: number, to: number, target: Uint8Array, at: number) => number,
  ): WriteChunk[] {
    const chunks: WriteChunk[] = [];
    let from = 0;
    while (from < lengthBytes) {
      const target = this.#pool.acquire();
      let at = 0;
      while (from < lengthBytes && at + this.#maxContentBytes + RECORD_OVERHEAD_BYTES <= BULK_BUFFER_BYTES) {
        const to = Math.min(from + this.#maxContentBytes, lengthBytes);
        at = seal(from, to, target, at);
        from = to;
      }
      chunks.push({ bytes: target.subarray(0, at), release: releaseOnce(this.#pool, target) });
    }
    return chunks;
  }

  /** Content in one buffer of the exact size. */
  #writeProtected(half: SealingHalf, type: ContentType, content: Uint8Array): Uint8Array {
    const max = this.#maxContentBytes;
    const fullRecords = Math.floor((content.length - 1) / max);
    const lastBytes = content.length - fullRecords * max;
    const target = new Uint8Array(
      fullRecords * (max + RECORD_OVERHEAD_BYTES) + this.#paddedBytes(lastBytes) + RECORD_OVERHEAD_BYTES,
    );
    let at = 0;
    for (let from = 0; from < content.length; from += max) {
      const slice = content.subarray(from, from + max);
      scratch.set(slice);
      at = half.sealRecord(this.#innerInScratch(type, slice.length), target, at);
    }
    return target;
  }

  /** TLSInnerPlaintext around content that lies at the start of `scratch`. */
  #innerInScratch(type: ContentType, contentBytes: number): Uint8Array {
    const paddedBytes = this.#paddedBytes(contentBytes);
    scratch[contentBytes] = type;
    if (paddedBytes > contentBytes) scratch.fill(0, contentBytes + 1, paddedBytes + 1);
    return scratch.subarray(0, paddedBytes + 1);
  }

  #paddedBytes(contentBytes: number): number {
    const multiple = this.#paddingMultipleBytes;
    return multiple === 1
      ? contentBytes
      : Math.min(Math.ceil(contentBytes / multiple) * multiple, this.#maxContentBytes);
  }
}

function writePlaintext(type: ContentType, content: Uint8Array, legacyVersion: number): Uint8Array {
  const records = Math.ceil(content.length / MAX_PLAINTEXT_BYTES);
  const target = new Uint8Array(content.length + records * RECORD_HEADER_BYTES);
  let at = 0;
  for (let from = 0; from < content.length; from += MAX_PLAINTEXT_BYTES) {
    const fragment = content.subarray(from, from + MAX_PLAINTEXT_BYTES);
    writeRecordHeader(target, at, type, legacyVersion, fragment.length);
    target.set(fragment, at + RECORD_HEADER_BYTES);
    at += RECORD_HEADER_BYTES + fragment.length;
  }
  return target;
}
