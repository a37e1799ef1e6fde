/** Keeps a drawer's pool filled: opens streams, draws from them, and pauses after each kind of failure. */
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import { type DeliveredKey, type DrawStream, referenceText } from '../key-source.ts';
import type { DepthPolicy } from './depth.ts';
import type { DrawerKey, DrawerKeys, KeyOrigin } from './drawer-keys.ts';
import type { DrawerPoolEvent, DrawerPoolOptions } from './drawer-pool-types.ts';
import type { DrawerStreams, PoolStream } from './drawer-streams.ts';
import type { PeerKme } from './peer-kme.ts';
import type { SupplyHealth } from './supply-health.ts';
import type { Watermarks } from './watermarks.ts';
import { writeDownDrawn } from './write-down.ts';

export interface RefillOptions extends Pick<DrawerPoolOptions, 'source' | 'clock' | 'ledger'> {
  readonly keys: DrawerKeys;
  readonly streams: DrawerStreams;
  readonly health: SupplyHealth;
  readonly peerKme: PeerKme;
  readonly watermarks: Watermarks;
  readonly depth: DepthPolicy;
  readonly channelUp: () => boolean;
  /** Most keys held in any state. */
  readonly quota: () => number;
  readonly onDrawn: (keys: number) => void;
  /** Keys are in the pool now. */
  readonly onAdded: (keys: readonly DrawerKey[]) => void;
  readonly onFailed: () => void;
  readonly emit: (event: DrawerPoolEvent) => void;
}

export class Refill {
  readonly #options: RefillOptions;
  readonly #abort = new AbortController();
  #running = false;
  /** After a draw that failed: some KMEs give all that is asked for or nothing, so the next asks for one. */
  #askForOne = false;
  #cancelPause: (() => void) | undefined;
  #closed = false;

  constructor(options: RefillOptions) {
    this.#options = options;
  }

  get paused(): boolean {
    return this.#cancelPause !== undefined;
  }

  /** Starts whatever is missing: a stream, a draw. Called after every change; does nothing while a pause runs. */
  fill(): void {
    const { streams, channelUp } = this.#options;
    if (this.#closed || !channelUp() || this.#running || this.paused || !this.#mayDraw()) return;
    const stream = streams.current;
    if (stream?.draw?.ended) streams.retire();
    if (streams.current === undefined) void this.#run((signal) => streams.open(signal), true);
    else if (stream !== undefined && streams.usable) void this.#run((signal) => this.#drawFrom(stream, signal), false);
  }

  /** Nothing is drawn for so long, whatever pause was there before. */
  pause(ms: number): void {
    if (this.#closed) return;
    this.#cancelPause?.();
    this.#cancelPause = this.#options.clock.schedule(() => {
      this.#cancelPause = undefined;
      this.fill();
    }, ms);
  }

  /** Opening or drawing failed. */
  failed(thrown: unknown, opening: boolean): void {
    if (this.#closed) return;
    const { health, streams, source, emit, onFailed } = this.#options;
    const error = isKdiError(thrown)
      ? thrown
      : new KdiError(KdiErrorCode.internal, 'unexpected failure while drawing a key', { cause: thrown });
    onFailed();
    const retryInMs = health.failed(error);
    emit({ type: 'failure', kme: source.kme, error, retryInMs, opening });
    const elsewhere = health.kmeIsDoubtful(error) && streams.blame();
    if (elsewhere || streams.current?.draw?.ended || health.streamIsDoubtful(error)) streams.retire();
    this.pause(retryInMs);
  }

  /** Gives up what is under way, and starts nothing more. */
  close(): void {
    this.#closed = true;
    this.#abort.abort();
    this.#cancelPause?.();
  }

  /** Keys ahead of need: those at hand, and those that are awaited from the KME that is drawn from. */
  #ahead(): number {
    const { keys } = this.#options;
    return keys.count('ready') + this.#awaited();
  }

  /** Keys of a KME that was left may be awaited for long, and say nothing about the next one. */
  #awaited(): number {
    const { keys, streams } = this.#options;
    return keys.awaitedFrom(streams.current?.origin.kme);
  }

  #mayDraw(): boolean {
    const { watermarks, clock, keys, streams, quota } = this.#options;
    watermarks.adapt(clock.now());
    if (this.#onTrial() && keys.count('drawn') + keys.count('announced') > 0) return false;
    if (this.#peerHasNone() && this.#awaited() > 0) return false;
    return watermarks.wantsMore(this.#ahead()) && keys.size <= quota() - Math.min(streams.keysPerChunk, quota());
  }

  /** After a mismatch one probe at a time, whose answer is awaited; and some KMEs forget a batch over the next one. */
  #onTrial(): boolean {
    const { health, source } = this.#options;
    return health.mismatchesInARow > 0 || source.oneBatchAtATime === true;
  }

  /** One key at a time then, which shows when that is over: a peer without keys must not make us draw all of them. */
  #peerHasNone(): boolean {
    return !this.#options.peerKme.reachable;
  }

  #wanted(): number {
    const { health, watermarks, quota, keys } = this.#options;
    const probe = this.#askForOne || health.mismatchesInARow > 0 || this.#peerHasNone();
    const missing = probe ? 1 : watermarks.high - this.#ahead();
    return Math.max(1, Math.min(missing, quota() - keys.size));
  }

  async #run(step: (signal: AbortSignal) => Promise<void>, opening: boolean): Promise<void> {
    this.#running = true;
    try {
      await step(this.#abort.signal);
    } catch (error) {
      this.failed(error, opening);
    } finally {
      this.#running = false;
    }
    this.fill();
  }

  async #drawFrom(stream: PoolStream, signal: AbortSignal): Promise<void> {
    const { health, depth, clock, ledger, streams, onDrawn } = this.#options;
    const draw = stream.draw as DrawStream;
    const wanted = this.#wanted();
    this.#askForOne = true;
    const delivered = await draw.draw(wanted, { signal });
    this.#askForOne = false;
    if (delivered.length === 0)
      throw new KdiError(KdiErrorCode.insufficientKey, `KME ${stream.origin.kme} gave no key`);
    health.drew();
    onDrawn(delivered.length);
    depth.recordSupply(clock.now(), delivered.length);
    const fresh = await writeDownDrawn(ledger, delivered);
    if (this.#closed || stream.origin.withdrawn || streams.current !== stream) {
      for (const key of fresh) key.secret.wipe();
      return;
    }
    this.#admit(stream, fresh);
    const twice = delivered.find((key) => !fresh.includes(key));
    if (twice !== undefined) {
      throw new KdiError(
        KdiErrorCode.duplicateKey,
        `KME ${twice.metadata.kme} gave ${referenceText(twice.reference)}, which was drawn before`,
      );
    }
  }

  #admit(stream: PoolStream, delivered: readonly DeliveredKey[]): void {
    const { source, keys, quota, onAdded } = this.#options;
    // A mismatch condemns a 004 stream, but only the batch where there are no streams.
    const origin: KeyOrigin = source.needsStream
      ? stream.origin
      : { kme: stream.origin.kme, held: 0, withdrawn: false, peerKnows: true };
    const { added, duplicate } = keys.addAll(delivered, origin, quota());
    onAdded(added);
    if (duplicate !== undefined) {
      throw new KdiError(KdiErrorCode.duplicateKey, `KME ${origin.kme} gave ${referenceText(duplicate)} twice`);
    }
  }
}
