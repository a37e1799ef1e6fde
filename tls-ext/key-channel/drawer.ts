/** The drawer's end of the key channel; see types.ts for its contract and messages.ts for what it says. */
import { bytesEqual, constantTimeEqual, hexOf } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import { abortFor, ChannelConnection, unexpected } from './channel-connection.ts';
import { deriveCheckValues } from './check-value.ts';
import { DrawerHealth } from './drawer-health.ts';
import { DrawerOutbox } from './drawer-outbox.ts';
import { expectLegalResults, expectOneBatch, type Group, type Key, type Stream } from './drawer-records.ts';
import { KeyChannelError, KeyChannelErrorCode, KeyChannelMisuseError } from './errors.ts';
import type { DrawerGreeting } from './greeting.ts';
import { MAX_KEY_TTL_SECONDS, MAX_KEYS_PER_BATCH, PROBE_KEYS } from './limits.ts';
import { encodeMessage } from './message-codec.ts';
import type {
  AbortMessage,
  FailedMessage,
  HelloMessage,
  KeyChannelMessage,
  KeyResult,
  OpenedMessage,
  ResultsMessage,
} from './messages.ts';
import { expectOptions } from './options.ts';
import { referenceId } from './reference-id.ts';
import type {
  AnnouncedKey,
  DrawerApi,
  DrawerEvent,
  DrawerOptions,
  DrawerStreamEnd,
  DrawerWithdrawal,
  KeyChannelState,
  KeyStreamQos,
  PeerHello,
  StreamFailure,
} from './types.ts';

const DEFAULT_TTL_MARGIN_MS = 5_000;
const DEFAULT_BACK_OFF_MIN_MS = 1_000;
const DEFAULT_BACK_OFF_MAX_MS = 60_000;

export class KeyChannelDrawer implements DrawerApi {
  readonly #options: DrawerOptions;
  readonly #ttlMarginMs: number;
  readonly #health: DrawerHealth;
  readonly #streams = new Map<string, Stream>();
  readonly #keys = new Map<string, Key>();
  readonly #outbox: DrawerOutbox;
  #state: KeyChannelState;
  #connection: ChannelConnection | undefined;
  #peer: PeerHello | undefined;
  #peerKme = '';
  #events: DrawerEvent[] = [];

  constructor(options: DrawerOptions) {
    expectOptions(options);
    this.#options = options;
    this.#ttlMarginMs = options.ttlMarginMs ?? DEFAULT_TTL_MARGIN_MS;
    this.#health = new DrawerHealth({
      minMs: options.backOffMinMs ?? DEFAULT_BACK_OFF_MIN_MS,
      maxMs: options.backOffMaxMs ?? DEFAULT_BACK_OFF_MAX_MS,
    });
    this.#outbox = new DrawerOutbox({ ready: () => this.ready, write: (message) => this.#write(message) });
    this.#state = { kmeReachable: false, kmeName: options.kmeName, poolKeys: 0, reasons: [] };
  }

  /** What the answerer said last; its instance is the one that holds our acked keys. */
  get peer(): PeerHello | undefined {
    return this.#peer;
  }

  /** Whether hellos are exchanged on a connection that is up. */
  get ready(): boolean {
    return this.#connection?.helloReceived ?? false;
  }

  /** Whether the KMEs disagreed so often that only probes go out. */
  get kmeQuarantined(): boolean {
    return this.#health.kmeQuarantined;
  }

  connected(): DrawerEvent[] {
    if (this.#connection !== undefined) throw new KeyChannelMisuseError('the drawer has a connection already');
    this.#connection = new ChannelConnection();
    this.#outbox.connected();
    const { instance, quota, services } = this.#options;
    this.#write({ type: 'hello', instance, quota, services });
    this.#write({ type: 'state', ...this.#state });
    return this.#flush();
  }

  takeOver(greeting: DrawerGreeting, nowMs: number): DrawerEvent[] {
    const { connection, peer, state } = greeting;
    if (this.#connection !== undefined) throw new KeyChannelMisuseError('the drawer has a connection already');
    if (peer === undefined) throw new KeyChannelMisuseError('the answerer has not said hello yet');
    this.#connection = connection;
    this.#outbox.connected();
    this.#write({ type: 'state', ...this.#state });
    this.#onHello({ type: 'hello', ...peer }, nowMs);
    if (state !== undefined) this.#onState(state);
    return this.#flush();
  }

  receive(bytes: Uint8Array, nowMs: number): DrawerEvent[] {
    const connection = this.#connection;
    if (connection === undefined) return [];
    const error = connection.receive(bytes, (message) => this.#handle(message, nowMs));
    if (error !== undefined) this.#fail(error);
    return this.#flush();
  }

  disconnected(): void {
    this.#connection = undefined;
  }

  setState(state: KeyChannelState): DrawerEvent[] {
    this.#state = state;
    if (this.#connection !== undefined) this.#write({ type: 'state', ...state });
    return this.#flush();
  }

  openStream(ksid: Uint8Array, qos: KeyStreamQos): DrawerEvent[] {
    const id = hexOf(ksid);
    if (this.#streams.has(id)) throw new KeyChannelMisuseError('a key stream is announced once');
    const stream: Stream = { ksid: ksid.slice(), qos, keys: new Set(), state: 'opening', sent: false };
    this.#streams.set(id, stream);
    this.#outbox.announceStream(stream);
    return this.#flush();
  }

  endStream(ksid: Uint8Array): DrawerEvent[] {
    const stream = this.#streams.get(hexOf(ksid));
    if (stream !== undefined) stream.state = 'ending';
    return this.#flush();
  }

  abandonStream(ksid: Uint8Array): DrawerEvent[] {
    const stream = this.#streams.get(hexOf(ksid));
    if (stream !== undefined) {
      this.#withdrawUnsettled(stream.keys, 'stream-ended');
      this.#outbox.closeStream(stream, 'finished');
      this.#forgetStream(stream, 'closed');
    }
    return this.#flush();
  }

  announceRoom(): number {
    if (this.#peer === undefined) return 0;
    const quota = Math.min(this.#options.quota, this.#peer.quota);
    const room = Math.min(quota - this.#keys.size, MAX_KEYS_PER_BATCH);
    if (!this.#health.kmeQuarantined) return Math.max(room, 0);
    const probes = [...this.#keys.values()].filter((key) => !key.acked).length;
    return Math.max(Math.min(room, PROBE_KEYS - probes), 0);
  }

  announce(keys: readonly AnnouncedKey[], ttlMs: number, nowMs: number): DrawerEvent[] {
    const first = keys[0]?.reference;
    if (first === undefined) return [];
    const group = this.#groupOf(first);
    if (group === undefined) {
      for (const { reference } of keys) this.#events.push({ type: 'key-withdrawn', reference, reason: 'stream-ended' });
      return this.#flush();
    }
    if (keys.length > this.announceRoom())
      throw new KeyChannelMisuseError('more keys announced than there is room for');
    const ids = expectOneBatch(keys, this.#options.ownSae, this.#streamOf(group));
    if (ids.some((id) => this.#keys.has(id))) throw new KeyChannelMisuseError('a key is announced once');
    const records = keys.map(({ reference, secret }, i) => {
      const key: Key = {
        reference,
        id: ids[i] as string,
        group,
        checks: deriveCheckValues(reference, secret),
        ttlEndsAtMs: nowMs + Math.min(ttlMs, 1000 * MAX_KEY_TTL_SECONDS),
        sent: false,
        heard: 'nothing',
        acked: false,
        ended: false,
      };
      this.#keys.set(key.id, key);
      group.keys.add(key);
      return key;
    });
    this.#sendKeys(records, nowMs);
    return this.#flush();
  }

  keyUsed(reference: QkdKeyReference): DrawerEvent[] {
    const key = this.#keys.get(referenceId(reference));
    if (key !== undefined) this.#end(key);
    return this.#flush();
  }

  keyDropped(reference: QkdKeyReference): DrawerEvent[] {
    const key = this.#keys.get(referenceId(reference));
    if (key !== undefined) {
      this.#end(key);
      this.#outbox.drop([key], 'unused');
    }
    return this.#flush();
  }

  tick(nowMs: number): DrawerEvent[] {
    const overdue = this.#connection?.overdue(nowMs);
    if (overdue !== undefined) this.#fail(overdue);
    const expired = [...this.#keys.values()].filter((key) => nowMs >= key.ttlEndsAtMs - this.#ttlMarginMs);
    for (const key of expired) this.#withdraw(key, 'expired');
    // Without a connection the answerer's own TTL does the same.
    if (this.ready) this.#outbox.drop(expired, 'unused');
    this.#outbox.forgetBatches();
    return this.#flush();
  }

  #handle(message: Exclude<KeyChannelMessage, AbortMessage>, nowMs: number): void {
    switch (message.type) {
      case 'hello':
        this.#onHello(message, nowMs);
        return;
      case 'state': {
        const { type: _, ...state } = message;
        this.#onState(state);
        return;
      }
      case 'opened':
        this.#onOpened(message);
        return;
      case 'failed':
        this.#onFailed(message);
        return;
      case 'results':
        this.#onResults(message);
        return;
      default:
        throw unexpected(message);
    }
  }

  #onHello({ type: _, ...peer }: HelloMessage, nowMs: number): void {
    if (bytesEqual(peer.instance, this.#options.instance)) {
      throw new KeyChannelError(KeyChannelErrorCode.selfConnection, 'the key channel reached its own process');
    }
    const known = this.#peer?.instance;
    const peerInstance = known === undefined ? 'first' : bytesEqual(known, peer.instance) ? 'same' : 'new';
    this.#peer = peer;
    this.#events.push({ type: 'ready', peer, peerInstance });
    if (peerInstance === 'new') this.#startAfresh();
    this.#outbox.sendUnsent();
    for (const stream of this.#streams.values()) this.#outbox.announceStream(stream);
    for (const group of new Set([...this.#keys.values()].map((key) => key.group))) {
      this.#sendKeys([...group.keys], nowMs);
    }
  }

  #onState(state: KeyChannelState): void {
    this.#peerKme = state.kmeName;
    this.#events.push({ type: 'peer-state', state });
  }

  /** The answerer's process is a new one, which has none of our keys and streams. */
  #startAfresh(): void {
    this.#outbox.forgetUnsent();
    for (const key of [...this.#keys.values()]) this.#withdraw(key, 'peer-restarted');
    for (const stream of [...this.#streams.values()]) {
      if (stream.sent) this.#forgetStream(stream, 'peer-restarted');
    }
    this.#events.push({ type: 'fresh-start', delayMs: 0, reason: 'peer-restarted' });
  }

  #onOpened({ ksid, keyChunkSizeBytes }: OpenedMessage): void {
    const stream = this.#streams.get(hexOf(ksid));
    // Closed meanwhile, or said again after a reconnect.
    if (stream?.state !== 'opening') return;
    stream.state = 'open';
    this.#health.streamOpened();
    this.#events.push({ type: 'stream-opened', ksid: stream.ksid, keyChunkSizeBytes });
  }

  #onFailed({ ksid, reason, retrying }: FailedMessage): void {
    const stream = this.#streams.get(hexOf(ksid));
    if (stream === undefined) return;
    if (retrying && stream.state === 'opening') {
      this.#events.push({ type: 'stream-delayed', ksid: stream.ksid, reason });
      return;
    }
    // Once opened, a stream that fails is over: an index of it is never resumed.
    this.#withdrawUnsettled(stream.keys, 'stream-ended');
    this.#forgetStream(stream, 'failed', reason);
    this.#events.push({ type: 'fresh-start', delayMs: this.#health.streamFailed(), reason: 'failed' });
  }

  #onResults({ batch, results }: ResultsMessage): void {
    const keys = this.#outbox.keysOf(batch);
    // All of its keys have ended.
    if (keys === undefined) return;
    expectLegalResults(keys, results);
    for (const result of results) {
      const key = keys[result.position] as Key;
      if (key.ended) continue;
      key.heard = result.status === 'pending' ? 'pending' : 'result';
      this.#onResult(key, result);
    }
  }

  #onResult(key: Key, result: KeyResult): void {
    switch (result.status) {
      case 'acked':
        if (!constantTimeEqual(result.check, key.checks.answerer)) this.#onMismatch(key);
        // Announced again after a reconnect, it may have been acked before.
        else if (!key.acked) this.#onAcked(key);
        return;
      case 'pending':
        return;
      case 'mismatch':
        this.#onMismatch(key);
        return;
      case 'unavailable':
        this.#withdraw(key, 'unavailable');
        return;
      case 'over_quota':
        this.#withdraw(key, 'over-quota');
    }
  }

  #onAcked(key: Key): void {
    key.acked = true;
    if (this.#health.acked()) this.#events.push({ type: 'kme-restored', ...this.#kmes() });
    this.#events.push({ type: 'key-offerable', reference: key.reference });
  }

  #onMismatch({ reference, group }: Key): void {
    const { delayMs, quarantineBegins } = this.#health.mismatch();
    const { ksid } = group;
    this.#events.push({
      type: 'mismatch',
      report: { reference, ...(ksid === undefined ? {} : { ksid }), ...this.#kmes() },
      inARow: this.#health.mismatchesInARow,
    });
    const keys = [...group.keys];
    for (const key of keys) this.#withdraw(key, 'mismatch');
    const stream = this.#streamOf(group);
    if (stream !== undefined) {
      this.#outbox.closeStream(stream, 'mismatch');
      this.#forgetStream(stream, 'mismatch');
    } else {
      this.#outbox.drop(keys, 'mismatch');
    }
    if (quarantineBegins) {
      this.#events.push({ type: 'kme-quarantined', ...this.#kmes() });
      // Only what is announced from now on can be the probe.
      this.#withdrawUnsettled(this.#keys.values(), 'mismatch');
    }
    this.#events.push({ type: 'fresh-start', delayMs, reason: 'mismatch' });
  }

  #kmes(): { ownKme: string; peerKme: string } {
    return { ownKme: this.#state.kmeName, peerKme: this.#peerKme };
  }

  /** The group of keys like this one; `undefined` if its stream has ended. */
  #groupOf(reference: QkdKeyReference): Group | undefined {
    return reference.api === 'etsi004' ? this.#streams.get(hexOf(reference.ksid)) : { keys: new Set() };
  }

  #streamOf(group: Group): Stream | undefined {
    return group.ksid === undefined ? undefined : this.#streams.get(hexOf(group.ksid));
  }

  /** Announces keys of one group, as far as their TTL lets it. */
  #sendKeys(keys: readonly Key[], nowMs: number): void {
    if (!this.ready) return;
    const isLive = (key: Key): boolean => nowMs < key.ttlEndsAtMs - Math.max(this.#ttlMarginMs, 1000);
    const live = keys.filter(isLive);
    for (const key of keys) if (!isLive(key)) this.#withdraw(key, 'expired');
    this.#outbox.announceKeys(live, nowMs);
  }

  /** A stream that nothing more is drawn from is closed when its last key is acked or gone. */
  #closeIfSettled(stream: Stream): void {
    if (stream.state !== 'ending' || [...stream.keys].some((key) => !key.acked)) return;
    this.#outbox.closeStream(stream, 'finished');
    this.#forgetStream(stream, 'closed');
  }

  #forgetStream(stream: Stream, reason: DrawerStreamEnd, failure?: StreamFailure): void {
    this.#streams.delete(hexOf(stream.ksid));
    this.#events.push({
      type: 'stream-ended',
      ksid: stream.ksid,
      reason,
      ...(failure === undefined ? {} : { failure }),
    });
  }

  #withdrawUnsettled(keys: Iterable<Key>, reason: DrawerWithdrawal): void {
    const unsettled = [...keys].filter((key) => !key.acked);
    for (const key of unsettled) this.#withdraw(key, reason);
    this.#outbox.drop(unsettled, 'unused');
  }

  #withdraw(key: Key, reason: DrawerWithdrawal): void {
    this.#end(key);
    this.#events.push({ type: 'key-withdrawn', reference: key.reference, reason });
  }

  #end(key: Key): void {
    key.ended = true;
    key.group.keys.delete(key);
    this.#keys.delete(key.id);
  }

  #fail(error: KeyChannelError): void {
    const abort = abortFor(error);
    if (abort !== undefined) this.#write(abort);
    this.#connection = undefined;
    this.#events.push({ type: 'failed', error });
  }

  #write(message: KeyChannelMessage): void {
    this.#events.push({ type: 'write', bytes: encodeMessage(message) });
  }

  #flush(): DrawerEvent[] {
    for (const stream of [...this.#streams.values()]) this.#closeIfSettled(stream);
    const events = this.#events;
    this.#events = [];
    return events;
  }
}
