/**
 * One end of a TLS connection: joins record layer, handshake and what follows
 * it. Nothing here knows what a step of the handshake means; it moves bytes to
 * messages, messages to the handshake, and its effects to events.
 *
 * Life: `new` → `handshaking` → `open` → `ended` → `destroyed`. Every method
 * answers with the events of that call, `write` events first: what was sealed
 * in one call is on its way before the caller can ask for more.
 */
import { Alert } from './alert.ts';
import {
  MAX_CHANGE_CIPHER_SPECS,
  MAX_PAUSED_BYTES,
  MAX_PAUSED_BYTES_BEFORE_HELLO,
  MAX_SKIPPED_EARLY_DATA_BYTES,
} from './endpoint-limits.ts';
import type {
  EngineEvent,
  EngineOptions,
  IssuedTicket,
  PeerVerdict,
  PskDecision,
  QkdPsk,
  QkdResult,
  TicketHandle,
  TlsEngine,
} from './engine-types.ts';
import { limitExceeded, toTlsError, unexpectedMessage } from './handshake/faults.ts';
import { PostHandshake, type PostHandshakeWire } from './handshake/post-handshake.ts';
import { HandshakeReassembler } from './handshake/reassembler.ts';
import type { Session } from './handshake/session.ts';
import type { Answer, HandshakeMessage, HandshakeWire, Pause, Steps } from './handshake/steps.ts';
import { exportKeyingMaterial, type TrafficKeys } from './key-schedule/index.ts';
import { Outgoing } from './outgoing.ts';
import { ContentType, expectTls, type OpenedRecord, RecordReader } from './record/index.ts';
import { TlsError, TlsErrorCode, TlsMisuseError } from './tls-error.ts';

type State = 'new' | 'handshaking' | 'open' | 'ended' | 'destroyed';

export class TlsEndpoint implements TlsEngine {
  readonly #role: 'client' | 'server';
  /** The handshake, until it is over: nothing of it is kept. */
  #steps: Steps<Session> | undefined;
  readonly #reader: RecordReader;
  readonly #outgoing: Outgoing;
  readonly #reassembler = new HandshakeReassembler();
  #state: State = 'new';
  /** What the handshake waits for. */
  #pause: Pause | undefined;
  #session: Session | undefined;
  #postHandshake: PostHandshake | undefined;
  #qkdResult: QkdResult | undefined;
  #events: EngineEvent[] = [];
  #changeCipherSpecsReceived = 0;
  #receivedAny = false;
  #pausedBytes = 0;
  #readClosed = false;
  /** closeWrite() was called, but close_notify waits for the rekey under way. */
  #closeDeferred = false;

  constructor(role: 'client' | 'server', options: EngineOptions, handshake: (wire: HandshakeWire) => Steps<Session>) {
    this.#role = role;
    this.#reader = new RecordReader(options.bufferPool === undefined ? {} : { pool: options.bufferPool });
    this.#outgoing = new Outgoing(role, options);
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
      const error = new TlsError(TlsErrorCode.truncated, undefined, 'the connection ended without close_notify');
      this.#end(error, undefined);
    });
  }

  send(plaintext: Uint8Array): EngineEvent[] {
    return this.#sendApplicationData(plaintext.length, () => this.#outgoing.applicationData(plaintext));
  }

  sendInPlace(buffer: Uint8Array, start: number, end: number): EngineEvent[] {
    return this.#sendApplicationData(end - start, () => this.#outgoing.applicationDataInPlace(buffer, start, end));
  }

  providePsk(decision: PskDecision): EngineEvent[] {
    try {
      return this.#answer('psk-decision', { kind: 'psk-decision', decision });
    } finally {
      // Whatever came of it: nothing but an early secret is left of the key.
      if (decision.action === 'use') decision.psk.secret.wipe();
    }
  }

  provideVerdict(verdict: PeerVerdict): EngineEvent[] {
    return this.#answer('verdict', { kind: 'verdict', verdict });
  }

  closeWrite(): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'handshaking') return this.abort(Alert.userCanceled);
    if (this.#state === 'ended' || this.#closing) return [];
    return this.#call(() => {
      if (this.#postHandshake?.rekeying.close()) this.#closeDeferred = true;
      else this.#sendCloseNotify();
    });
  }

  abort(alert: Alert): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'ended') return [];
    return this.#call(() => {
      this.#outgoing.alert(alert);
      this.#outgoing.close();
      this.#wipe('ended');
    });
  }

  exportKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array {
    const { suite, exporterSecret } = this.#expectSession();
    return exportKeyingMaterial(suite.hash, exporterSecret, label, context, lengthBytes);
  }

  exportEpochKeyingMaterial(label: string, context: Uint8Array, lengthBytes: number): Uint8Array {
    this.#expectSession();
    return this.#expectPostHandshake().exportEpochKeyingMaterial(label, context, lengthBytes);
  }

  issueTicket(ticket: TicketHandle): IssuedTicket | undefined {
    if (this.#role === 'client') throw new TlsMisuseError('only a server issues tickets');
    const postHandshake = this.#expectPostHandshake();
    if (this.#state === 'ended' || this.#closing) return undefined;
    const issued = postHandshake.issueTicket(ticket);
    return issued && { ...issued, events: this.#takeEvents() };
  }

  rekey(key?: QkdPsk): EngineEvent[] {
    return this.#afterHandshake(key, ({ rekeying }) => rekeying.start(key));
  }

  wantRekey(): EngineEvent[] {
    return this.#afterHandshake(undefined, ({ rekeying }) => rekeying.want());
  }

  provideRekeyKey(key: QkdPsk | undefined): EngineEvent[] {
    return this.#afterHandshake(key, ({ rekeying }) => rekeying.provideKey(key));
  }

  get rekeyPossible(): boolean {
    return this.#state === 'open' && (this.#postHandshake?.rekeying.possible ?? false);
  }

  get epoch(): number {
    return this.#postHandshake?.epoch ?? 0;
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
    const events: EngineEvent[] = this.#outgoing.takeWrites().map((chunk) => ({ type: 'write', ...chunk }));
    events.push(...this.#events);
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
    // An empty one hides how much there is to say (RFC 8446, 5.1). It is not pooled.
    if (bytes.length === 0) return;
    this.#events.push({ type: 'plaintext', bytes, ...(release === undefined ? {} : { release }) });
    this.#postHandshake.applicationData(bytes.length);
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
      this.#postHandshake?.rekeying.peerClosed();
      this.#events.push({ type: 'closed' });
      return;
    }
    this.#end(new TlsError(TlsErrorCode.peerAlert, alert, 'the peer sent an alert'), undefined);
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
    const step = answer === undefined ? this.#steps?.next() : this.#steps?.next(answer);
    this.#pause = step?.done === false ? step.value : undefined;
    if (!step?.done) return;
    this.#steps = undefined;
    this.#session = step.value;
    this.#postHandshake = new PostHandshake(this.#postHandshakeWire(), this.#role, step.value);
    this.#state = 'open';
    this.#events.push({ type: 'handshake-complete', summary: step.value.summary });
  }

  #wire(): HandshakeWire {
    return {
      send: (message) => this.#outgoing.message(message),
      sendChangeCipherSpec: () => this.#outgoing.changeCipherSpec(),
      protectSending: (keys) => this.#outgoing.protect(keys),
      protectReceiving: (keys) => this.#protectReceiving(keys),
      skipEarlyData: () => this.#reader.skipEarlyData(MAX_SKIPPED_EARLY_DATA_BYTES),
      limitRecords: (direction, limitBytes) => {
        if (direction === 'sending') this.#outgoing.limitRecords(limitBytes);
        else this.#reader.setRecordSizeLimit(limitBytes);
      },
      qkdResult: (result) => {
        this.#qkdResult = result;
      },
      emit: (event) => this.#events.push(event),
    };
  }

  #postHandshakeWire(): PostHandshakeWire {
    const endpoint = this;
    return {
      get closing() {
        return endpoint.#closing;
      },
      get writeClosed() {
        return endpoint.#outgoing.closed;
      },
      get readClosed() {
        return endpoint.#readClosed;
      },
      get sendingLimitShare() {
        return endpoint.#outgoing.limitShare;
      },
      get receivingLimitShare() {
        return endpoint.#reader.limitShare;
      },
      send: (message) => this.#outgoing.message(message),
      sendAtRecordEnd: (message) => this.#outgoing.lastMessage(message),
      expectRecordBoundary: () => this.#expectRecordBoundary(),
      protectSending: (keys) => this.#outgoing.protect(keys),
      protectReceiving: (keys) => this.#protectReceiving(keys),
      emit: (event) => this.#events.push(event),
      rekeyEnded: () => {
        if (this.#closeDeferred) this.#sendCloseNotify();
      },
    };
  }

  #protectReceiving(keys: TrafficKeys): void {
    this.#expectRecordBoundary();
    this.#reader.setKeys(keys);
  }

  #expectRecordBoundary(): void {
    if (this.#reassembler.pendingBytes > 0) throw unexpectedMessage('a handshake message across a change of keys');
  }

  // After the handshake.

  /** A method that may come too late: the connection may have ended while its caller made up its mind. */
  #afterHandshake(key: QkdPsk | undefined, run: (postHandshake: PostHandshake) => void): EngineEvent[] {
    const postHandshake = this.#expectPostHandshake();
    if (this.#state !== 'ended') return this.#call(() => run(postHandshake));
    key?.secret.wipe();
    return [];
  }

  #sendApplicationData(lengthBytes: number, seal: () => void): EngineEvent[] {
    this.#expectStarted();
    if (this.#state === 'ended') return [];
    if (this.#state !== 'open') throw new TlsMisuseError('application data before handshake-complete');
    if (this.#closing) throw new TlsMisuseError('application data after closeWrite()');
    return this.#call(() => {
      seal();
      this.#postHandshake?.applicationData(lengthBytes);
    });
  }

  // The end.

  get #closing(): boolean {
    return this.#closeDeferred || this.#outgoing.closed;
  }

  #sendCloseNotify(): void {
    this.#closeDeferred = false;
    this.#outgoing.alert(Alert.closeNotify);
    this.#outgoing.close();
  }

  /** Fails for good: with an alert of ours, or without one because the peer is gone. */
  #end(error: TlsError, alert: Alert | undefined): void {
    if (alert !== undefined) this.#outgoing.alert(alert);
    this.#outgoing.close();
    this.#events.push({
      type: 'failed',
      error,
      ...(this.#qkdResult === undefined ? {} : { qkdResult: this.#qkdResult }),
    });
    this.#wipe('ended');
  }

  #wipe(state: 'ended' | 'destroyed'): void {
    this.#state = state;
    this.#pause = undefined;
    // Runs the handshake's `finally`, which wipes what it holds.
    this.#steps?.return(undefined as never);
    this.#steps = undefined;
    this.#postHandshake?.wipe();
    this.#reader.wipe();
    this.#outgoing.wipe();
  }

  #expectSession(): Session {
    if (this.#session === undefined || this.#state === 'destroyed' || this.#state === 'ended') {
      throw new TlsMisuseError('exporters work from handshake-complete to the end');
    }
    return this.#session;
  }

  #expectPostHandshake(): PostHandshake {
    this.#expectStarted();
    if (this.#postHandshake === undefined) throw new TlsMisuseError('the handshake is not complete');
    return this.#postHandshake;
  }

  #expectStarted(): void {
    if (this.#state === 'new') throw new TlsMisuseError('the engine has not been started');
    if (this.#state === 'destroyed') throw new TlsMisuseError('the engine has been destroyed');
  }
}
