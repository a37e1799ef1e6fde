/** The answerer's end of the key channel; see types.ts for its contract and messages.ts for what it says. */
import { bytesEqual, constantTimeEqual, hexOf, type SecretBytes } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import { expectLegalBatch, refusalOf, streamOf } from './answerer-intake.ts';
import { AnswererOutbox } from './answerer-outbox.ts';
import { type Connection, type Instance, type Key, newInstance, type Stream } from './answerer-records.ts';
import { abortFor, ChannelConnection, unexpected } from './channel-connection.ts';
import { deriveCheckValues } from './check-value.ts';
import { KeyChannelError, KeyChannelErrorCode, KeyChannelMisuseError } from './errors.ts';
import {
  DEFAULT_KEY_TTL_SECONDS,
  MAX_CONNECTIONS,
  MAX_DRAWER_INSTANCES,
  MAX_KEY_TTL_SECONDS,
  MAX_STREAMS_PER_INSTANCE,
  QKD_KEY_BYTES,
} from './limits.ts';
import type {
  AbortMessage,
  CloseStreamMessage,
  DroppedMessage,
  HelloMessage,
  KeyChannelMessage,
  KeyResult,
  KeysMessage,
  StreamMessage,
} from './messages.ts';
import { expectOptions } from './options.ts';
import { referenceId } from './reference-id.ts';
import type {
  AnswererApi,
  AnswererEvent,
  AnswererOptions,
  AnswererStreamEnd,
  AnswererWithdrawal,
  ConnectionId,
  KeyChannelState,
  ServiceRequirement,
  StreamFailure,
} from './types.ts';

export class KeyChannelAnswerer implements AnswererApi {
  readonly #options: AnswererOptions;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #instances = new Map<string, Instance>();
  readonly #streams = new Map<string, Stream>();
  readonly #keys = new Map<string, Key>();
  readonly #outbox: AnswererOutbox;
  #state: KeyChannelState;
  #peerKme = '';
  #events: AnswererEvent[] = [];

  constructor(options: AnswererOptions) {
    expectOptions(options);
    this.#options = options;
    this.#outbox = new AnswererOutbox({
      isOpen: (connection) => this.#connections.get(connection.id) === connection,
      write: (connection, bytes) => this.#events.push({ type: 'write', connection: connection.id, bytes }),
    });
    this.#state = { kmeReachable: false, kmeName: options.kmeName, poolKeys: 0, reasons: [] };
  }

  connected(id: ConnectionId, services: readonly ServiceRequirement[]): AnswererEvent[] {
    if (this.#connections.has(id)) throw new KeyChannelMisuseError(`connection ${id} is open already`);
    const connection: Connection = { id, channel: new ChannelConnection(), nextBatch: 0 };
    this.#connections.set(id, connection);
    const { instance, quota } = this.#options;
    this.#outbox.write(connection, { type: 'hello', instance, quota, services });
    this.#outbox.write(connection, { type: 'state', ...this.#state });
    if (this.#connections.size > MAX_CONNECTIONS) {
      this.#fail(connection, new KeyChannelError(KeyChannelErrorCode.limit, 'too many key channels of one peer'), 0);
    }
    return this.#flush();
  }

  receive(id: ConnectionId, bytes: Uint8Array, nowMs: number): AnswererEvent[] {
    const connection = this.#connections.get(id);
    if (connection === undefined) return [];
    const error = connection.channel.receive(bytes, (message) => this.#handle(connection, message, nowMs));
    if (error !== undefined) this.#fail(connection, error, nowMs);
    return this.#flush();
  }

  disconnected(id: ConnectionId, nowMs: number): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#forgetConnection(connection, nowMs);
  }

  setState(state: KeyChannelState): AnswererEvent[] {
    this.#state = state;
    for (const connection of this.#connections.values()) this.#outbox.write(connection, { type: 'state', ...state });
    return this.#flush();
  }

  streamOpened(ksid: Uint8Array, keyChunkSizeBytes: number): AnswererEvent[] {
    const stream = this.#streams.get(hexOf(ksid));
    // Closed by the drawer while our KME was opening it.
    if (stream === undefined) return [];
    // No key fits into a chunk.
    if (keyChunkSizeBytes < QKD_KEY_BYTES) {
      this.#outbox.write(stream.connection, { type: 'failed', ksid, reason: 'qos_not_met', retrying: false });
      this.#endStream(stream, 'closed');
      return this.#flush();
    }
    stream.keyChunkSizeBytes = keyChunkSizeBytes;
    this.#outbox.streamState(stream);
    return this.#flush();
  }

  streamFailed(ksid: Uint8Array, reason: StreamFailure, retrying: boolean): AnswererEvent[] {
    const stream = this.#streams.get(hexOf(ksid));
    if (stream === undefined) return [];
    if (retrying && stream.keyChunkSizeBytes === undefined) {
      stream.failure = reason;
      this.#outbox.streamState(stream);
      return this.#flush();
    }
    // Once opened, a stream that fails is over: an index of it is never resumed.
    this.#outbox.write(stream.connection, { type: 'failed', ksid, reason, retrying: false });
    this.#forgetStream(stream);
    return this.#flush();
  }

  provideKey(reference: QkdKeyReference, secret: SecretBytes): AnswererEvent[] {
    const key = this.#keys.get(referenceId(reference));
    // Withdrawn while our KME was answering.
    if (key === undefined || key.ownCheck !== undefined) {
      secret.wipe();
      return [];
    }
    const checks = deriveCheckValues(key.reference, secret);
    if (!constantTimeEqual(checks.drawer, key.drawerCheck)) {
      secret.wipe();
      this.#onMismatch(key);
      return this.#flush();
    }
    key.ownCheck = checks.answerer;
    this.#events.push({ type: 'key-accepted', reference: key.reference, secret, expiresAtMs: key.expiresAtMs });
    this.#outbox.result(key, { status: 'acked', check: key.ownCheck });
    return this.#flush();
  }

  reportPending(reference: QkdKeyReference): AnswererEvent[] {
    const key = this.#keys.get(referenceId(reference));
    // Said once, however often our KME has not got it yet.
    if (key !== undefined && key.ownCheck === undefined && !key.pending) {
      key.pending = true;
      this.#outbox.result(key, { status: 'pending' });
    }
    return this.#flush();
  }

  reportNotFound(reference: QkdKeyReference): AnswererEvent[] {
    const key = this.#keys.get(referenceId(reference));
    if (key !== undefined && key.ownCheck === undefined) {
      this.#outbox.result(key, { status: 'unavailable' });
      this.#forgetKey(key);
    }
    return this.#flush();
  }

  keyEnded(reference: QkdKeyReference): void {
    const key = this.#keys.get(referenceId(reference));
    if (key !== undefined) this.#forgetKey(key);
  }

  tick(nowMs: number): AnswererEvent[] {
    for (const connection of [...this.#connections.values()]) {
      const overdue = connection.channel.overdue(nowMs);
      if (overdue !== undefined) this.#fail(connection, overdue, nowMs);
    }
    for (const key of [...this.#keys.values()]) if (nowMs >= key.expiresAtMs) this.#withdraw(key, 'expired');
    for (const instance of [...this.#instances.values()]) {
      if (instance.connections.size > 0) continue;
      const goneMs = nowMs - instance.disconnectedAtMs;
      for (const stream of [...instance.streams.values()]) {
        const ttlSeconds = Math.min(stream.qos.ttlSeconds || DEFAULT_KEY_TTL_SECONDS, MAX_KEY_TTL_SECONDS);
        if (goneMs >= 1000 * ttlSeconds) this.#endStream(stream, 'expired');
      }
      if (goneMs >= 1000 * MAX_KEY_TTL_SECONDS && instance.keys.size === 0) this.#instances.delete(instance.id);
    }
    return this.#flush();
  }

  #handle(connection: Connection, message: Exclude<KeyChannelMessage, AbortMessage>, nowMs: number): void {
    if (message.type === 'hello') {
      this.#onHello(connection, message);
      return;
    }
    const instance = connection.instance as Instance;
    switch (message.type) {
      case 'state': {
        const { type: _, ...state } = message;
        this.#peerKme = state.kmeName;
        this.#events.push({ type: 'peer-state', connection: connection.id, state });
        return;
      }
      case 'stream':
        this.#onStream(connection, instance, message);
        return;
      case 'keys':
        this.#onKeys(connection, instance, message, nowMs);
        return;
      case 'dropped':
        this.#onDropped(instance, message);
        return;
      case 'close_stream':
        this.#onCloseStream(instance, message);
        return;
      default:
        throw unexpected(message);
    }
  }

  #onHello(connection: Connection, { type: _, ...peer }: HelloMessage): void {
    if (bytesEqual(peer.instance, this.#options.instance)) {
      throw new KeyChannelError(KeyChannelErrorCode.selfConnection, 'the key channel reached its own process');
    }
    const known = this.#instances.get(hexOf(peer.instance));
    const instance = known ?? this.#newInstance(hexOf(peer.instance));
    instance.quota = Math.min(this.#options.quota, peer.quota);
    instance.connections.add(connection);
    connection.instance = instance;
    this.#events.push({
      type: 'ready',
      connection: connection.id,
      peer,
      peerInstance: known === undefined ? 'new' : 'same',
    });
  }

  #newInstance(id: string): Instance {
    if (this.#instances.size >= MAX_DRAWER_INSTANCES) this.#evictInstance();
    const instance = newInstance(id);
    this.#instances.set(id, instance);
    return instance;
  }

  /** Makes room by forgetting the instance that has been gone for longest. */
  #evictInstance(): void {
    const [oldest] = [...this.#instances.values()]
      .filter((instance) => instance.connections.size === 0)
      .sort((a, b) => a.disconnectedAtMs - b.disconnectedAtMs);
    if (oldest === undefined) {
      throw new KeyChannelError(KeyChannelErrorCode.limit, 'too many processes of one peer');
    }
    for (const key of [...oldest.keys]) this.#withdraw(key, 'evicted');
    for (const stream of [...oldest.streams.values()]) this.#endStream(stream, 'evicted');
    this.#instances.delete(oldest.id);
  }

  #onStream(connection: Connection, instance: Instance, { ksid, qos }: StreamMessage): void {
    const id = hexOf(ksid);
    const known = this.#streams.get(id);
    if (known?.instance === instance) {
      known.connection = connection;
      this.#outbox.streamState(known);
      return;
    }
    const refusal =
      known !== undefined
        ? 'ksid_in_use'
        : instance.endedStreams.has(id)
          ? 'lost'
          : instance.streams.size >= MAX_STREAMS_PER_INSTANCE
            ? 'limit'
            : undefined;
    // The keys of a stream that did not match are answered with the mismatch, which says more.
    if (instance.mismatched.has(id)) return;
    if (refusal !== undefined) {
      this.#outbox.write(connection, { type: 'failed', ksid, reason: refusal, retrying: false });
      return;
    }
    const stream: Stream = { id, ksid, qos, instance, connection, keys: new Set() };
    this.#streams.set(id, stream);
    instance.streams.set(id, stream);
    this.#events.push({ type: 'stream-requested', ksid, qos });
  }

  #onKeys(connection: Connection, instance: Instance, message: KeysMessage, nowMs: number): void {
    const ids = expectLegalBatch(message, connection, this.#keys, this.#options.peerSae);
    connection.nextBatch++;
    const batchKeys = new Set<Key>();
    const results: KeyResult[] = [];
    const fetch: Key[] = [];
    const expiresAtMs = nowMs + 1000 * message.ttlSeconds;
    let mismatched = false;
    for (const [position, announcement] of message.keys.entries()) {
      const id = ids[position] as string;
      const place = { connection, batch: message.batch, position, batchKeys };
      const known = this.#keys.get(id);
      if (known?.instance === instance) {
        known.batchKeys.delete(known);
        Object.assign(known, place);
        batchKeys.add(known);
        if (!constantTimeEqual(known.drawerCheck, announcement.check)) {
          this.#outbox.results(connection, message.batch, results.splice(0));
          this.#onMismatch(known);
          mismatched = true;
        } else if (known.ownCheck !== undefined) {
          results.push({ position, status: 'acked', check: known.ownCheck });
        } else if (known.pending) {
          results.push({ position, status: 'pending' });
        }
        continue;
      }
      const refusal =
        known !== undefined || mismatched ? 'unavailable' : refusalOf(instance, id, announcement.reference);
      if (refusal !== undefined) {
        results.push({ position, status: refusal });
        continue;
      }
      const stream = streamOf(instance, announcement.reference);
      const key: Key = {
        id,
        reference: announcement.reference,
        instance,
        ...(stream === undefined ? {} : { stream }),
        drawerCheck: announcement.check,
        expiresAtMs,
        ...place,
        pending: false,
      };
      this.#keys.set(id, key);
      instance.keys.add(key);
      stream?.keys.add(key);
      batchKeys.add(key);
      fetch.push(key);
    }
    this.#outbox.results(connection, message.batch, results);
    const wanted = fetch.filter(({ id }) => this.#keys.has(id));
    if (wanted.length === 0) return;
    this.#events.push({ type: 'keys-announced', references: wanted.map(({ reference }) => reference) });
  }

  #onDropped(instance: Instance, { reason, references }: DroppedMessage): void {
    const keys = references
      .map((reference) => this.#keys.get(referenceId(reference)))
      .filter((key) => key?.instance === instance) as Key[];
    const first = keys[0];
    if (reason === 'mismatch' && first !== undefined) this.#reportMismatch(first.reference);
    for (const key of keys) this.#withdraw(key, reason === 'mismatch' ? 'mismatch' : 'dropped');
  }

  #onCloseStream(instance: Instance, { ksid, reason }: CloseStreamMessage): void {
    const stream = instance.streams.get(hexOf(ksid));
    // Ended here already.
    if (stream === undefined) return;
    if (reason === 'mismatch') {
      this.#reportMismatch(undefined, stream.ksid);
      this.#withdrawAll(stream.keys, 'mismatch');
    }
    this.#endStream(stream, reason === 'mismatch' ? 'mismatch' : 'closed');
  }

  #onMismatch(key: Key): void {
    this.#outbox.result(key, { status: 'mismatch' });
    this.#reportMismatch(key.reference, key.stream?.ksid);
    const { stream } = key;
    this.#withdrawAll(stream === undefined ? key.batchKeys : stream.keys, 'mismatch');
    if (stream !== undefined && this.#streams.get(stream.id) === stream) this.#endStream(stream, 'mismatch');
  }

  #reportMismatch(reference: QkdKeyReference | undefined, ksid?: Uint8Array): void {
    this.#events.push({
      type: 'mismatch',
      report: {
        ...(reference === undefined ? {} : { reference }),
        ...(ksid === undefined ? {} : { ksid }),
        ownKme: this.#state.kmeName,
        peerKme: this.#peerKme,
      },
    });
  }

  /** Ends a stream whose keys that are not fetched yet will not be; accepted ones live on. */
  #endStream(stream: Stream, reason: AnswererStreamEnd): void {
    this.#forgetStream(stream);
    this.#events.push({ type: 'stream-ended', ksid: stream.ksid, reason });
  }

  #forgetStream(stream: Stream): void {
    this.#withdrawAll(
      [...stream.keys].filter((key) => key.ownCheck === undefined),
      'stream-ended',
    );
    this.#streams.delete(stream.id);
    stream.instance.streams.delete(stream.id);
    stream.instance.endedStreams.add(stream.id);
  }

  #withdrawAll(keys: Iterable<Key>, reason: AnswererWithdrawal): void {
    for (const key of [...keys]) this.#withdraw(key, reason);
  }

  #withdraw(key: Key, reason: AnswererWithdrawal): void {
    if (this.#keys.get(key.id) !== key) return;
    this.#forgetKey(key);
    if (reason === 'mismatch') key.instance.mismatched.add(key.stream?.id ?? key.id);
    this.#events.push({
      type: 'key-withdrawn',
      reference: key.reference,
      reason,
      accepted: key.ownCheck !== undefined,
    });
  }

  #forgetKey(key: Key): void {
    this.#keys.delete(key.id);
    key.instance.keys.delete(key);
    key.stream?.keys.delete(key);
    key.batchKeys.delete(key);
    if (key.stream === undefined) key.instance.endedKeys.add(key.id);
  }

  #fail(connection: Connection, error: KeyChannelError, nowMs: number): void {
    const abort = abortFor(error);
    if (abort !== undefined) this.#outbox.write(connection, abort);
    this.#forgetConnection(connection, nowMs);
    this.#events.push({ type: 'failed', connection: connection.id, error });
  }

  #forgetConnection(connection: Connection, nowMs: number): void {
    this.#connections.delete(connection.id);
    connection.instance?.connections.delete(connection);
    if (connection.instance?.connections.size === 0) connection.instance.disconnectedAtMs = nowMs;
  }

  #flush(): AnswererEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }
}
