/** What the answerer remembers of one peer, and for how long. */
import type { QkdKeyReference } from '../engine-types.ts';
import type { ChannelConnection } from './channel-connection.ts';
import { MAX_ENDED_KEY_IDS, MAX_ENDED_STREAMS } from './limits.ts';
import type { ConnectionId, KeyStreamQos, StreamFailure } from './types.ts';

export interface Connection {
  readonly id: ConnectionId;
  readonly channel: ChannelConnection;
  /** Set by the peer's hello. */
  instance?: Instance;
  nextBatch: number;
}

/** A process of the drawer: one replica, or one life between restarts. */
export interface Instance {
  readonly id: string;
  /** The smaller one of both ends' quotas. */
  quota: number;
  readonly connections: Set<Connection>;
  readonly streams: Map<string, Stream>;
  readonly keys: Set<Key>;
  /** Streams that are over, by KSID. */
  readonly endedStreams: RecentSet;
  /** 014 and SKIP keys that are over, by reference. (004 needs none: an index never goes back.) */
  readonly endedKeys: RecentSet;
  /**
   * Streams (004, by KSID) and keys (014, SKIP, by reference) that were found to
   * differ. The result that said so may have been lost with its connection, so
   * it is said again of what is announced again.
   */
  readonly mismatched: RecentSet;
  /** When its last connection ended. */
  disconnectedAtMs: number;
}

export interface Stream {
  readonly id: string;
  readonly ksid: Uint8Array;
  readonly qos: KeyStreamQos;
  readonly instance: Instance;
  readonly keys: Set<Key>;
  /** Where `opened` and `failed` go: the connection that asked last. */
  connection: Connection;
  /** What our KME returned; absent: not open yet. */
  keyChunkSizeBytes?: number;
  /** Why it isn't open yet. */
  failure?: StreamFailure;
  /** Place of the last key announced. What comes later must be beyond it. */
  last?: { readonly index: number; readonly slice: number };
}

/** A key from its announcement until it is used, dropped or too old. */
export interface Key {
  readonly id: string;
  readonly reference: QkdKeyReference;
  readonly instance: Instance;
  readonly stream?: Stream;
  readonly drawerCheck: Uint8Array;
  readonly expiresAtMs: number;
  /** Where results go: the connection that announced it last, and its place there. */
  connection: Connection;
  batch: number;
  position: number;
  /** The keys of the batch, of which all are over when one does not match (014, SKIP). */
  batchKeys: Set<Key>;
  pending: boolean;
  /** Our check value, once the key was fetched and found equal. */
  ownCheck?: Uint8Array;
}

/** One that has said hello just now. */
export function newInstance(id: string): Instance {
  return {
    id,
    quota: 0,
    connections: new Set(),
    streams: new Map(),
    keys: new Set(),
    endedStreams: new RecentSet(MAX_ENDED_STREAMS),
    endedKeys: new RecentSet(MAX_ENDED_KEY_IDS),
    mismatched: new RecentSet(MAX_ENDED_KEY_IDS),
    disconnectedAtMs: 0,
  };
}

/** Remembers the last `capacity` strings it was given. */
export class RecentSet {
  readonly #capacity: number;
  readonly #items = new Set<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  has(item: string): boolean {
    return this.#items.has(item);
  }

  add(item: string): void {
    this.#items.delete(item);
    this.#items.add(item);
    if (this.#items.size > this.#capacity) this.#items.delete(this.#items.values().next().value as string);
  }
}
