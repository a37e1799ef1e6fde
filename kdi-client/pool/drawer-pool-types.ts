/** What the drawer's pool takes and gives. */
import type { SecretBytes } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import type { KdiError } from '../errors.ts';
import type { KeyMetadata, KeyProvenance, KeySource, QkdKeyReference, StreamAnnouncement } from '../key-source.ts';
import type { SpentLedger } from '../ledger/spent-ledger.ts';
import type { KeyStock } from './budget.ts';
import type { DepthOptions } from './depth.ts';

/** Why there is no key to offer: the words of `qkd_psk`, which tls-ext/ has as well, since neither folder may know the other. */
export const NoKeyReason = {
  /** The stream is being opened, here or at the peer. */
  streamOpening: 'stream_opening',
  /** No key channel to the peer. */
  channelDown: 'channel_down',
  /** Everything works; the KME gives no more key just now. */
  poolEmpty: 'pool_empty',
  kmeUnreachable: 'kme_unreachable',
  peerKmeUnreachable: 'peer_kme_unreachable',
  /** The two KMEs gave different keys under one ID. */
  keyMismatch: 'key_mismatch',
  /** What is left is for others. */
  budget: 'budget',
  /** No key at hand is what the caller demands. */
  policy: 'policy',
} as const;
export type NoKeyReason = (typeof NoKeyReason)[keyof typeof NoKeyReason];

/** Why a key left the pool other than by use. */
export type DropReason =
  | 'expired'
  | 'unacknowledged'
  | 'unavailable'
  | 'mismatch'
  | 'offered-too-often'
  | 'discarded'
  | 'closed';

/** A key for the key channel to announce. `secret` is borrowed for the call, to compute the check value from. */
export interface KeyToAnnounce {
  readonly reference: QkdKeyReference;
  readonly secret: SecretBytes;
  /** On the pool's clock. */
  readonly expiresAtMs: number;
}

/** What the pool asks of the key channel. Called synchronously; must not throw. */
export interface DrawerPoolHooks {
  /** Tell the peer to open this stream; `streamOpened` or `streamFailed` is the answer. */
  announceStream(announcement: StreamAnnouncement): void;
  /** Announce; `markReady`, `markMismatch` or nothing (pending) is the answer to each. */
  announceKeys(keys: readonly KeyToAnnounce[]): void;
  /** Announced keys that were burnt unused: the peer wipes them. */
  dropKeys(references: readonly QkdKeyReference[]): void;
  /** Nothing more will come from this stream. */
  closeStream(ksid: Uint8Array): void;
  /** Something for operators: log, metric, audit. */
  onEvent?(event: DrawerPoolEvent): void;
}

export type DrawerPoolEvent =
  | { readonly type: 'keys-ready'; readonly ready: number }
  | { readonly type: 'stream-opened'; readonly kme: string; readonly ksid?: Uint8Array }
  | { readonly type: 'stream-ended'; readonly kme: string; readonly ksid?: Uint8Array }
  | {
      readonly type: 'failure';
      readonly kme: string;
      readonly error: KdiError;
      readonly retryInMs: number;
      /** No stream was opened, as against a draw from one. */
      readonly opening: boolean;
    }
  | {
      readonly type: 'mismatch';
      readonly kme: string;
      readonly reference: QkdKeyReference;
      /** Quarantined streams or batches since the last key that agreed. */
      readonly inARow: number;
      /** The KME itself is now quarantined: one probe at a time, until one agrees. */
      readonly kmeQuarantined: boolean;
      readonly retryInMs: number;
    }
  | { readonly type: 'dropped'; readonly reference: QkdKeyReference; readonly reason: DropReason };

export interface DrawerPoolOptions {
  readonly source: KeySource;
  readonly peerSaeId: string;
  readonly clock: Clock;
  /** Uniform in [0, 1); spreads retries, so that many proxies don't ask at once. */
  readonly random: () => number;
  readonly hooks: DrawerPoolHooks;
  /** Every drawn key is written down before it is announced, so that none enters a pool twice, also after a restart. */
  readonly ledger?: SpentLedger;
  /** Keys kept ahead: drawn, announced or ready, not leased (default 4). */
  readonly highWatermark?: number;
  /** Drawing starts again at this many ahead (default high − 1). */
  readonly lowWatermark?: number;
  /** Lets the watermarks follow demand, instead of the two above. */
  readonly adaptiveDepth?: DepthOptions;
  /** The first stream to a process of the peer is opened at a random moment within this (default 0). */
  readonly startSpreadMs?: number;
  /** Most keys held in any state, leased ones included; never above the peer's quota (default 4096). */
  readonly maxOutstanding?: number;
  /** Ready keys that only rekeys may take (default 0). */
  readonly reserveFloor?: number;
  /** Longest life of a key here, whatever the KME's TTL (default 1 h). */
  readonly keyTtlMs?: number;
  /** Keys aren't offered in the last part of their life (default 30 s, at most half of the life). */
  readonly ttlMarginMs?: number;
  /** An unfinished key is offered this often in all (default 3) … */
  readonly maxOffers?: number;
  /** … and this long after its first offer (default 30 s). */
  readonly offerWindowMs?: number;
  /** An announced key that nobody acknowledged is dropped after this (default 60 s). */
  readonly ackTimeoutMs?: number;
  /** A stream that the peer can't open is given up after this (default 60 s). */
  readonly streamOpenTimeoutMs?: number;
}

/** What a key is taken for. Rekeys may use the reserve. */
export type KeyPurpose = 'handshake' | 'rekey';

/** A key on loan for one handshake or rekey. Exactly one of `commit`, `release`, `discard` takes effect. */
export interface KeyLease {
  readonly reference: QkdKeyReference;
  readonly metadata: KeyMetadata;
  /** At the time of the loan. */
  readonly provenance: KeyProvenance;
  /** A copy that the caller owns and wipes. */
  readonly secret: SecretBytes;
  /** On the pool's clock. */
  readonly expiresAtMs: number;
  /** The handshake completed with it: burnt. False if it was settled before. */
  commit(): boolean;
  /** The handshake didn't complete: may be offered again to the same peer, within bounds. */
  release(): void;
  /** The peer doesn't have it, or it must not be used again: burnt, and the peer is told. */
  discard(): void;
}

export type TakeResult =
  | { readonly ok: true; readonly lease: KeyLease }
  | { readonly ok: false; readonly reason: NoKeyReason };

/** Plain numbers for status, metrics and admission. */
export interface DrawerPoolStatus {
  readonly peerSaeId: string;
  readonly kme: string;
  readonly api: string;
  readonly channelUp: boolean;
  readonly streamOpen: boolean;
  readonly lowWatermark: number;
  readonly highWatermark: number;
  readonly reserveFloor: number;
  /** Keys by state. */
  readonly drawn: number;
  readonly announced: number;
  readonly ready: number;
  readonly leased: number;
  readonly waiters: number;
  readonly mismatchesInARow: number;
  readonly kmeQuarantined: boolean;
  /** Keys asked for, and delivered by the KME, with exponential forgetting. */
  readonly demandPerSecond: number;
  readonly supplyPerSecond: number;
  /** When the ready keys run out at these rates; absent if they don't. */
  readonly exhaustedInMs?: number;
  /** What `take` would answer now; absent when it would give a key. */
  readonly reason?: NoKeyReason;
  /** Code of the last failure, until a draw succeeds. */
  readonly lastErrorCode?: string;
  /** The same in words, with what to do. */
  readonly lastError?: string;
  /** Since the start. */
  readonly totals: DrawerPoolTotals;
}

export interface DrawerPoolTotals {
  readonly drawn: number;
  readonly acknowledged: number;
  readonly offered: number;
  readonly committed: number;
  readonly dropped: number;
  readonly mismatched: number;
  readonly drawFailures: number;
  readonly refused: number;
}

export interface TakeOptions {
  /** Default `handshake`. */
  readonly purpose?: KeyPurpose;
  /** Whether the caller may use a key of this provenance; one that it may not stays for others. */
  readonly fits?: (provenance: KeyProvenance) => boolean;
  /** Whether the caller gets a key now, of those that are not reserved; asked again with each key that comes. */
  readonly admits?: (stock: KeyStock) => boolean;
}

export interface TakeWithinOptions extends TakeOptions {
  readonly signal?: AbortSignal;
}

/** Counters at the start, for the pool to count up. */
export function noTotals(): { -readonly [K in keyof DrawerPoolTotals]: DrawerPoolTotals[K] } {
  return {
    drawn: 0,
    acknowledged: 0,
    offered: 0,
    committed: 0,
    dropped: 0,
    mismatched: 0,
    drawFailures: 0,
    refused: 0,
  };
}
