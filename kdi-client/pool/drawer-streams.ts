/**
 * The streams of one drawer's pool: the current one, from its opening here and
 * at the peer on, and retired ones, which stay open until their last key is
 * gone. KMEs without streams have one too, with nothing to announce.
 */
import { hexOf } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { type DrawStream, KEY_BYTES, type KeySource } from '../key-source.ts';
import { ledgerIdOfStream, type SpentLedger } from '../ledger/spent-ledger.ts';
import type { KeyOrigin } from './drawer-keys.ts';
import type { DrawerPoolEvent, DrawerPoolHooks } from './drawer-pool-types.ts';

/** A stream as the pool sees it. */
export interface PoolStream {
  readonly origin: KeyOrigin;
  /** Undefined while it is being opened at our KME. */
  draw: DrawStream | undefined;
  ksid: Uint8Array | undefined;
  /** Whether the peer has opened it too. */
  peerOpened: boolean;
  /** Bytes of a chunk, as the peer's KME said; known once it has opened. */
  peerChunkBytes: number | undefined;
}

export interface DrawerStreamsOptions {
  readonly source: KeySource;
  readonly peerSaeId: string;
  readonly clock: Clock;
  readonly hooks: DrawerPoolHooks;
  readonly ledger: SpentLedger | undefined;
  readonly openTimeoutMs: number;
  readonly channelUp: () => boolean;
  readonly emit: (event: DrawerPoolEvent) => void;
  /** Keys can be drawn now, or a fresh stream has to be opened. */
  readonly onChange: () => void;
  /** The current stream is over before its first key. */
  readonly onUnusable: (error: KdiError) => void;
}

export class DrawerStreams {
  readonly #options: DrawerStreamsOptions;
  readonly #retired = new Map<KeyOrigin, PoolStream>();
  #current: PoolStream | undefined;
  #cancelOpenTimeout: (() => void) | undefined;

  constructor(options: DrawerStreamsOptions) {
    this.#options = options;
  }

  get current(): PoolStream | undefined {
    return this.#current;
  }

  /** Whether keys can be drawn from the current stream. */
  get usable(): boolean {
    const stream = this.#current;
    return stream?.draw !== undefined && stream.peerOpened && !stream.draw.ended;
  }

  /** Keys that a draw brings at least: a chunk is only drawn where there is room for the whole of it. */
  get keysPerChunk(): number {
    const chunkBytes = this.#current?.draw?.announcement?.qos.keyChunkSizeBytes ?? KEY_BYTES;
    return Math.max(1, Math.floor(chunkBytes / KEY_BYTES));
  }

  /** The current stream, if that is its KSID. */
  find(ksid: Uint8Array): PoolStream | undefined {
    const stream = this.#current;
    return stream?.ksid !== undefined && hexOf(stream.ksid) === hexOf(ksid) ? stream : undefined;
  }

  /** Opens a fresh one at our KME, and has it announced. Rejects with the KME's error. */
  async open(signal: AbortSignal): Promise<void> {
    const { source, peerSaeId, hooks, ledger, channelUp } = this.#options;
    const origin: KeyOrigin = { kme: source.kme, held: 0, withdrawn: false, peerKnows: true };
    const stream: PoolStream = {
      origin,
      draw: undefined,
      ksid: undefined,
      peerOpened: !source.needsStream,
      peerChunkBytes: undefined,
    };
    this.#current = stream;
    try {
      stream.draw = await source.openDraw(peerSaeId, {
        signal,
        ...(ledger === undefined ? {} : { claimKsid: (ksid) => claim(ledger, ksid) }),
        onAnnouncement: (announcement) => {
          // A source that fails over in the middle of opening announces once more.
          if (stream.ksid !== undefined) hooks.closeStream(stream.ksid);
          stream.ksid = announcement.ksid;
          if (channelUp() && this.#current === stream) hooks.announceStream(announcement);
        },
      });
    } catch (error) {
      if (this.#current === stream) this.#current = undefined;
      if (stream.ksid !== undefined) hooks.closeStream(stream.ksid);
      throw error;
    }
    origin.kme = stream.draw.kme ?? source.kme;
    if (this.#current !== stream) {
      // Given up while it was being opened.
      await stream.draw.close();
      return;
    }
    if (!stream.peerOpened) this.#awaitPeer(stream);
    this.#checkUsable(stream);
  }

  /** The peer has opened it. False if it isn't the current one, or was opened before. */
  peerOpened(ksid: Uint8Array, chunkBytes: number | undefined): boolean {
    const stream = this.find(ksid);
    if (stream === undefined || stream.peerOpened) return false;
    stream.peerOpened = true;
    stream.peerChunkBytes = chunkBytes;
    this.#checkUsable(stream);
    return true;
  }

  /**
   * The peer can't use keys of the current stream's KME, or of `kme`. True if
   * that is the same one, and there is another to draw from: the stream is of
   * no use any more.
   */
  blame(kme = this.#current?.origin.kme): boolean {
    const draw = this.#current?.draw;
    if (draw?.blame === undefined || kme !== this.#current?.origin.kme) return false;
    draw.blame();
    return true;
  }

  /** After a reconnect to the same process of the peer. */
  announceAgain(): void {
    const stream = this.#current;
    const announcement = stream?.draw?.announcement;
    if (stream === undefined || announcement === undefined) return;
    stream.peerOpened = false;
    this.#awaitPeer(stream);
    this.#options.hooks.announceStream(announcement);
  }

  /** No more draws from the current one; it's closed once its last key is gone. */
  retire(): void {
    const stream = this.#current;
    if (stream === undefined) return;
    this.#current = undefined;
    this.#stopWaiting();
    this.#options.emit({ type: 'stream-ended', kme: stream.origin.kme, ...ksidOf(stream) });
    this.#retired.set(stream.origin, stream);
    this.closeIfSpent(stream.origin);
  }

  closeIfSpent(origin: KeyOrigin): void {
    const stream = this.#retired.get(origin);
    if (stream === undefined || origin.held > 0) return;
    this.#retired.delete(origin);
    if (stream.ksid !== undefined) this.#options.hooks.closeStream(stream.ksid);
    void stream.draw?.close();
  }

  async close(): Promise<void> {
    this.#stopWaiting();
    const streams = [...this.#retired.values(), ...(this.#current === undefined ? [] : [this.#current])];
    this.#current = undefined;
    this.#retired.clear();
    for (const { ksid } of streams) if (ksid !== undefined) this.#options.hooks.closeStream(ksid);
    await Promise.all(streams.map((stream) => stream.draw?.close()));
  }

  #awaitPeer(stream: PoolStream): void {
    this.#stopWaiting();
    this.#cancelOpenTimeout = this.#options.clock.schedule(() => {
      this.#cancelOpenTimeout = undefined;
      if (this.#current !== stream || stream.peerOpened) return;
      this.blame();
      this.retire();
      this.#options.onChange();
    }, this.#openTimeoutMs(stream));
  }

  /** Less patience where another KME may do. */
  #openTimeoutMs({ draw }: PoolStream): number {
    const { openTimeoutMs } = this.#options;
    return draw?.blame === undefined ? openTimeoutMs : openTimeoutMs / 6;
  }

  #stopWaiting(): void {
    this.#cancelOpenTimeout?.();
    this.#cancelOpenTimeout = undefined;
  }

  #checkUsable(stream: PoolStream): void {
    if (stream.draw === undefined || !stream.peerOpened) return;
    this.#stopWaiting();
    const ownChunkBytes = stream.draw.announcement?.qos.keyChunkSizeBytes;
    const { peerChunkBytes } = stream;
    if (ownChunkBytes !== undefined && peerChunkBytes !== undefined && ownChunkBytes !== peerChunkBytes) {
      this.retire();
      this.#options.onUnusable(
        new KdiError(
          KdiErrorCode.qosNotMet,
          `our KME makes chunks of ${ownChunkBytes} bytes of the stream, the peer's of ${peerChunkBytes}; configure a size that both take`,
        ),
      );
      return;
    }
    this.#options.emit({ type: 'stream-opened', kme: stream.origin.kme, ...ksidOf(stream) });
    this.#options.onChange();
  }
}

async function claim(ledger: SpentLedger, ksid: Uint8Array): Promise<boolean> {
  const [claimed] = await ledger.spend([ledgerIdOfStream(ksid)]);
  return claimed === true;
}

function ksidOf({ ksid }: PoolStream): { readonly ksid?: Uint8Array } {
  return ksid === undefined ? {} : { ksid };
}
