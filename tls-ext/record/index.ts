export { createBufferPool, defaultBufferPool } from './buffer-pool.ts';
export {
  BULK_BUFFER_BYTES,
  ContentType,
  expectTls,
  LEGACY_CLIENT_HELLO_VERSION,
  LEGACY_RECORD_VERSION,
  MAX_CIPHERTEXT_BYTES,
  MAX_INNER_PLAINTEXT_BYTES,
  MAX_PLAINTEXT_BYTES,
  MAX_RECORD_SIZE_LIMIT_BYTES,
  MIN_RECORD_SIZE_LIMIT_BYTES,
  RECORD_HEADER_BYTES,
} from './record-format.ts';
export {
  CONTENT_BYTES_PER_EMPTY_RECORD,
  MAX_EMPTY_RECORDS,
  type OpenedRecord,
  RecordReader,
  type RecordReaderOptions,
} from './record-reader.ts';
export { RecordWriter, type RecordWriterOptions, type WriteChunk } from './record-writer.ts';
