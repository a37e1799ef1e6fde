/** Survivors of the record layer and of importing keys, with their reasons. */
import type { Explained } from './explained.ts';

const halfConnection: readonly Explained[] = [
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (transfer !== undefined && output.length >= MIN_DETACH_BYTES && output.length === output.buffer.byteLength) {',
    why: 'the same on a runtime that has, or has not, transfer(): the tests say it for both',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'const headers = new Array<Uint8Array | undefined>(MAX_CIPHERTEXT_BYTES + 1);',
    why: 'the size that an array starts with is speed, not behaviour',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (cached !== undefined) return cached;',
    replacement: 'false',
    why: 'without the cache the same header is made again: speed',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (sequence > 0xffff_ffff) this.#view.setUint32(4, this.#ivHigh ^ Math.floor(sequence / 0x1_0000_0000));',
    why: 'below 2^32 the upper half is ivHigh ^ 0, which stands there already: the condition saves time',
  },
];

const recordReader: readonly Explained[] = [
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'const pooled = boundBytes > SMALL_WRITE_BYTES;',
    replacement: 'boundBytes >= SMALL_WRITE_BYTES',
    why: 'at the very bound either kind of buffer is right',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (this.#lastInner !== undefined) detach(this.#lastInner);',
    why: 'memory that was copied is freed now or by the collector later; #lastInner is always set here',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (!(error instanceof TlsError)) throw error;',
    why: 'nothing but a TlsError is thrown while records are opened; a bug of ours would come out one call later',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'while (contentBytes >= 0 && inner[contentBytes] === 0) contentBytes--;',
    why: 'before the first byte stands `undefined`, which ends the loop too; a lone zero is refused as content type 0 or as padding, with the same alert',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: "if (contentBytes < 0) throw unexpectedRecord('protected record of padding only');",
    replacement: 'false',
    why: 'the content type is `undefined` then, which is refused two lines on with the same alert: the check is for the message',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (error instanceof TlsError) this.#fault = error;',
    replacement: 'true',
    why: 'nothing but a TlsError gets here',
  },
];

const recordWriter: readonly Explained[] = [
  ...['true', 'this.#paddingMultipleBytes >= 1', 'end - start <= SMALL_WRITE_BYTES'].map((replacement) => ({
    file: 'tls-ext/record/record-writer.ts',
    line: 'if (this.#paddingMultipleBytes > 1 || end - start < SMALL_WRITE_BYTES) {',
    replacement,
    why: 'with a copy or without, the records are the same: speed',
  })),
  ...['true', 'paddedBytes >= contentBytes'].map((replacement) => ({
    file: 'tls-ext/record/record-writer.ts',
    line: 'if (paddedBytes > contentBytes) scratch.fill(0, contentBytes + 1, paddedBytes + 1);',
    replacement,
    why: 'without padding there is nothing to fill: the condition saves time',
  })),
  {
    file: 'tls-ext/record/record-writer.ts',
    line: 'return multiple === 1',
    replacement: 'false',
    why: 'the least multiple of 1 is the length itself: speed',
  },
];

const recordBytes: readonly Explained[] = [
  ...[
    ['if (this.chunkBytesLeft === 0) {', 'false'],
    ['if (this.chunkBytesLeft === 0) {', '{}'],
    ['this.#chunk = this.chunkBytesLeft === 0 ? nothing : this.#chunk.slice(this.#at);', 'false'],
  ].map(([line = '', replacement = '']) => ({
    file: 'tls-ext/record/record-bytes.ts',
    line,
    replacement,
    why: 'of a chunk that is used up nothing is read: memory is freed sooner or later, or nothing is copied',
  })),
  {
    file: 'tls-ext/record/record-bytes.ts',
    line: 'if (this.chunkBytesLeft < RECORD_HEADER_BYTES || this.#chunk[this.#at] !== ContentType.applicationData) {',
    replacement: 'false',
    why: 'of the first half: what is shorter than a header is shorter than its record, too',
  },
];

const outgoing: readonly Explained[] = [
  ...[
    '...(bufferPool === undefined ? {} : { pool: bufferPool }),',
    '...(paddingMultipleBytes === undefined ? {} : { paddingMultipleBytes }),',
  ].map((line) => ({
    file: 'tls-ext/outgoing.ts',
    line,
    replacement: 'false',
    why: 'for the compiler: an option that is `undefined` has its default as well',
  })),
  {
    file: 'tls-ext/outgoing.ts',
    line: 'const flight = this.#flight.length === 1 ? (this.#flight[0] as Uint8Array) : concatBytes(...this.#flight);',
    replacement: 'false',
    why: 'a copy of one message says the same: speed',
  },
  {
    file: 'tls-ext/outgoing.ts',
    line: "this.#changeCipherSpec = 'sent';",
    why: 'the two other states are asked for, and this is neither',
  },
];

const importer: readonly Explained[] = [
  {
    file: 'tls-ext/key-schedule/importer.ts',
    line: 'default:',
    why: 'a function that ends without a result says `undefined` as well',
  },
];

export const records: readonly Explained[] = [
  ...halfConnection,
  ...recordReader,
  ...recordWriter,
  ...recordBytes,
  ...outgoing,
  ...importer,
];
