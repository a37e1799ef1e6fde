/**
 * What one end sends: handshake messages into flights, flights, alerts and
 * application data into records, records into writes. The order of the calls is
 * the order on the wire.
 */
import { Alert } from './alert.ts';
import { concatBytes } from './bytes/index.ts';
import type { EngineOptions } from './engine-types.ts';
import type { TrafficKeys } from './key-schedule/index.ts';
import {
  ContentType,
  LEGACY_CLIENT_HELLO_VERSION,
  LEGACY_RECORD_VERSION,
  RecordWriter,
  type WriteChunk,
} from './record/index.ts';

/** AlertLevel: what TLS 1.3 says of it is to ignore it (RFC 8446, 6). */
const ALERT_LEVEL_WARNING = 1;
const ALERT_LEVEL_FATAL = 2;

const changeCipherSpec = Uint8Array.of(1);

export class Outgoing {
  readonly #role: 'client' | 'server';
  readonly #writer: RecordWriter;
  /** Handshake messages that share a record with those to come. */
  #flight: Uint8Array[] = [];
  #writes: WriteChunk[] = [];
  #changeCipherSpec: 'not-sent' | 'before-next-record' | 'sent' = 'not-sent';
  #firstFlightSent = false;
  #closed = false;

  constructor(role: 'client' | 'server', { bufferPool, paddingMultipleBytes }: EngineOptions) {
    this.#role = role;
    this.#writer = new RecordWriter({
      ...(bufferPool === undefined ? {} : { pool: bufferPool }),
      ...(paddingMultipleBytes === undefined ? {} : { paddingMultipleBytes }),
    });
  }

  /** Whether an alert has ended this direction. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The part of the AEAD's limit that the present keys have used up. */
  get limitShare(): number {
    return this.#writer.limitShare;
  }

  /** A handshake message: it goes out with its neighbours, at the latest when the caller takes what was written. */
  message(bytes: Uint8Array): void {
    this.#flight.push(bytes);
  }

  /** A handshake message that ends with its record. */
  lastMessage(bytes: Uint8Array): void {
    this.message(bytes);
    this.#flush();
  }

  applicationData(plaintext: Uint8Array): void {
    this.#flush();
    this.#writes.push(...this.#writer.writeApplicationData(plaintext));
  }

  /** `buffer[start, end)`, as `RecordWriter.sealInPlace` has it. */
  applicationDataInPlace(buffer: Uint8Array, start: number, end: number): void {
    this.#flush();
    this.#writes.push(...this.#writer.sealInPlace(buffer, start, end));
  }

  /** Nothing after close_notify or an error alert is sent any more. */
  alert(alert: Alert): void {
    if (this.#closed) return;
    this.#flush();
    const warning = alert === Alert.closeNotify || alert === Alert.userCanceled;
    this.#record(ContentType.alert, Uint8Array.of(warning ? ALERT_LEVEL_WARNING : ALERT_LEVEL_FATAL, alert));
  }

  close(): void {
    this.#closed = true;
  }

  /** A server's change_cipher_spec goes out at once; a client's waits for its next flight, of which it is the first record. */
  changeCipherSpec(): void {
    if (this.#changeCipherSpec !== 'not-sent') return;
    this.#flush();
    this.#changeCipherSpec = 'before-next-record';
    if (this.#role === 'server') this.#sendScheduledChangeCipherSpec();
  }

  /** Keys for what follows. */
  protect(keys: TrafficKeys): void {
    this.#flush();
    this.#writer.setKeys(keys);
  }

  /** The peer's record_size_limit. */
  limitRecords(innerPlaintextBytes: number): void {
    this.#writer.setRecordSizeLimit(innerPlaintextBytes);
  }

  /** Everything since the last call. */
  takeWrites(): readonly WriteChunk[] {
    this.#flush();
    const writes = this.#writes;
    this.#writes = [];
    return inOneWrite(writes);
  }

  /** Ends the keys; what was written under them is still to be taken. */
  wipe(): void {
    this.#flush();
    this.#writer.wipe();
  }

  /** Lays the messages of a flight into as few records as they fit in. */
  #flush(): void {
    if (this.#flight.length === 0) return;
    const flight = this.#flight.length === 1 ? (this.#flight[0] as Uint8Array) : concatBytes(...this.#flight);
    this.#flight = [];
    const initial = this.#role === 'client' && !this.#firstFlightSent;
    this.#firstFlightSent = true;
    this.#record(ContentType.handshake, flight, initial ? LEGACY_CLIENT_HELLO_VERSION : LEGACY_RECORD_VERSION);
  }

  #record(type: ContentType, content: Uint8Array, legacyVersion: number = LEGACY_RECORD_VERSION): void {
    this.#sendScheduledChangeCipherSpec();
    this.#writes.push({ bytes: this.#writer.write(type, content, legacyVersion) });
  }

  #sendScheduledChangeCipherSpec(): void {
    if (this.#changeCipherSpec !== 'before-next-record') return;
    this.#changeCipherSpec = 'sent';
    this.#writes.push({ bytes: this.#writer.write(ContentType.changeCipherSpec, changeCipherSpec) });
  }
}

/** Records of a handshake in one write; pooled buffers are large enough by themselves. */
function inOneWrite(chunks: readonly WriteChunk[]): readonly WriteChunk[] {
  if (chunks.length < 2 || chunks.some(({ release }) => release !== undefined)) return chunks;
  return [{ bytes: concatBytes(...chunks.map(({ bytes }) => bytes)) }];
}
