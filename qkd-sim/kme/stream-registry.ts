import type { Etsi004Qos } from '../../kdi-client/wire/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { KeyStream } from './key-stream.ts';
import type { KmePeer, PeerDirectory } from './peer-directory.ts';

/** KSIDs of ended streams that are remembered, so that none gets a second meaning soon. */
const MAX_RETIRED_KSIDS = 4096;

export interface StreamRegistryOptions {
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly maxStreamsPerSae: number;
  /** A stream that its application doesn't use for this long (or its TTL, if longer) ends. */
  readonly idleStreamMs: number;
}

/** The 004 streams of one key manager, from registration to their end, and the KSIDs of those that have ended. */
export class StreamRegistry {
  readonly #options: StreamRegistryOptions;
  readonly #streams = new Map<string, KeyStream>();
  readonly #retired = new Set<string>();
  #cancelSweep: (() => void) | undefined;

  constructor(options: StreamRegistryOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  get(ksid: string): KeyStream | undefined {
    return this.#streams.get(ksid);
  }

  /** Whether this very stream is still registered. */
  holds(stream: KeyStream): boolean {
    return this.#streams.get(stream.ksid) === stream;
  }

  isRetired(ksid: string): boolean {
    return this.#retired.has(ksid);
  }

  with(peerKmeId: string): KeyStream[] {
    return [...this.#streams.values()].filter((stream) => stream.remoteKmeId === peerKmeId);
  }

  /** A new stream; `undefined` if its application has too many. */
  register(
    identity: { readonly ksid: string; readonly localSaeId: string; readonly remoteSaeId: string },
    peer: KmePeer,
    ownerKmeId: string,
    qos: Etsi004Qos,
  ): KeyStream | undefined {
    const { clock, idleStreamMs, maxStreamsPerSae } = this.#options;
    const ofSae = [...this.#streams.values()].filter((stream) => stream.localSaeId === identity.localSaeId);
    if (ofSae.length >= maxStreamsPerSae) return undefined;
    const stream = new KeyStream({ ...identity, remoteKmeId: peer.kmeId }, ownerKmeId, qos);
    this.#streams.set(identity.ksid, stream);
    this.touch(stream);
    this.#cancelSweep ??= clock.setTimer(idleStreamMs, () => this.#sweep());
    return stream;
  }

  /** Its application has used it. */
  touch(stream: KeyStream): void {
    stream.lastUsedAtMs = this.#options.clock.nowMs();
  }

  /** The application here is done with it. */
  closeLocally(stream: KeyStream): void {
    stream.local = 'closed';
    stream.wipe();
    this.#options.directory.peer(stream.remoteKmeId)?.port.announceClose(stream.ksid);
    if (stream.remote === 'open') this.#endAfterTtl(stream);
    else this.#retire(stream);
    stream.notify();
  }

  /** The other side is done with it, or has lost it. */
  closeRemotely(stream: KeyStream, state: 'closed' | 'lost'): void {
    stream.remote = state;
    if (stream.local === 'open') this.#endAfterTtl(stream);
    else this.#retire(stream);
    stream.notify();
  }

  /** Wipes a stream and forgets that it ever was. */
  remove(stream: KeyStream): void {
    if (this.holds(stream)) this.#streams.delete(stream.ksid);
    stream.cancelEnd?.();
    stream.local = 'closed';
    stream.wipe();
    stream.notify();
    if (this.#streams.size > 0) return;
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** Wipes and forgets everything, ended streams too. */
  clear(): void {
    for (const stream of [...this.#streams.values()]) this.remove(stream);
    this.#retired.clear();
  }

  /** Unused keys are held until the other side closes too, or the TTL ends. */
  #endAfterTtl(stream: KeyStream): void {
    stream.cancelEnd?.();
    stream.cancelEnd = this.#options.clock.setTimer(1_000 * stream.qos.ttlSeconds, () => this.#retire(stream));
  }

  #retire(stream: KeyStream): void {
    this.remove(stream);
    this.#retired.add(stream.ksid);
    for (const oldest of this.#retired) {
      if (this.#retired.size <= MAX_RETIRED_KSIDS) break;
      this.#retired.delete(oldest);
    }
  }

  /** Ends what its application has left lying. */
  #sweep(): void {
    const { clock, idleStreamMs } = this.#options;
    for (const stream of [...this.#streams.values()]) {
      const patienceMs = Math.max(idleStreamMs, 1_000 * stream.qos.ttlSeconds);
      if (clock.nowMs() - stream.lastUsedAtMs < patienceMs || stream.delivering.size > 0) continue;
      if (stream.local === 'open') this.closeLocally(stream);
      else this.#retire(stream);
    }
    this.#cancelSweep = this.#streams.size === 0 ? undefined : clock.setTimer(idleStreamMs, () => this.#sweep());
  }
}
