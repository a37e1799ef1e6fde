/**
 * What the answerer does when an authenticated drawer announces streams and
 * keys: opens the stream at our KME, fetches the keys ahead of need, and keeps
 * them in an `AnswererStore`. One `Answerer` per drawer and process of it.
 * Comparing check values is the key channel's: it hears of each key by `hooks`.
 */
import { setMaxListeners } from 'node:events';
import { hexOf, type SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import { isKmeFault, isLookupFault } from '../failover/circuit-breaker.ts';
import {
  type DeliveredKey,
  type KeySource,
  type LookupStream,
  type QkdKeyReference,
  referenceText,
  type StreamAnnouncement,
} from '../key-source.ts';
import type { AnswererStore } from './answerer-store.ts';
import { Backoff } from './backoff.ts';

/** What the answerer tells the key channel. Called synchronously; must not throw. */
export interface AnswererHooks {
  /** Our KME has opened it, with chunks of this size: say `opened`. */
  streamOpened(ksid: Uint8Array, keyChunkSizeBytes: number): void;
  /** Not yet: say `failed`. Tried again with back-off; each further failure isn't reported. */
  streamFailed(ksid: Uint8Array, error: KdiError): void;
  /** Our KME was lost after it had opened the stream, or it lost the stream, which is over: say so. */
  streamLost(ksid: Uint8Array, error: KdiError): void;
  /**
   * The key is here. `secret` is borrowed for the call: compare check values,
   * then say `acked` or `mismatch`. Return false on a mismatch: the key is dropped.
   */
  keyFetched(reference: QkdKeyReference, secret: SecretBytes): boolean;
  /** Not here yet (`final` false: say `pending`, it's tried again), or never. */
  keyUnavailable(reference: QkdKeyReference, error: KdiError, final: boolean): void;
  /** Our KME answers, and with faults only: some in a row over one key, none of which says anything about that key. */
  kmeUnfit(error: KdiError): void;
}

export interface AnswererOptions {
  readonly source: KeySource;
  /** The authenticated SAE ID of the drawer. */
  readonly drawerSaeId: string;
  readonly store: AnswererStore;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly hooks: AnswererHooks;
  /** How long an announced key is looked for (default 30 s). */
  readonly fetchDeadlineMs?: number;
  /** Streams of this drawer that may be open at once (default 4); the oldest is closed. */
  readonly maxStreams?: number;
}

/** Faults of the KME in a row, over one key, after which its stream is given up. */
const FAULTS_UNTIL_STREAM_IS_LOST = 6;
/** The same, after which the KME is called unfit: one or two may be a quirk, as 500 for a key ID that it does not know yet. */
const FAULTS_UNTIL_KME_IS_UNFIT = 3;

interface Stream {
  readonly announcement: StreamAnnouncement;
  lookup: LookupStream | undefined;
  cancelRetry: (() => void) | undefined;
  closed: boolean;
}

interface Fetch {
  readonly reference: QkdKeyReference;
  readonly deadlineMs: number;
  readonly backoff: Backoff;
  cancelRetry: (() => void) | undefined;
  /** The drawer burnt it meanwhile. */
  dropped: boolean;
  reportedPending: boolean;
}

/**
 * What says that our KME is unwell and nothing about the key, which it may
 * still hold: looked for again within the deadline, as the drawer would
 * otherwise burn it and draw another one, for the same end.
 */
const ABOUT_THE_KME: ReadonlySet<KdiErrorCode> = new Set([
  KdiErrorCode.malformed,
  KdiErrorCode.dialect,
  KdiErrorCode.tls,
  KdiErrorCode.kmeIdentity,
  KdiErrorCode.http,
  KdiErrorCode.unknownStatus,
  // Statuses of OPEN_CONNECT, in reply to GET_KEY.
  KdiErrorCode.ksidInUse,
  KdiErrorCode.qosNotMet,
  KdiErrorCode.metadataTooLarge,
]);

export class Answerer {
  readonly #options: AnswererOptions;
  readonly #streams = new Map<string, Stream>();
  readonly #fetches = new Map<string, Fetch>();
  readonly #abort = new AbortController();
  /** Of KMEs without streams. */
  #lookup: Promise<LookupStream> | undefined;
  #lookUpsUnderWay = 0;
  #closed = false;

  constructor(options: AnswererOptions) {
    this.#options = options;
    // One for each look-up under way: as many as the quota allows, and no leak.
    setMaxListeners(0, this.#abort.signal);
  }

  /** Announced keys that aren't here yet. */
  get pending(): number {
    return this.#fetches.size;
  }

  /** Of these, those that our KME is being asked for: not those that it did not have, and that wait for the next try. */
  get lookUpsUnderWay(): number {
    return this.#lookUpsUnderWay;
  }

  /** The drawer announced a stream (004). Announced again, after a reconnect, it is confirmed at once. */
  announceStream(announcement: StreamAnnouncement): void {
    if (this.#closed || !this.#options.source.needsStream) return;
    const id = hexOf(announcement.ksid);
    const known = this.#streams.get(id);
    if (known !== undefined) {
      if (known.lookup !== undefined) this.#sayOpened(known);
      return;
    }
    const { maxStreams = 4 } = this.#options;
    for (const [oldest, stream] of this.#streams) {
      if (this.#streams.size < maxStreams) break;
      this.#closeStream(oldest, stream);
    }
    const copy = { ...announcement, ksid: Uint8Array.from(announcement.ksid) };
    const stream: Stream = { announcement: copy, lookup: undefined, cancelRetry: undefined, closed: false };
    this.#streams.set(id, stream);
    void this.#open(stream, this.#newBackoff());
  }

  /** The drawer has drawn its last key from it. */
  closeStream(ksid: Uint8Array): void {
    const id = hexOf(ksid);
    const stream = this.#streams.get(id);
    if (stream !== undefined) this.#closeStream(id, stream);
  }

  /** The drawer announced keys. Each is answered by `keyFetched` or `keyUnavailable`. */
  announceKeys(references: readonly QkdKeyReference[]): void {
    for (const reference of references) this.#announceKey(reference);
  }

  /** The drawer burnt keys unused. */
  dropKeys(references: readonly QkdKeyReference[]): void {
    for (const reference of references) {
      const fetch = this.#fetches.get(referenceText(reference));
      if (fetch !== undefined) this.#endFetch(fetch, true);
      if (reference.drawer === this.#options.drawerSaeId) this.#options.store.drop(reference);
    }
  }

  /** Stops all fetching and closes the streams. Keys in the store stay: they are the store's. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#abort.abort();
    for (const fetch of [...this.#fetches.values()]) this.#endFetch(fetch, true);
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) {
      stream.closed = true;
      stream.cancelRetry?.();
    }
    const lookup = await this.#lookup?.catch(() => undefined);
    this.#lookup = undefined;
    await Promise.all([lookup?.close(), ...streams.map((stream) => stream.lookup?.close())]);
  }

  #announceKey(reference: QkdKeyReference): void {
    const { store, hooks, source, drawerSaeId, clock, fetchDeadlineMs = 30_000 } = this.#options;
    if (this.#closed || this.#fetches.has(referenceText(reference))) return;
    if (reference.drawer !== drawerSaeId || reference.api !== source.api) {
      const error = new KdiError(
        KdiErrorCode.badRequest,
        `a key of ${reference.drawer} over ${reference.api} is not looked up here`,
      );
      hooks.keyUnavailable(reference, error, true);
      return;
    }
    // After a reconnect the drawer announces again what we have.
    const held = store.find(reference);
    if (held !== undefined) {
      if (!hooks.keyFetched(reference, held.secret)) store.drop(reference);
      held.secret.wipe();
      return;
    }
    const refusal = store.refusal(reference) ?? this.#overQuota();
    if (refusal !== undefined) {
      hooks.keyUnavailable(reference, refusal, true);
      return;
    }
    const fetch: Fetch = {
      reference,
      deadlineMs: clock.now() + fetchDeadlineMs,
      backoff: this.#newBackoff(),
      cancelRetry: undefined,
      dropped: false,
      reportedPending: false,
    };
    this.#fetches.set(referenceText(reference), fetch);
    void this.#fetch(fetch);
  }

  #overQuota(): KdiError | undefined {
    const { store, drawerSaeId } = this.#options;
    return this.#fetches.size + store.countOf(drawerSaeId) >= store.quotaPerDrawer
      ? new KdiError(KdiErrorCode.quota, `${drawerSaeId} has announced more keys than its quota`)
      : undefined;
  }

  async #fetch(fetch: Fetch): Promise<void> {
    let key: DeliveredKey;
    this.#lookUpsUnderWay++;
    try {
      key = await this.#lookUp(fetch.reference).finally(() => this.#lookUpsUnderWay--);
    } catch (thrown) {
      if (!fetch.dropped) this.#fetchFailed(fetch, asKdiError(thrown));
      return;
    }
    if (fetch.dropped) {
      key.secret.wipe();
      return;
    }
    await this.#keep(fetch, key);
  }

  async #lookUp(reference: QkdKeyReference): Promise<DeliveredKey> {
    const lookup = await this.#lookupFor(reference);
    return lookup.lookup(reference, { signal: this.#abort.signal });
  }

  /** The KME gave the key: from here on it is here, or nowhere. */
  async #keep(fetch: Fetch, key: DeliveredKey): Promise<void> {
    const { hooks, store } = this.#options;
    const { reference } = fetch;
    const secret = key.secret.clone();
    try {
      await store.acceptOnce(key);
      // The drawer burnt it while it was written down.
      if (fetch.dropped) store.drop(reference);
      else if (!hooks.keyFetched(reference, secret)) store.drop(reference);
    } catch (thrown) {
      if (!fetch.dropped) hooks.keyUnavailable(reference, asKdiError(thrown), true);
    } finally {
      secret.wipe();
      if (!fetch.dropped) this.#endFetch(fetch, false);
    }
  }

  #fetchFailed(fetch: Fetch, error: KdiError): void {
    const { clock, hooks } = this.#options;
    const delayMs = fetch.backoff.next();
    const { reference } = fetch;
    if (
      reference.api === 'etsi004' &&
      fetch.backoff.failures >= FAULTS_UNTIL_STREAM_IS_LOST &&
      saysStreamIsLost(error) &&
      this.#streams.has(hexOf(reference.ksid))
    ) {
      this.#giveUpStream(reference.ksid, error);
      return;
    }
    if (fetch.backoff.failures === FAULTS_UNTIL_KME_IS_UNFIT && isLookupFault(error, reference.api))
      hooks.kmeUnfit(error);
    const mayComeLater = error.retryable || ABOUT_THE_KME.has(error.code);
    if (!mayComeLater || clock.now() + delayMs > fetch.deadlineMs) {
      this.#endFetch(fetch, false);
      hooks.keyUnavailable(fetch.reference, error, true);
      return;
    }
    if (!fetch.reportedPending) {
      fetch.reportedPending = true;
      hooks.keyUnavailable(fetch.reference, error, false);
    }
    fetch.cancelRetry = clock.schedule(() => {
      fetch.cancelRetry = undefined;
      void this.#fetch(fetch);
    }, delayMs);
  }

  /** After its restart a KME may give new bits under old indices: what is not here yet never will be. */
  #giveUpStream(ksid: Uint8Array, error: KdiError): void {
    const { hooks } = this.#options;
    this.closeStream(ksid);
    hooks.streamLost(ksid, error);
    const id = hexOf(ksid);
    // The drawer draws nothing while it waits for an answer to any of them.
    for (const fetch of [...this.#fetches.values()]) {
      const { reference } = fetch;
      if (reference.api !== 'etsi004' || hexOf(reference.ksid) !== id || fetch.dropped) continue;
      this.#endFetch(fetch, true);
      hooks.keyUnavailable(reference, error, true);
    }
  }

  #endFetch(fetch: Fetch, dropped: boolean): void {
    fetch.dropped = dropped;
    fetch.cancelRetry?.();
    this.#fetches.delete(referenceText(fetch.reference));
  }

  async #lookupFor(reference: QkdKeyReference): Promise<LookupStream> {
    const { source, drawerSaeId } = this.#options;
    if (reference.api === 'etsi004') {
      const stream = this.#streams.get(hexOf(reference.ksid));
      // A stream that has ended is never opened again, and one is announced before its keys.
      if (stream === undefined) throw new KdiError(KdiErrorCode.stream, 'the stream has ended, or was never announced');
      if (stream.lookup === undefined)
        throw new KdiError(KdiErrorCode.stream, 'the stream is not open here yet', { retryable: true });
      return stream.lookup;
    }
    // One for all keys, also for those that are announced while it is being opened: they are asked for together.
    this.#lookup ??= source.openLookup(drawerSaeId, { signal: this.#abort.signal });
    try {
      return await this.#lookup;
    } catch (error) {
      this.#lookup = undefined;
      throw error;
    }
  }

  async #open(stream: Stream, backoff: Backoff): Promise<void> {
    const { source, drawerSaeId, hooks, clock } = this.#options;
    const { announcement } = stream;
    try {
      const lookup = await source.openLookup(drawerSaeId, { announcement, signal: this.#abort.signal });
      if (stream.closed) {
        await lookup.close();
        return;
      }
      stream.lookup = lookup;
    } catch (thrown) {
      if (stream.closed) return;
      if (backoff.failures === 0) hooks.streamFailed(announcement.ksid, asKdiError(thrown));
      stream.cancelRetry = clock.schedule(() => {
        stream.cancelRetry = undefined;
        void this.#open(stream, backoff);
      }, backoff.next());
      return;
    }
    this.#sayOpened(stream);
  }

  #sayOpened({ announcement, lookup }: Stream): void {
    const { keyChunkSizeBytes } = (lookup?.announcement ?? announcement).qos;
    this.#options.hooks.streamOpened(announcement.ksid, keyChunkSizeBytes);
  }

  #closeStream(id: string, stream: Stream): void {
    stream.closed = true;
    stream.cancelRetry?.();
    this.#streams.delete(id);
    void stream.lookup?.close();
  }

  #newBackoff(): Backoff {
    return new Backoff({ firstMs: 100, maxMs: 5_000, random: this.#options.random });
  }
}

/** The drawer has drawn the key, so that for both KMEs the stream stood: one that misses its peer has lost it. */
function saysStreamIsLost(error: KdiError): boolean {
  return isKmeFault(error) || error.code === KdiErrorCode.peerNotConnected;
}

function asKdiError(thrown: unknown): KdiError {
  return isKdiError(thrown)
    ? thrown
    : new KdiError(KdiErrorCode.internal, 'unexpected failure while fetching a key', { cause: thrown });
}
