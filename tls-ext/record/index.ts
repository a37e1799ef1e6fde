export { createBufferPool } from './buffer-pool.ts';
export {
  BULK_BUFFER_BYTES,
  ContentType,
  expectTls,
  LEGACY_CLIENT_HELLO_VERSION,
  LEGACY_RECORD_VERSION,
  MAX_PLAINTEXT_BYTES,
} from './record-format.ts';
export {
  CONTENT_BYTES_PER_EMPTY_RECORD,
  MAX_EMPTY_RECORDS,
  type OpenedRecord,
  RecordReader,
} from './record-reader.ts';
export { RecordWriter, type WriteChunk } from './record-writer.ts';
