import type { Clock } from '../kernel/clock.ts';
import type { SharedKey } from '../stores/index.ts';
import type { KeyPurpose } from './key-purpose.ts';
import type { KeyStream } from './key-stream.ts';
import type { KmePeer } from './peer-directory.ts';
import type { StreamRegistry } from './stream-registry.ts';
import { settledOrAfter } from './waiting.ts';

/** How long the other key manager may take to answer. */
export const PEER_TIMEOUT_MS = 2_000;

export type Purpose004 = Extract<KeyPurpose, { api: 'etsi004' }>;
export type ChunkOutcome = 'assigned' | 'insufficient' | 'refused';

/**
 * Brings key to the indices of streams. One of the two key managers, the
 * owner of the stream, does it for both; the other asks. So an index means the
 * same bits at both ends, whoever draws first.
 */
export class ChunkAssignment {
  readonly #kmeId: string;
  readonly #streams: StreamRegistry;
  readonly #clock: Clock;

  constructor(kmeId: string, streams: StreamRegistry, clock: Clock) {
    this.#kmeId = kmeId;
    this.#streams = streams;
    this.#clock = clock;
  }

  /** Sees to it that key gets assigned to `index`, by whichever key manager owns the stream. */
  async assign(stream: KeyStream, peer: KmePeer, index: number): Promise<ChunkOutcome> {
    if (stream.ownerKmeId === this.#kmeId) return this.#assignAsOwner(stream, peer, index);
    const reply = peer.port.requestChunk(stream.ksid, index);
    return (await settledOrAfter(this.#clock, PEER_TIMEOUT_MS, reply)) ?? 'refused';
  }

  /** The other key manager wants key for an index of a stream that is ours. */
  async assignForPeer(stream: KeyStream, peer: KmePeer, index: number): Promise<ChunkOutcome> {
    if (stream.ownerKmeId !== this.#kmeId || stream.local !== 'open' || stream.remote !== 'open') return 'refused';
    return this.#assignAsOwner(stream, peer, index);
  }

  /** Whether key that the other end reserves has a place here. */
  admits({ ksid, index }: Purpose004): boolean {
    const stream = this.#streams.get(ksid);
    return (
      stream !== undefined &&
      stream.ownerKmeId === stream.remoteKmeId &&
      stream.local === 'open' &&
      stream.remote === 'open' &&
      stream.isFree(index)
    );
  }

  /** Takes key that the other end has reserved. */
  receive({ ksid, index }: Purpose004, shared: SharedKey): void {
    const stream = this.#streams.get(ksid);
    if (stream === undefined || stream.local !== 'open' || !stream.isFree(index)) shared.key.wipe();
    else this.#keep(stream, index, shared);
  }

  #assignAsOwner(stream: KeyStream, peer: KmePeer, index: number): Promise<ChunkOutcome> {
    const underway = stream.assigning.get(index);
    if (underway !== undefined) return underway;
    if (stream.waiting(index) !== undefined) return Promise.resolve('assigned');
    if (!stream.isFree(index)) return Promise.resolve('refused');
    const assignment = this.#reserve(stream, peer, index).finally(() => stream.assigning.delete(index));
    stream.assigning.set(index, assignment);
    return assignment;
  }

  async #reserve(stream: KeyStream, peer: KmePeer, index: number): Promise<ChunkOutcome> {
    const purpose: Purpose004 = { api: 'etsi004', ksid: stream.ksid, index };
    const reservation = await peer.supply.reserve(purpose, stream.qos.keyChunkSizeBytes);
    if (reservation.outcome !== 'reserved') {
      return reservation.outcome === 'insufficient' ? 'insufficient' : 'refused';
    }
    if (!this.#streams.holds(stream) || stream.local !== 'open') {
      reservation.shared.key.wipe();
      return 'refused';
    }
    this.#keep(stream, index, reservation.shared);
    return 'assigned';
  }

  #keep(stream: KeyStream, index: number, shared: SharedKey): void {
    const cancelExpiry = this.#clock.setTimer(1_000 * stream.qos.ttlSeconds, () => stream.spend(index)?.key.wipe());
    stream.keep(index, shared, cancelExpiry);
  }
}
