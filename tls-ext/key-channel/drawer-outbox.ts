/**
 * What the drawer tells the answerer of streams and keys: at once where hellos
 * are exchanged. Without a connection, keys and streams wait at the drawer,
 * and what the answerer must stop using waits here.
 */
import type { QkdKeyReference } from '../engine-types.ts';
import type { Key, Stream } from './drawer-records.ts';
import { KeyChannelError, KeyChannelErrorCode } from './errors.ts';
import { MAX_DROPPED_PER_MESSAGE, MAX_KEYS_PER_BATCH } from './limits.ts';
import type { CloseReason, DropReason, KeyChannelMessage } from './messages.ts';

export interface DrawerOutboxOptions {
  /** Whether hellos are exchanged on a connection that is up. */
  readonly ready: () => boolean;
  readonly write: (message: KeyChannelMessage) => void;
}

export class DrawerOutbox {
  readonly #ready: () => boolean;
  readonly #write: (message: KeyChannelMessage) => void;
  /** What the answerer is still to be told, for want of a connection. */
  readonly #unsentDrops: QkdKeyReference[] = [];
  readonly #unsentCloses: { ksid: Uint8Array; reason: CloseReason }[] = [];
  /** Keys of each batch of this connection by position, until all of them have ended. */
  readonly #batches = new Map<number, readonly Key[]>();
  #nextBatch = 0;

  constructor({ ready, write }: DrawerOutboxOptions) {
    this.#ready = ready;
    this.#write = write;
  }

  /** Batches are counted anew on each connection. */
  connected(): void {
    this.#batches.clear();
    this.#nextBatch = 0;
  }

  /** The answerer's process is a new one, which has nothing to stop using. */
  forgetUnsent(): void {
    this.#unsentCloses.length = 0;
    this.#unsentDrops.length = 0;
  }

  sendUnsent(): void {
    for (const { ksid, reason } of this.#unsentCloses.splice(0)) this.#write({ type: 'close_stream', ksid, reason });
    this.#sendDrops(this.#unsentDrops.splice(0), 'unused');
  }

  announceStream(stream: Stream): void {
    if (!this.#ready()) return;
    stream.sent = true;
    this.#write({ type: 'stream', ksid: stream.ksid, qos: stream.qos });
  }

  closeStream({ ksid, sent }: Stream, reason: CloseReason): void {
    if (!sent) return;
    if (this.#ready()) this.#write({ type: 'close_stream', ksid, reason });
    else this.#unsentCloses.push({ ksid, reason });
  }

  /** Announces keys of one group, in as many batches as the length of a message asks for. Hellos are exchanged. */
  announceKeys(keys: readonly Key[], nowMs: number): void {
    for (let at = 0; at < keys.length; at += MAX_KEYS_PER_BATCH) {
      const batchKeys = keys.slice(at, at + MAX_KEYS_PER_BATCH);
      const batch = this.#nextBatch++;
      this.#batches.set(batch, batchKeys);
      for (const key of batchKeys) {
        key.sent = true;
        key.heard = 'nothing';
      }
      const ttlEndsAtMs = Math.min(...batchKeys.map((key) => key.ttlEndsAtMs));
      this.#write({
        type: 'keys',
        batch,
        ttlSeconds: Math.floor((ttlEndsAtMs - nowMs) / 1000),
        keys: batchKeys.map(({ reference, checks }) => ({ reference, check: checks.drawer })),
      });
    }
  }

  /** The keys of a batch; `undefined` once all of them have ended. Throws `KeyChannelError` if there was no such batch. */
  keysOf(batch: number): readonly Key[] | undefined {
    if (batch >= this.#nextBatch) {
      throw new KeyChannelError(KeyChannelErrorCode.unknownBatch, `results for batch ${batch}, never announced`);
    }
    return this.#batches.get(batch);
  }

  /** Forgets batches of which no result can matter any more. */
  forgetBatches(): void {
    for (const [batch, keys] of this.#batches) if (keys.every((key) => key.ended)) this.#batches.delete(batch);
  }

  /** Tells the answerer, now or on the next connection, that keys which it may know are burnt. */
  drop(keys: readonly Key[], reason: DropReason): void {
    const references = keys.filter((key) => key.sent).map((key) => key.reference);
    if (this.#ready()) this.#sendDrops(references, reason);
    else this.#unsentDrops.push(...references);
  }

  #sendDrops(references: readonly QkdKeyReference[], reason: DropReason): void {
    for (let at = 0; at < references.length; at += MAX_DROPPED_PER_MESSAGE) {
      this.#write({ type: 'dropped', reason, references: references.slice(at, at + MAX_DROPPED_PER_MESSAGE) });
    }
  }
}
