/**
 * The drawer's side of the key channel to one process of a peer: joins the
 * channel's state machine, the connection of the moment, and the pool that
 * draws the keys. The pool is seen through a port, for this file knows nothing
 * of key managers.
 */
import type {
  DrawerApi,
  DrawerEvent,
  DrawerGreeting,
  KeyStreamQos,
  MismatchReport,
  QkdKeyReference,
  SecretBytes,
  StateReason,
} from '../../tls-ext/index.ts';
import { EventQueue } from './event-queue.ts';
import { Outgoing } from './outgoing.ts';

/** What the link tells the pool. */
export interface DrawerPoolPort {
  channelUp(instance: Uint8Array, quota: number): void;
  channelDown(): void;
  streamOpened(ksid: Uint8Array, chunkBytes: number): void;
  streamFailed(ksid: Uint8Array): void;
  streamLost(ksid: Uint8Array): void;
  setPeerKmeReachable(reachable: boolean): void;
  markReady(reference: QkdKeyReference): boolean;
  markMismatch(reference: QkdKeyReference): void;
  markUnavailable(reference: QkdKeyReference): void;
}

export interface KeyToAnnounce {
  readonly reference: QkdKeyReference;
  readonly secret: SecretBytes;
  /** On the clock of `nowMs`. */
  readonly expiresAtMs: number;
}

export interface DrawerLinkOptions {
  readonly machine: DrawerApi;
  readonly nowMs: () => number;
  /** A string that is equal exactly for equal references. */
  readonly referenceText: (reference: QkdKeyReference) => string;
  readonly onMismatch: (report: MismatchReport) => void;
  /** The peer did not get this key, which our key manager gave out. */
  readonly onNotFound: (reference: QkdKeyReference) => void;
  readonly onQuarantine: (quarantined: boolean, ownKme: string, peerKme: string) => void;
  readonly onBug: (error: unknown) => void;
  /** A reason of the pool in the words of the channel. */
  readonly stateReason: (reason: string) => StateReason | undefined;
}

/** How key delivery is doing on our side. `reason`: why there is no key, in the pool's words. */
export interface DrawerState {
  readonly kmeName: string;
  readonly poolKeys: number;
  readonly reason?: string;
}

const TICK_MS = 1_000;

/** A connection on which hellos are exchanged. */
export interface GreetedConnection {
  readonly greeting: DrawerGreeting;
  send(bytes: Uint8Array): void;
  hangUp(failure: Error): void;
}

export class DrawerLink {
  readonly #options: DrawerLinkOptions;
  readonly #queue: EventQueue<DrawerEvent>;
  /** Streams that the channel knows, by the text of their KSID. */
  readonly #streams = new Map<string, { readonly ksid: Uint8Array; peerChunkBytes: number | undefined }>();
  /** Keys that the channel knows. It announces them again by itself after a reconnect. */
  readonly #announced = new Map<string, QkdKeyReference>();
  /** Keys that were used since the channel was told last. */
  readonly #used: QkdKeyReference[] = [];
  /** Keys for which the channel has no room yet: quota, or one at a time as a probe. */
  #waiting: KeyToAnnounce[] = [];
  #pool: DrawerPoolPort | undefined;
  #connection: GreetedConnection | undefined;
  #outgoing: Outgoing | undefined;
  #ticker: NodeJS.Timeout | undefined;
  /** What the last state on this connection said. */
  #stateSaid: string | undefined;

  constructor(options: DrawerLinkOptions) {
    this.#options = options;
    this.#queue = new EventQueue(
      (event) => this.#handle(event),
      (error) => {
        options.onBug(error);
        this.#connection?.hangUp(new Error('internal error', { cause: error }));
      },
    );
  }

  /** The pool needs the link's hooks to be made, so it comes second. */
  attachPool(pool: DrawerPoolPort): void {
    this.#pool = pool;
    this.#ticker = setInterval(() => {
      this.#forgetUsed();
      this.#queue.run(() => this.#options.machine.tick(this.#options.nowMs()));
      this.#announceWaiting();
    }, TICK_MS);
    this.#ticker.unref();
  }

  /** After the pool has been closed: what it said last is sent. */
  stop(): void {
    clearInterval(this.#ticker);
    this.#forgetWaitingKeys();
    this.#outgoing?.flush();
  }

  // The connection.

  connected(connection: GreetedConnection): void {
    this.#forgetUsed();
    this.#connection = connection;
    this.#stateSaid = undefined;
    this.#outgoing = new Outgoing((bytes) => connection.send(bytes));
    this.#queue.run(() => this.#options.machine.takeOver(connection.greeting, this.#options.nowMs()));
  }

  receive(bytes: Uint8Array): void {
    this.#forgetUsed();
    this.#queue.run(() => this.#options.machine.receive(bytes, this.#options.nowMs()));
    this.#announceWaiting();
  }

  disconnected(): void {
    this.#connection = undefined;
    this.#outgoing?.discard();
    this.#outgoing = undefined;
    this.#options.machine.disconnected();
    this.#pool?.channelDown();
  }

  // What the pool asks.

  /** Tells the peer's operators, unless it is only the number of keys that changed, as it does with each key. */
  tellState({ kmeName, poolKeys, reason }: DrawerState): void {
    const said = `${reason} ${kmeName}`;
    if (said === this.#stateSaid) return;
    this.#stateSaid = said;
    const stated = reason === undefined ? undefined : this.#options.stateReason(reason);
    const kmeReachable = reason !== 'kme_unreachable';
    const reasons = stated === undefined ? [] : [stated];
    this.#queue.run(() => this.#options.machine.setState({ kmeReachable, kmeName, poolKeys, reasons }));
  }

  announceStream(ksid: Uint8Array, qos: KeyStreamQos): void {
    const id = hex(ksid);
    const known = this.#streams.get(id);
    if (known === undefined) {
      this.#streams.set(id, { ksid, peerChunkBytes: undefined });
      this.#queue.run(() => this.#options.machine.openStream(ksid, qos));
      return;
    }
    const { peerChunkBytes } = known;
    // After a reconnect the pool asks again; the answer is known. Not from inside its own call.
    if (peerChunkBytes !== undefined) queueMicrotask(() => this.#pool?.streamOpened(ksid, peerChunkBytes));
  }

  announceKeys(keys: readonly KeyToAnnounce[]): void {
    this.#forgetUsed();
    // The pool's loan of the secrets ends with this call; what must wait is copied.
    const fresh = keys.filter(({ reference }) => !this.#announced.has(this.#options.referenceText(reference)));
    const announced = this.#waiting.length > 0 ? 0 : this.#announce(fresh);
    for (const key of fresh.slice(announced)) this.#waiting.push({ ...key, secret: key.secret.clone() });
  }

  dropKeys(references: readonly QkdKeyReference[]): void {
    this.#forgetUsed();
    for (const reference of references) {
      const text = this.#options.referenceText(reference);
      this.#forgetWaiting(text);
      if (this.#announced.delete(text)) this.#queue.run(() => this.#options.machine.keyDropped(reference));
    }
  }

  /** A handshake was completed with it. The peer needs no word of it, so the channel hears before anything else happens there. */
  keyUsed(reference: QkdKeyReference): void {
    this.#used.push(reference);
    // They wait for its room.
    if (this.#waiting.length > 0) this.#announceWaiting();
  }

  closeStream(ksid: Uint8Array): void {
    this.#forgetUsed();
    if (this.#streams.delete(hex(ksid))) this.#queue.run(() => this.#options.machine.endStream(ksid));
  }

  // What the channel says.

  #handle(event: DrawerEvent): void {
    const pool = this.#pool as DrawerPoolPort;
    switch (event.type) {
      case 'write':
        this.#outgoing?.push(event.bytes);
        return;
      case 'ready':
        if (event.peerInstance === 'new') this.#forgetWaitingKeys();
        pool.channelUp(event.peer.instance, event.peer.quota);
        return;
      case 'peer-state':
        pool.setPeerKmeReachable(event.state.kmeReachable);
        return;
      case 'stream-opened':
        this.#streamOpened(event.ksid, event.keyChunkSizeBytes);
        return;
      case 'stream-delayed':
        pool.streamFailed(event.ksid);
        return;
      case 'stream-ended':
        this.#streams.delete(hex(event.ksid));
        if (event.reason === 'failed') pool.streamLost(event.ksid);
        return;
      case 'fresh-start':
        // When to draw again is the pool's to say: it keeps pauses of its own after each kind of failure.
        return;
      case 'key-offerable':
        pool.markReady(event.reference);
        return;
      case 'key-withdrawn':
        this.#announced.delete(this.#options.referenceText(event.reference));
        if (event.reason === 'mismatch') pool.markMismatch(event.reference);
        else pool.markUnavailable(event.reference);
        if (event.reason === 'unavailable') this.#options.onNotFound(event.reference);
        return;
      case 'mismatch':
        this.#options.onMismatch(event.report);
        if (event.report.reference === undefined) return;
        this.#announced.delete(this.#options.referenceText(event.report.reference));
        pool.markMismatch(event.report.reference);
        return;
      case 'kme-quarantined':
        this.#options.onQuarantine(true, event.ownKme, event.peerKme);
        return;
      case 'kme-restored':
        this.#options.onQuarantine(false, event.ownKme, event.peerKme);
        return;
      case 'failed':
        this.#outgoing?.flush();
        this.#connection?.hangUp(event.error);
        return;
    }
  }

  #streamOpened(ksid: Uint8Array, chunkBytes: number): void {
    const stream = this.#streams.get(hex(ksid));
    if (stream === undefined) return;
    stream.peerChunkBytes = chunkBytes;
    this.#pool?.streamOpened(ksid, chunkBytes);
  }

  /** Together, as each costs a fraction of what it would cost by itself, within a handshake. */
  #forgetUsed(): void {
    if (this.#used.length === 0) return;
    const { machine, referenceText } = this.#options;
    for (const reference of this.#used.splice(0)) {
      if (this.#announced.delete(referenceText(reference))) this.#queue.run(() => machine.keyUsed(reference));
    }
  }

  #announceWaiting(): void {
    this.#forgetUsed();
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    const announced = this.#announce(waiting);
    for (const { secret } of waiting.splice(0, announced)) secret.wipe();
    this.#waiting.unshift(...waiting);
  }

  /** Announces keys from the first on, a chunk in a message, as far as there is room. Returns how many. */
  #announce(keys: readonly KeyToAnnounce[]): number {
    const { machine, referenceText, nowMs } = this.#options;
    let at = 0;
    for (;;) {
      const batch = sameChunk(keys, at, machine.announceRoom());
      if (batch.length === 0) return at;
      at += batch.length;
      for (const { reference } of batch) this.#announced.set(referenceText(reference), reference);
      const ttlMs = Math.min(...batch.map(({ expiresAtMs }) => expiresAtMs)) - nowMs();
      this.#queue.run(() => machine.announce(batch, ttlMs, nowMs()));
    }
  }

  #forgetWaiting(text: string): void {
    this.#waiting = this.#waiting.filter(({ reference, secret }) => {
      const keep = this.#options.referenceText(reference) !== text;
      if (!keep) secret.wipe();
      return keep;
    });
  }

  /** A new process of the peer: the channel withdraws what it announced to the old one, here goes what it had not yet. */
  #forgetWaitingKeys(): void {
    for (const { secret } of this.#waiting) secret.wipe();
    this.#waiting = [];
  }
}

/** The keys from `at` on that are of one chunk, and `max` of them at most. */
function sameChunk(keys: readonly KeyToAnnounce[], at: number, max: number): readonly KeyToAnnounce[] {
  const first = keys[at];
  if (first === undefined) return [];
  const chunk = chunkOf(first.reference);
  let end = at;
  while (end < keys.length && end - at < max && chunkOf((keys[end] as KeyToAnnounce).reference) === chunk) end++;
  return keys.slice(at, end);
}

function chunkOf(reference: QkdKeyReference): string {
  return reference.api === 'etsi004' ? `${hex(reference.ksid)}:${reference.index}` : reference.api;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}
