/**
 * The two ends of a 004 key stream. On each, one GET_KEY is in flight at a
 * time, and the index that counts is the one that the KME returned.
 */
import { bytesEqual, DecodeError, SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import {
  type CallOptions,
  type DeliveredKey,
  type DrawStream,
  KEY_BYTES,
  type KeyMetadata,
  type LookupStream,
  type QkdKeyReference,
  type StreamAnnouncement,
} from '../key-source.ts';
import { Etsi004Status, MAX_METADATA_BYTES, parseMetadata } from '../wire/index.ts';
import { type Chunk, ChunkCache, MAX_CACHED_CHUNKS } from './chunk-cache.ts';
import { statusError } from './status.ts';
import type { Etsi004Transport } from './transport.ts';

/** What OPEN_CONNECT led to. */
export interface OpenedStream {
  readonly transport: Etsi004Transport;
  readonly clock: Clock;
  /** For a whole GET_KEY. */
  readonly callTimeoutMs: number;
  readonly announcement: StreamAnnouncement;
  readonly peerConnected: boolean;
}

/** Room for metadata until a KME wants more; JSON of age and hops takes some 40 bytes. */
const METADATA_BUFFER_BYTES = 256;
/** A stream is given up before its index comes this near to the end of u32. */
const INDEX_MARGIN = 0x1_0000;
/** Keys in one chunk: `slice` is a u16. */
const MAX_SLICES = 0x1_0000;

/** GET_KEY on one stream, one at a time; the base of both ends. */
class Etsi004Stream {
  readonly announcement: StreamAnnouncement;
  protected readonly opened: OpenedStream;
  #tail: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #onClose: () => Promise<void> = async () => {};
  readonly #abort = new AbortController();
  #metadataSize: number;

  constructor(opened: OpenedStream) {
    this.opened = opened;
    this.announcement = opened.announcement;
    this.#metadataSize = opened.announcement.qos.metadataMimetype === '' ? 0 : METADATA_BUFFER_BYTES;
  }

  onClose(callback: () => Promise<void>): void {
    this.#onClose = callback;
  }

  /** Tells the KME, which holds the peer's unused keys until the peer closes too. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#abort.abort();
    await this.#tail;
    this.wipe();
    await this.#onClose();
  }

  protected wipe(): void {}

  /** A GET_KEY may have reached the KME twice. */
  protected requestResent(): void {}

  protected get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Runs `task` after all earlier ones. */
  protected serialize<T>(task: () => Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(this.closedError());
    const result = this.#tail.then(() => {
      if (this.closed) throw this.closedError();
      return task();
    });
    this.#tail = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  protected closedError(): KdiError {
    return new KdiError(KdiErrorCode.stream, `the stream at KME ${this.opened.transport.kme} is closed`);
  }

  protected async getChunk(index: number, { signal }: CallOptions): Promise<Chunk> {
    const { transport, callTimeoutMs, announcement } = this.opened;
    const { ksid } = announcement;
    for (let attempt = 0; ; attempt++) {
      const reply = await transport.request(
        { service: 'get-key', ksid, index, metadataSize: this.#metadataSize },
        callTimeoutMs,
        [this.#abort.signal, signal],
      );
      if (reply.resent) this.requestResent();
      try {
        const { status, delivery, metadataSizeNeeded = 0 } = reply.response;
        if (status === Etsi004Status.metadataTooSmall && attempt === 0 && metadataSizeNeeded > this.#metadataSize) {
          if (metadataSizeNeeded > MAX_METADATA_BYTES) throw statusError('get-key', status, transport.kme);
          // The key was not consumed: the same index again, with the room that is wanted, from now on.
          this.#metadataSize = metadataSizeNeeded;
          continue;
        }
        if (delivery === undefined) throw statusError('get-key', status, transport.kme);
        return this.#chunkOf(delivery);
      } finally {
        reply.wipe();
      }
    }
  }

  #chunkOf({ index, key, metadata }: { index: number; key: Uint8Array; metadata: Uint8Array }): Chunk {
    const { transport, clock, announcement } = this.opened;
    const { keyChunkSizeBytes, ttlSeconds } = announcement.qos;
    if (key.length !== keyChunkSizeBytes) {
      throw new KdiError(
        KdiErrorCode.malformed,
        `KME ${transport.kme} sent a chunk of ${key.length} bytes on a stream of ${keyChunkSizeBytes}`,
      );
    }
    let told: Omit<KeyMetadata, 'kme'>;
    try {
      told = parseMetadata(metadata);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new KdiError(KdiErrorCode.malformed, `KME ${transport.kme}: ${error.message}`, { cause: error });
    }
    const count = Math.min(Math.floor(key.length / KEY_BYTES), MAX_SLICES);
    // One array for all of a chunk: an array of its own costs a key five times its length.
    const copy = Uint8Array.from(key.subarray(0, count * KEY_BYTES));
    return {
      index,
      keys: Array.from({ length: count }, (_, i) => new SecretBytes(copy.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES))),
      metadata: { ...told, kme: transport.kme },
      ...(ttlSeconds === 0 ? {} : { expiresAtMs: clock.now() + ttlSeconds * 1000 }),
    };
  }
}

export class Etsi004DrawStream extends Etsi004Stream implements DrawStream {
  readonly #drawer: string;
  #nextIndex = 0;
  #lastIndex = -1;
  #ended = false;
  /** The last call failed after its request may have reached the KME: the chunk may be spent. */
  #unclear = false;

  constructor(opened: OpenedStream, drawerSaeId: string) {
    super(opened);
    this.#drawer = drawerSaeId;
  }

  get ended(): boolean {
    return this.#ended || this.closed;
  }

  protected override requestResent(): void {
    this.#unclear = true;
  }

  draw(_count: number, options: CallOptions = {}): Promise<DeliveredKey[]> {
    return this.serialize(async () => {
      if (this.#ended) throw this.closedError();
      try {
        return this.#deliver(await this.getChunk(this.#nextIndex, options));
      } catch (error) {
        this.#judge(error);
        throw error;
      }
    });
  }

  #deliver(chunk: Chunk): DeliveredKey[] {
    const { index, keys, metadata, expiresAtMs } = chunk;
    if (index <= this.#lastIndex) {
      for (const key of keys) key?.wipe();
      throw new KdiError(
        KdiErrorCode.duplicateKey,
        `KME ${this.opened.transport.kme} returned index ${index} after ${this.#lastIndex}`,
      );
    }
    this.#lastIndex = index;
    this.#nextIndex = index + 1;
    this.#unclear = false;
    if (index >= 0xffff_ffff - INDEX_MARGIN) this.#ended = true;
    return keys.map((secret, slice) => ({
      reference: { api: 'etsi004', drawer: this.#drawer, ksid: this.announcement.ksid, index, slice },
      secret: secret as SecretBytes,
      metadata,
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    }));
  }

  /** What a failure means for the stream and for the index that is asked next. */
  #judge(error: unknown): void {
    if (!isKdiError(error)) return;
    switch (error.code) {
      case KdiErrorCode.timeout:
      case KdiErrorCode.closed:
      case KdiErrorCode.aborted:
        this.#unclear = true;
        return;
      case KdiErrorCode.insufficientKey:
      case KdiErrorCode.kmeTimeout:
        // The chunk of a lost reply is gone for good at some KMEs: don't ask for it for ever.
        if (this.#unclear) this.#nextIndex++;
        this.#unclear = false;
        return;
      case KdiErrorCode.peerNotConnected:
      case KdiErrorCode.noQkdConnection:
        return;
      default:
        // Refused connections included: a KME that was restarted may give new bits under old indices.
        this.#ended = true;
    }
  }
}

export class Etsi004LookupStream extends Etsi004Stream implements LookupStream {
  readonly peerConnected: boolean;
  readonly #drawer: string;
  readonly #cache: ChunkCache;

  constructor(opened: OpenedStream, drawerSaeId: string) {
    super(opened);
    this.#cache = new ChunkCache(opened.clock);
    this.peerConnected = opened.peerConnected;
    this.#drawer = drawerSaeId;
  }

  lookup(reference: QkdKeyReference, options: CallOptions = {}): Promise<DeliveredKey> {
    return this.serialize(async () => {
      if (
        reference.api !== 'etsi004' ||
        reference.drawer !== this.#drawer ||
        !bytesEqual(reference.ksid, this.announcement.ksid)
      ) {
        throw new KdiError(KdiErrorCode.stream, 'the reference belongs to another stream');
      }
      const { index, slice } = reference;
      // A KME may hand chunks out in sequence, whatever index is asked for.
      for (let attempt = 0; !this.#cache.has(index) && attempt < MAX_CACHED_CHUNKS; attempt++) {
        this.#cache.put(await this.getChunk(index, options));
      }
      const taken = this.#cache.take(index, slice);
      if (taken === undefined) {
        throw new KdiError(KdiErrorCode.keyNotFound, `no key ${index}:${slice} on the stream`, { retryable: false });
      }
      const { secret, chunk } = taken;
      const { metadata, expiresAtMs } = chunk;
      return { reference, secret, metadata, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
    });
  }

  protected override wipe(): void {
    this.#cache.clear();
  }
}
