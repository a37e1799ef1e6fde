/**
 * One end of a TLS connection: joins record layer, handshake and what follows
 * it. Nothing here knows what a step of the handshake means; it moves bytes to
 * messages, messages to the handshake, and its effects to events.
 *
 * Life: `new` → `handshaking` → `open` → `ended` → `destroyed`. Every method
 * answers with the events of that call, `write` events first: what was sealed
 * in one call is on its way before the caller can ask for more.
 */
import { Alert, alertName } from './alert.ts';
import { concatBytes } from './bytes/index.ts';
import type {
  EngineEvent,
  EngineOptions,
  IssuedTicket,
  PeerVerdict,
  PskDecision,
  QkdResult,
  TlsEngine,
} from './engine-types.ts';
import { limitExceeded, toTlsError, unexpectedMessage } from './handshake/faults.ts';
import { PostHandshake } from './handshake/post-handshake.ts';
import { HandshakeReassembler } from './handshake/reassembler.ts';
import { type Session, wipeSession } from './handshake/session.ts';
import type { Answer, HandshakeMessage, HandshakeWire, Pause, Steps } from './handshake/steps.ts';
import { exportKeyingMaterial, type TrafficKeys } from './key-schedule/index.ts';
import { KeyUpdateRequest } from './messages/index.ts';
import {
  ContentType,
  LEGACY_CLIENT_HELLO_VERSION,
  LEGACY_RECORD_VERSION,
  type OpenedRecord,
  RecordReader,
  RecordWriter,
  type WriteChunk,
} from './record/index.ts';
import { TlsError, TlsErrorCode, TlsMisuseError } from './tls-error.ts';

/** Bytes that may arrive while a PSK is being chosen: the client has nothing to say then but early data. */
export const MAX_PAUSED_BYTES_BEFORE_HELLO = 65_536;
/** Bytes that may arrive while a certificate is being judged: data may follow a client's Finished at once. */
export const MAX_PAUSED_BYTES = 1_048_576;
/** change_cipher_spec records of a handshake; two are usual, with HelloRetryRequest and early data. */
export const MAX_CHANGE_CIPHER_SPECS = 4;
/** Early data of a client that believes we accept it. */
export const MAX_SKIPPED_EARLY_DATA_BYTES = 65_536;
/** AlertLevel: what TLS 1.3 says of it is to ignore it (RFC 8446, 6). */
const ALERT_LEVEL_WARNING = 1;
const ALERT_LEVEL_FATAL = 2;

type State = 'new' | 'handshaking' | 'open' | 'ended' | 'destroyed';

const changeCipherSpec = Uint8Array.of(1);

export class TlsEndpoint implements TlsEngine {
  readonly #role: 'client' | 'server';
  readonly #steps: Steps<Session>;
  readonly #reader: RecordReader;
  readonly #writer: RecordWriter;
  readonly #reassembler = new HandshakeReassembler();
  #state: State = 'new';
  /** What the handshake waits for. */
  #pause: Pause | undefined;
  #session: Session | undefined;
  #postHandshake: PostHandshake | undefined;
  #qkdResult: QkdResult | undefined;
  /** Handshake messages that share a record with those to come. */
  #flight: Uint8Array[] = [];
  #writes: WriteChunk[] = [];
  #events: EngineEvent[] = [];
  #changeCipherSpec: 'not-sent' | 'before-next-record' | 'sent' = 'not-sent';
  #changeCipherSpecsReceived = 0;
  #firstFlightSent = false;
  #receivedAny = false;
  #pausedBytes = 0;
  #readClosed = false;
  #writeClosed = false;

  constructor(role: 'client' | 'server', options: EngineOptions, handshake: (wire: HandshakeWire) => Steps<Session>) {
    const pool = options.bufferPool === undefined ? {} : { pool: options.bufferPool };
    const { paddingMultipleBytes } = options;
    this.#role = role;
    this.#reader = new RecordReader(pool);
    this.#writer = new RecordWriter({
      ...pool,
      ...(paddingMultipleBytes === undefined ? {} : { paddingMultipleBytes }),
    });
    this.#steps = handshake(this.#wire());
  }

  start(): EngineEvent[] {
    if (this.#state !== 'new') throw new TlsMisuseError('start() called twice');
    this.#state = 'handshaking';
    return this.#call(() => this.#resume(undefined));
  }

  receive(bytes: Uint8Array): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'ended' || this.#readClosed || bytes.length === 0) return [];
    return this.#call(() => {
      if (!this.#receivedAny) expectTls(bytes);
      this.#receivedAny = true;
      if (this.#isPaused()) this.#boundPausedBytes(bytes.length);
      this.#reader.receive(bytes);
      this.#process();
    });
  }

  receiveEnd(): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'ended' || this.#readClosed) return [];
    return this.#call(() => {
      this.#readClosed = true;
      // No alert is sent for it: the code of a truncation is the alert that is missing.
      this.#end(
        new TlsError(TlsErrorCode.truncated, Alert.closeNotify, 'the connection ended without the alert'),
        undefined,
      );
    });
  }

  send(plaintext: Uint8Array): EngineEvent[] {
    return this.#sendApplicationData(() => this.#writer.writeApplicationData(plaintext));
  }

  sendInPlace(buffer: Uint8Array, start: number, end: number): EngineEvent[] {
    return this.#sendApplicationData(() => this.#writer.sealInPlace(buffer, start, end));
  }

  providePsk(decision: PskDecision): EngineEvent[] {
    return this.#answer('psk-decision', { kind: 'psk-decision', decision });
  }

  provideVerdict(verdict: PeerVerdict): EngineEvent[] {
    return this.#answer('verdict', { kind: 'verdict', verdict });
  }

  closeWrite(): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'handshaking') return this.abort(Alert.userCanceled);
    if (this.#state === 'ended' || this.#writeClosed) return [];
    return this.#call(() => {
      this.#sendAlert(Alert.closeNotify);
      this.#writeClosed = true;
    });
  }

  abort(alert: Alert): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'ended') return [];
    return this.#call(() => {
      this.#sendAlert(alert);
      this.#writeClosed = true;
      this.#wipe('ended');
    });
  }

  exportKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array {
    if (this.#session === undefined || this.#state === 'destroyed' || this.#state === 'ended') {
      throw new TlsMisuseError('exporters work from handshake-complete to the end');
    }
    return exportKeyingMaterial(this.#session.suite.hash, this.#session.exporterSecret, label, context, lengthBytes);
  }

  issueTicket(): IssuedTicket {
    throw new TlsMisuseError('tickets were not negotiated');
  }

  rekey(): EngineEvent[] {
    throw new TlsMisuseError('rekeying was not negotiated');
  }

  wantRekey(): EngineEvent[] {
    throw new TlsMisuseError('rekeying was not negotiated');
  }

  provideRekeyKey(): EngineEvent[] {
    throw new TlsMisuseError('rekeying was not negotiated');
  }

  get rekeyPossible(): boolean {
    return false;
  }

  get epoch(): number {
    return 0;
  }

  exportEpochKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array {
    return this.exportKeyingMaterial(label, context, lengthBytes);
  }

  destroy(): void {
    this.#wipe('destroyed');
  }

  /** Runs what a public method does, turns what it throws into a failure, and hands out its events. */
  #call(run: () => void): EngineEvent[] {
    try {
      run();
    } catch (error) {
      const fault = toTlsError(error);
      this.#end(fault, fault.alert);
    }
    return this.#takeEvents();
  }

  #takeEvents(): EngineEvent[] {
    this.#flush();
    const events: EngineEvent[] = inOneWrite(this.#writes).map((chunk) => ({ type: 'write', ...chunk }));
    events.push(...this.#events);
    this.#writes = [];
    this.#events = [];
    return events;
  }

  // Receiving.

  /** Messages and records one by one, until input runs out or the handshake pauses. */
  #process(): void {
    while (!this.#readClosed && (this.#state === 'handshaking' || this.#state === 'open')) {
      if (this.#isPaused()) {
        this.#reader.keepRest();
        return;
      }
      const message = this.#reassembler.next();
      if (message !== undefined) {
        this.#receiveMessage(message);
        continue;
      }
      const record = this.#reader.next();
      if (record === undefined) return;
      this.#receiveRecord(record);
    }
    // After an end the chunk is the caller's again, and what is left of it is of no interest.
    this.#reader.keepRest();
  }

  #receiveRecord(record: OpenedRecord): void {
    if (record.type !== ContentType.handshake && this.#reassembler.pendingBytes > 0) {
      throw unexpectedMessage('another record inside of a handshake message');
    }
    switch (record.type) {
      case ContentType.handshake:
        this.#reassembler.append(record.bytes);
        return;
      case ContentType.applicationData:
        this.#receiveApplicationData(record);
        return;
      case ContentType.alert:
        this.#receiveAlert(record.bytes);
        return;
      case ContentType.changeCipherSpec:
        this.#receiveChangeCipherSpec();
    }
  }

  #receiveMessage(message: HandshakeMessage): void {
    if (this.#postHandshake !== undefined) this.#postHandshake.receive(message);
    else this.#resume({ kind: 'message', message });
  }

  #receiveApplicationData({ bytes, release }: OpenedRecord): void {
    if (this.#postHandshake === undefined) throw unexpectedMessage('application data before Finished');
    this.#postHandshake.applicationDataReceived();
    this.#events.push({ type: 'plaintext', bytes, ...(release === undefined ? {} : { release }) });
  }

  #receiveAlert(content: Uint8Array): void {
    if (content.length !== 2) throw new TlsError(TlsErrorCode.decode, Alert.decodeError, 'malformed alert');
    const alert = content[1] as Alert;
    // "I am going away", for whoever doesn't wait for the close_notify behind it.
    if (alert === Alert.userCanceled) {
      if (this.#postHandshake !== undefined) this.#postHandshake.countIdleMessage();
      else this.#countChangeCipherSpec();
      return;
    }
    if (alert === Alert.closeNotify && this.#state === 'open') {
      this.#readClosed = true;
      this.#events.push({ type: 'closed' });
      return;
    }
    this.#end(new TlsError(TlsErrorCode.peerAlert, alert, `the peer sent ${alertName(alert)}`), undefined);
  }

  #receiveChangeCipherSpec(): void {
    if (this.#state !== 'handshaking' || this.#pause?.state === 'ExpectClientHello') {
      throw unexpectedMessage('change_cipher_spec outside of a handshake');
    }
    this.#countChangeCipherSpec();
  }

  #countChangeCipherSpec(): void {
    if (++this.#changeCipherSpecsReceived > MAX_CHANGE_CIPHER_SPECS) {
      throw limitExceeded('too many records without meaning in a handshake');
    }
  }

  #isPaused(): boolean {
    return this.#state === 'handshaking' && this.#pause !== undefined && this.#pause.awaits !== 'message';
  }

  #boundPausedBytes(lengthBytes: number): void {
    this.#pausedBytes += lengthBytes;
    const limit = this.#pause?.awaits === 'psk-decision' ? MAX_PAUSED_BYTES_BEFORE_HELLO : MAX_PAUSED_BYTES;
    if (this.#pausedBytes > limit) throw limitExceeded('too much data while the handshake waits for a decision');
  }

  // The handshake.

  #answer(awaited: Pause['awaits'], answer: Answer): EngineEvent[] {
    this.#expectStarted();
    // The connection may have ended while the decision was made.
    if (this.#state === 'ended') return [];
    if (this.#pause?.awaits !== awaited || this.#state !== 'handshaking') {
      throw new TlsMisuseError(`a ${answer.kind} was not asked for`);
    }
    return this.#call(() => {
      this.#pausedBytes = 0;
      this.#resume(answer);
      this.#process();
    });
  }

  #resume(answer: Answer | undefined): void {
    const step = answer === undefined ? this.#steps.next() : this.#steps.next(answer);
    if (!step.done) {
      this.#pause = step.value;
      return;
    }
    this.#pause = undefined;
    this.#session = step.value;
    this.#postHandshake = new PostHandshake(this.#postHandshakeWire(), this.#role, step.value);
    this.#state = 'open';
    this.#events.push({ type: 'handshake-complete', summary: step.value.summary });
  }

  #wire(): HandshakeWire {
    return {
      send: (message) => this.#flight.push(message),
      sendChangeCipherSpec: () => this.#scheduleChangeCipherSpec(),
      protectSending: (keys) => this.#protectSending(keys),
      protectReceiving: (keys) => this.#protectReceiving(keys),
      skipEarlyData: () => this.#reader.skipEarlyData(MAX_SKIPPED_EARLY_DATA_BYTES),
      limitRecords: (direction, limitBytes) => {
        if (direction === 'sending') this.#writer.setRecordSizeLimit(limitBytes);
        else this.#reader.setRecordSizeLimit(limitBytes);
      },
      qkdResult: (result) => {
        this.#qkdResult = result;
      },
      emit: (event) => this.#events.push(event),
    };
  }

  #postHandshakeWire() {
    const endpoint = this;
    return {
      get writable() {
        return !endpoint.#writeClosed;
      },
      send: (message: Uint8Array) => this.#flight.push(message),
      protectSending: (keys: TrafficKeys) => this.#protectSending(keys),
      protectReceiving: (keys: TrafficKeys) => this.#protectReceiving(keys),
    };
  }

  #protectSending(keys: TrafficKeys): void {
    this.#flush();
    this.#writer.setKeys(keys);
  }

  #protectReceiving(keys: TrafficKeys): void {
    if (this.#reassembler.pendingBytes > 0) throw unexpectedMessage('a handshake message across a change of keys');
    this.#reader.setKeys(keys);
  }

  // Sending.

  #sendApplicationData(seal: () => WriteChunk[]): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'ended') return [];
    if (this.#state !== 'open') throw new TlsMisuseError('application data before handshake-complete');
    if (this.#writeClosed) throw new TlsMisuseError('application data after closeWrite()');
    return this.#call(() => {
      this.#writes.push(...seal());
      // RFC 8446, 5.5: no key outlives the limit of its AEAD. Where rekeying was negotiated, that takes its place.
      if (this.#writer.keyUpdateDue && !this.#session?.rekeyNegotiated) {
        this.#postHandshake?.updateSendingKeys(KeyUpdateRequest.updateNotRequested);
      }
    });
  }

  /** The server's goes out at once; a client's waits for its next flight, of which it is the first record. */
  #scheduleChangeCipherSpec(): void {
    if (this.#changeCipherSpec !== 'not-sent') return;
    this.#flush();
    this.#changeCipherSpec = 'before-next-record';
    if (this.#role === 'server') this.#sendScheduledChangeCipherSpec();
  }

  #sendScheduledChangeCipherSpec(): void {
    if (this.#changeCipherSpec !== 'before-next-record') return;
    this.#changeCipherSpec = 'sent';
    this.#writes.push({ bytes: this.#writer.write(ContentType.changeCipherSpec, changeCipherSpec) });
  }

  /** Lays the messages of a flight into as few records as they fit in. */
  #flush(): void {
    if (this.#flight.length === 0) return;
    const flight = this.#flight.length === 1 ? (this.#flight[0] as Uint8Array) : concatBytes(...this.#flight);
    this.#flight = [];
    const initial = this.#role === 'client' && !this.#firstFlightSent;
    this.#firstFlightSent = true;
    this.#writeRecord(ContentType.handshake, flight, initial ? LEGACY_CLIENT_HELLO_VERSION : LEGACY_RECORD_VERSION);
  }

  #writeRecord(type: ContentType, content: Uint8Array, legacyVersion: number = LEGACY_RECORD_VERSION): void {
    this.#sendScheduledChangeCipherSpec();
    this.#writes.push({ bytes: this.#writer.write(type, content, legacyVersion) });
  }

  #sendAlert(alert: Alert): void {
    if (this.#writeClosed) return;
    this.#flush();
    const level = alert === Alert.closeNotify || alert === Alert.userCanceled ? ALERT_LEVEL_WARNING : ALERT_LEVEL_FATAL;
    this.#writeRecord(ContentType.alert, Uint8Array.of(level, alert));
  }

  // The end.

  /** Fails for good: with an alert of ours, or without one because the peer is gone. */
  #end(error: TlsError, alert: Alert | undefined): void {
    if (alert !== undefined) this.#sendAlert(alert);
    this.#writeClosed = true;
    this.#events.push({
      type: 'failed',
      error,
      ...(this.#qkdResult === undefined ? {} : { qkdResult: this.#qkdResult }),
    });
    this.#wipe('ended');
  }

  #wipe(state: 'ended' | 'destroyed'): void {
    this.#flush();
    this.#state = state;
    this.#pause = undefined;
    // Runs the handshake's `finally`, which wipes what it holds.
    this.#steps.return(undefined as never);
    this.#postHandshake?.wipe();
    if (this.#session !== undefined) wipeSession(this.#session);
    this.#reader.wipe();
    this.#writer.wipe();
  }

  #expectStarted(): void {
    if (this.#state === 'new') throw new TlsMisuseError('the engine has not been started');
    if (this.#state === 'destroyed') throw new TlsMisuseError('the engine has been destroyed');
  }
}

/** A peer that speaks plaintext HTTP or another protocol altogether is told apart by its first byte. */
function expectTls([contentType]: Uint8Array): void {
  if (!Object.values(ContentType).some((type) => type === contentType)) {
    throw new TlsError(TlsErrorCode.protocolVersion, Alert.protocolVersion, 'the peer does not speak TLS');
  }
}

/** Records of a handshake in one write; pooled buffers are large enough by themselves. */
function inOneWrite(chunks: readonly WriteChunk[]): readonly WriteChunk[] {
  if (chunks.length < 2 || chunks.some(({ release }) => release !== undefined)) return chunks;
  return [{ bytes: concatBytes(...chunks.map(({ bytes }) => bytes)) }];
}
