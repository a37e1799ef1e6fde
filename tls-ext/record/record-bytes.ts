/**
 * Cuts a stream of bytes into records, wherever the stream itself was cut. A
 * whole record is shown where it lies in the chunk; one that a chunk leaves
 * incomplete is gathered in memory of its own, of exactly its size.
 */
import {
  ContentType,
  MAX_CIPHERTEXT_BYTES,
  MAX_PLAINTEXT_BYTES,
  RECORD_HEADER_BYTES,
  recordOverflow,
  unexpectedRecord,
} from './record-format.ts';

const nothing = new Uint8Array(0);

export class RecordBytes {
  #chunk: Uint8Array = nothing;
  #at = 0;
  #partial: Uint8Array | undefined;
  #partialLength = 0;

  /** The current record, after `advance` answered true: fragment `bytes[start, end)`. */
  bytes: Uint8Array = nothing;
  type = 0;
  version = 0;
  start = 0;
  end = 0;

  /** Bytes of the chunk that no record has taken yet. */
  get chunkBytesLeft(): number {
    return this.#chunk.length - this.#at;
  }

  /** Bytes that belong to no whole record yet. */
  get incompleteBytes(): number {
    return this.#partialLength + this.chunkBytesLeft;
  }

  /** Borrows a chunk. What an earlier one has left is put in front of it. */
  append(chunk: Uint8Array): void {
    if (this.chunkBytesLeft === 0) {
      // A plain view, since slicing a Buffer costs several times as much.
      this.#chunk = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    } else {
      const joined = new Uint8Array(this.chunkBytesLeft + chunk.length);
      joined.set(this.#chunk.subarray(this.#at));
      joined.set(chunk, this.chunkBytesLeft);
      this.#chunk = joined;
    }
    this.#at = 0;
  }

  /** Copies what is left, so that the borrowed chunk is free. */
  keepRest(): void {
    this.#chunk = this.chunkBytesLeft === 0 ? nothing : this.#chunk.slice(this.#at);
    this.#at = 0;
  }

  clear(): void {
    this.#chunk = nothing;
    this.#at = 0;
    this.bytes = nothing;
    this.#partial = undefined;
    this.#partialLength = 0;
  }

  /** Whether another whole record of application data lies in the chunk, with a fragment of at most `maxFragmentBytes`. */
  applicationDataFollows(maxFragmentBytes: number): boolean {
    if (this.chunkBytesLeft < RECORD_HEADER_BYTES || this.#chunk[this.#at] !== ContentType.applicationData) {
      return false;
    }
    const fragmentBytes = lengthInHeader(this.#chunk, this.#at);
    return fragmentBytes <= maxFragmentBytes && this.chunkBytesLeft >= RECORD_HEADER_BYTES + fragmentBytes;
  }

  /**
   * Moves to the next whole record. If there is none, what is left has been
   * copied and the chunk is free. Throws `TlsError` as soon as a header is impossible.
   */
  advance(): boolean {
    const whole = this.#partial === undefined ? this.#advanceInChunk() : this.#advanceInPartial(this.#partial);
    // An idle connection holds on to no record.
    if (!whole) this.bytes = nothing;
    return whole;
  }

  #advanceInChunk(): boolean {
    const available = this.chunkBytesLeft;
    if (available < RECORD_HEADER_BYTES) {
      if (available > 0) this.#startPartial(RECORD_HEADER_BYTES);
      this.#chunk = nothing;
      this.#at = 0;
      return false;
    }
    const recordBytes = RECORD_HEADER_BYTES + checkedFragmentBytes(this.#chunk, this.#at);
    if (available < recordBytes) {
      this.#startPartial(recordBytes);
      return false;
    }
    this.#show(this.#chunk, this.#at, recordBytes);
    this.#at += recordBytes;
    return true;
  }

  #advanceInPartial(partial: Uint8Array): boolean {
    this.#fill(partial);
    if (this.#partialLength < partial.length) return false;
    if (partial.length === RECORD_HEADER_BYTES) {
      const fragmentBytes = checkedFragmentBytes(partial, 0);
      if (fragmentBytes > 0) {
        const whole = new Uint8Array(RECORD_HEADER_BYTES + fragmentBytes);
        whole.set(partial);
        this.#partial = whole;
        return this.#advanceInPartial(whole);
      }
    }
    this.#partial = undefined;
    this.#partialLength = 0;
    this.#show(partial, 0, partial.length);
    return true;
  }

  #startPartial(lengthBytes: number): void {
    this.#partial = new Uint8Array(lengthBytes);
    this.#fill(this.#partial);
  }

  #fill(partial: Uint8Array): void {
    const take = Math.min(partial.length - this.#partialLength, this.chunkBytesLeft);
    partial.set(this.#chunk.subarray(this.#at, this.#at + take), this.#partialLength);
    this.#partialLength += take;
    this.#at += take;
    if (this.chunkBytesLeft === 0) {
      this.#chunk = nothing;
      this.#at = 0;
    }
  }

  #show(bytes: Uint8Array, at: number, recordBytes: number): void {
    this.bytes = bytes;
    this.type = bytes[at] as number;
    this.version = ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    this.start = at + RECORD_HEADER_BYTES;
    this.end = at + recordBytes;
  }
}

function lengthInHeader(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number);
}

/** The fragment's length, if type and length may be; so garbage is found at its fifth byte and nothing oversized is gathered. */
function checkedFragmentBytes(bytes: Uint8Array, at: number): number {
  const type = bytes[at] as number;
  const fragmentBytes = lengthInHeader(bytes, at);
  switch (type) {
    case ContentType.applicationData:
      if (fragmentBytes > MAX_CIPHERTEXT_BYTES) throw recordOverflow(`record of ${fragmentBytes} bytes`);
      return fragmentBytes;
    case ContentType.handshake:
    case ContentType.alert:
    case ContentType.changeCipherSpec:
      if (fragmentBytes > MAX_PLAINTEXT_BYTES) throw recordOverflow(`record of ${fragmentBytes} bytes`);
      return fragmentBytes;
    default:
      throw unexpectedRecord(`content type ${type} is none of TLS 1.3`);
  }
}
