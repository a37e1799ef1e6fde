/**
 * The key channel's public face: two state machines, bytes in, events out. No
 * socket, timer, clock or randomness inside; proxy/ joins them to sockets,
 * key pool and KME clients.
 *
 * `KeyChannelDrawer` (it dials, draws keys from its KME and announces them) is
 * one object for each (own SAE, peer SAE, address). `KeyChannelAnswerer` (it
 * accepts, and fetches the same keys) is one for each (own SAE, peer SAE), and
 * serves every connection of that peer. Both outlive their connections.
 *
 * Secrets: neither object holds a secret between two calls. The drawer borrows
 * the keys that it announces and keeps their check values only. The answerer
 * owns what `provideKey` gets: it passes it on in `key-accepted` or wipes it
 * before it returns. On `key-withdrawn` whoever holds the key wipes it.
 *
 * Time is `nowMs`, from one monotonic clock of the caller.
 */
import type { SecretBytes } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import type { KeyChannelError } from './errors.ts';
import type { DrawerGreeting } from './greeting.ts';

/** QoS of an ETSI GS QKD 004 key stream (V2.1.1), as announced to the answerer. */
export interface KeyStreamQos {
  readonly keyChunkSizeBytes: number;
  readonly maxBps: number;
  readonly minBps: number;
  readonly jitterBps: number;
  readonly priority: number;
  readonly timeoutMs: number;
  readonly ttlSeconds: number;
  /** ASCII; empty: no metadata wanted. */
  readonly metadataMimetype: string;
}

/** `require` of a service: the least it admits. */
export const ServicePolicy = {
  qkdAndPqc: 'qkd-and-pqc',
  qkd: 'qkd',
  pqc: 'pqc',
  qkdOrPqc: 'qkd-or-pqc',
} as const;
export type ServicePolicy = (typeof ServicePolicy)[keyof typeof ServicePolicy];

export interface ServiceRequirement {
  readonly service: string;
  readonly require: ServicePolicy;
}

/** What the peer said first on a connection. */
export interface PeerHello {
  /** Names the peer's process; a new one means that it lost its keys. */
  readonly instance: Uint8Array;
  /** Most keys outstanding that the peer wants between our two instances. */
  readonly quota: number;
  readonly services: readonly ServiceRequirement[];
}

/** Why there are few keys, or none: for operators of the other side. */
export const StateReason = {
  kmeUnreachable: 'kme_unreachable',
  kmeError: 'kme_error',
  noKey: 'no_key',
  streamOpening: 'stream_opening',
  keyMismatch: 'key_mismatch',
  budget: 'budget',
  draining: 'draining',
} as const;
export type StateReason = (typeof StateReason)[keyof typeof StateReason];

/** How one side's key delivery is doing. Sent in both directions whenever it changes. */
export interface KeyChannelState {
  readonly kmeReachable: boolean;
  /** Name of the KME in use, for operators; no URI (those may hold tokens). */
  readonly kmeName: string;
  /** Keys ready for use that this side shares with the peer. */
  readonly poolKeys: number;
  readonly reasons: readonly StateReason[];
}

/** Why the answerer has not opened a stream, or lost it. */
export const StreamFailure = {
  kmeUnreachable: 'kme_unreachable',
  /** 004 status 4. */
  noQkdConnection: 'no_qkd_connection',
  /** 004 status 5, or the KSID belongs to another instance. */
  ksidInUse: 'ksid_in_use',
  /** 004 status 7. */
  qosNotMet: 'qos_not_met',
  /** The KME forgot the stream; an index of it must never be resumed. */
  lost: 'lost',
  /** More streams than the answerer allows. */
  limit: 'limit',
  other: 'other',
} as const;
export type StreamFailure = (typeof StreamFailure)[keyof typeof StreamFailure];

/** Settings of both ends. */
export interface KeyChannelOptions {
  readonly ownSae: string;
  /** SAE that the peer's certificate was checked to name. */
  readonly peerSae: string;
  /** 16 random bytes, chosen once per process. */
  readonly instance: Uint8Array;
  /** Most keys outstanding with one peer instance, 1 to `MAX_QUOTA`. The smaller one of both ends holds. */
  readonly quota: number;
  /** Our KME's name, until `setState` gives another. */
  readonly kmeName: string;
}

export interface DrawerOptions extends KeyChannelOptions {
  readonly services: readonly ServiceRequirement[];
  /** Keys are offered until their TTL less this margin (default 5,000). */
  readonly ttlMarginMs?: number;
  /** First and longest delay before a fresh stream after a mismatch or failure (defaults 1,000 and 60,000); it doubles in between. */
  readonly backOffMinMs?: number;
  readonly backOffMaxMs?: number;
}

export type AnswererOptions = KeyChannelOptions;

/** A key to announce. `secret` is borrowed for the call. */
export interface AnnouncedKey {
  readonly reference: QkdKeyReference;
  readonly secret: SecretBytes;
}

/** Both KMEs that disagree about a key: for the operators of both sides. */
export interface MismatchReport {
  /** The key whose check values differ; absent at the answerer where the drawer found out and closed the stream. */
  readonly reference?: QkdKeyReference;
  /** Its stream (004); absent for 014 and SKIP, where the batch is under quarantine. */
  readonly ksid?: Uint8Array;
  readonly ownKme: string;
  /** Empty if the peer has not said it yet. */
  readonly peerKme: string;
}

/** Why the drawer must not offer a key any more. */
export type DrawerWithdrawal =
  /** The check values differ, of this key or of another one in its stream or batch. */
  | 'mismatch'
  /** The answerer's process is a new one: it has none of our keys. */
  | 'peer-restarted'
  /** The answerer's KME does not have it, or the answerer has used it. */
  | 'unavailable'
  | 'over-quota'
  | 'expired'
  /** Its stream ended before the answerer had fetched it. */
  | 'stream-ended';

export type DrawerStreamEnd =
  | 'closed'
  | 'mismatch'
  | 'peer-restarted'
  /** The answerer gave up opening it, or its KME lost it. */
  | 'failed';

export type DrawerEvent =
  /** Send these bytes on the connection. */
  | { readonly type: 'write'; readonly bytes: Uint8Array }
  /** Hellos are exchanged. `peerInstance`: whether the same answerer process has been reached before by this object. */
  | { readonly type: 'ready'; readonly peer: PeerHello; readonly peerInstance: 'first' | 'same' | 'new' }
  | { readonly type: 'peer-state'; readonly state: KeyChannelState }
  /** The answerer has opened the stream at its KME: keys may be drawn now. `keyChunkSizeBytes` is what its KME returned; a caller whose own KME returned another ends the stream. */
  | { readonly type: 'stream-opened'; readonly ksid: Uint8Array; readonly keyChunkSizeBytes: number }
  /** The answerer could not open it yet and goes on trying. */
  | { readonly type: 'stream-delayed'; readonly ksid: Uint8Array; readonly reason: StreamFailure }
  /** Close it at the KME: nothing more may be drawn from it. */
  | {
      readonly type: 'stream-ended';
      readonly ksid: Uint8Array;
      readonly reason: DrawerStreamEnd;
      readonly failure?: StreamFailure;
    }
  /** After `delayMs`: open a fresh stream (004), or draw a fresh batch (014, SKIP). */
  | { readonly type: 'fresh-start'; readonly delayMs: number; readonly reason: DrawerStreamEnd }
  /** Both ends hold the same key: it may be offered. At most once for each reference. */
  | { readonly type: 'key-offerable'; readonly reference: QkdKeyReference }
  /** Wipe it. */
  | { readonly type: 'key-withdrawn'; readonly reference: QkdKeyReference; readonly reason: DrawerWithdrawal }
  | { readonly type: 'mismatch'; readonly report: MismatchReport; readonly inARow: number }
  /** Too many mismatches in a row: one key at a time, as a probe, until one agrees. */
  | { readonly type: 'kme-quarantined'; readonly ownKme: string; readonly peerKme: string }
  | { readonly type: 'kme-restored'; readonly ownKme: string; readonly peerKme: string }
  /** Close the connection (after what was to be written). Keys and streams go on with the next one. */
  | { readonly type: 'failed'; readonly error: KeyChannelError };

/** Why the answerer must not use a key any more, or need not fetch it. */
export type AnswererWithdrawal =
  /** Burnt unused by the drawer. */
  | 'dropped'
  | 'mismatch'
  | 'expired'
  | 'stream-ended'
  /** Its drawer instance is gone and others needed the room. */
  | 'evicted';

export type AnswererStreamEnd = 'closed' | 'mismatch' | 'expired' | 'evicted';

/** A connection's name, chosen by the caller and unique among the open ones. */
export type ConnectionId = number;

export type AnswererEvent =
  | { readonly type: 'write'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  | {
      readonly type: 'ready';
      readonly connection: ConnectionId;
      readonly peer: PeerHello;
      /** `same`: this drawer process has been here before. */
      readonly peerInstance: 'same' | 'new';
    }
  | { readonly type: 'peer-state'; readonly connection: ConnectionId; readonly state: KeyChannelState }
  /** Open it at the KME, then `streamOpened` or `streamFailed`. */
  | { readonly type: 'stream-requested'; readonly ksid: Uint8Array; readonly qos: KeyStreamQos }
  /** Close it at the KME. Accepted keys of it live on, unless withdrawn by events of their own. */
  | { readonly type: 'stream-ended'; readonly ksid: Uint8Array; readonly reason: AnswererStreamEnd }
  /** Fetch these, in order, then `provideKey`, `reportPending` or `reportNotFound` for each. */
  | { readonly type: 'keys-announced'; readonly references: readonly QkdKeyReference[] }
  /** Both ends hold it: put it in the store. The receiver owns `secret`. `expiresAtMs`: wipe it then at the latest. */
  | {
      readonly type: 'key-accepted';
      readonly reference: QkdKeyReference;
      readonly secret: SecretBytes;
      readonly expiresAtMs: number;
    }
  /** Wipe it if it was accepted, stop fetching it if not. */
  | {
      readonly type: 'key-withdrawn';
      readonly reference: QkdKeyReference;
      readonly reason: AnswererWithdrawal;
      readonly accepted: boolean;
    }
  | { readonly type: 'mismatch'; readonly report: MismatchReport }
  /** Close this connection (after what was to be written). */
  | { readonly type: 'failed'; readonly connection: ConnectionId; readonly error: KeyChannelError };

/** The end that dials and announces. */
export interface DrawerApi {
  /** A connection is up (TLS handshake done, peer's SAE checked): sends hello. */
  connected(): DrawerEvent[];
  /** As `connected`, for a connection on which hellos are exchanged already; what comes next goes to `receive`. */
  takeOver(greeting: DrawerGreeting, nowMs: number): DrawerEvent[];
  receive(bytes: Uint8Array, nowMs: number): DrawerEvent[];
  /** The connection ended, for whatever reason. Acked keys stay offerable. */
  disconnected(): void;
  /** Tells the peer how we are doing, now and on each later connection. */
  setState(state: KeyChannelState): DrawerEvent[];
  /** Announces a stream (KSID allocated by the KME or chosen by the caller); kept until it can be sent. */
  openStream(ksid: Uint8Array, qos: KeyStreamQos): DrawerEvent[];
  /** Nothing more will be drawn from it: closes it once the answerer has fetched what was announced. */
  endStream(ksid: Uint8Array): DrawerEvent[];
  /** The KME lost it: drops what the answerer has not fetched and closes it now. */
  abandonStream(ksid: Uint8Array): DrawerEvent[];
  /** How many keys may be announced now: quota, batch limit, quarantine. Wipe what was drawn beyond it. */
  announceRoom(): number;
  /**
   * Announces one batch in the order in which it was drawn: keys of one opened
   * stream (one chunk), or of 014 or SKIP. Without a connection it is kept for
   * the next one. Keys of a stream that has ended are withdrawn at once.
   * Throws `KeyChannelMisuseError` on more keys than `announceRoom`, on a
   * stream that the answerer has not opened, and on a reference that is out.
   */
  announce(keys: readonly AnnouncedKey[], ttlMs: number, nowMs: number): DrawerEvent[];
  /** A handshake or rekey was completed with it. */
  keyUsed(reference: QkdKeyReference): DrawerEvent[];
  /** It was burnt unused: tells the answerer. */
  keyDropped(reference: QkdKeyReference): DrawerEvent[];
  /** Withdraws what is too old. Call about once a second. */
  tick(nowMs: number): DrawerEvent[];
}

/** The end that accepts and fetches. */
export interface AnswererApi {
  /** `services`: what this peer may reach where the connection came in. */
  connected(connection: ConnectionId, services: readonly ServiceRequirement[]): AnswererEvent[];
  receive(connection: ConnectionId, bytes: Uint8Array, nowMs: number): AnswererEvent[];
  disconnected(connection: ConnectionId, nowMs: number): void;
  setState(state: KeyChannelState): AnswererEvent[];
  /** `keyChunkSizeBytes`: what our KME returned. */
  streamOpened(ksid: Uint8Array, keyChunkSizeBytes: number): AnswererEvent[];
  /** `retrying`: the caller tries again later; else the stream is over (also after it was opened: `lost`). */
  streamFailed(ksid: Uint8Array, reason: StreamFailure, retrying: boolean): AnswererEvent[];
  /** The KME's key for an announced reference. Takes ownership of `secret`. */
  provideKey(reference: QkdKeyReference, secret: SecretBytes): AnswererEvent[];
  /** Not there yet; the caller tries again. */
  reportPending(reference: QkdKeyReference): AnswererEvent[];
  /** Given up: the KME does not have it. */
  reportNotFound(reference: QkdKeyReference): AnswererEvent[];
  /** The store no longer has it (burnt by a handshake, or wiped): makes room in the quota. */
  keyEnded(reference: QkdKeyReference): void;
  /** Withdraws what is too old. Call about once a second. */
  tick(nowMs: number): AnswererEvent[];
}
