/**
 * Messages of the key channel (draft-qstunnel-tls-qkd-psk), in the presentation
 * language of TLS. They are application data of a TLS 1.3 connection with ALPN
 * `qstunnel-key/1`; record boundaries mean nothing.
 *
 *     enum {
 *         hello(1), state(2), abort(3),                            // both directions
 *         stream(16), keys(17), dropped(18), close_stream(19),     // drawer to answerer
 *         opened(32), failed(33), results(34),                     // answerer to drawer
 *         (255)
 *     } KeyChannelMessageType;
 *     struct {
 *         KeyChannelMessageType type;
 *         uint24 length;                      // of body, at most 81,920
 *         select (type) { … } body;
 *     } KeyChannelMessage;
 *
 * The framing and the first two bytes of `hello` stay the same in all versions.
 * A type that is not named here ends the connection.
 */
import type { QkdKeyReference } from '../engine-types.ts';
import type { KeyChannelState, KeyStreamQos, PeerHello, StreamFailure } from './types.ts';

export const MessageType = {
  hello: 1,
  state: 2,
  abort: 3,
  stream: 16,
  keys: 17,
  dropped: 18,
  closeStream: 19,
  opened: 32,
  failed: 33,
  results: 34,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/**
 * The first message of each side, sent without waiting for the other's.
 *
 *     enum { qkd_and_pqc(1), qkd(2), pqc(3), qkd_or_pqc(4), (255) } ServicePolicy;
 *     struct {
 *         opaque service<1..255>;             // UTF-8
 *         ServicePolicy require;
 *     } ServiceRequirement;
 *     struct {
 *         uint16 version = 1;
 *         opaque instance[16];
 *         uint32 quota;                       // 1 to 16,384 keys outstanding
 *         ServiceRequirement services<0..2^16-1>;     // at most 64
 *     } Hello;
 */
export interface HelloMessage extends PeerHello {
  readonly type: 'hello';
}

/**
 * How the sender's key delivery is doing; replaces what was said before.
 *
 *     enum { kme_unreachable(1), kme_error(2), no_key(3), stream_opening(4),
 *            key_mismatch(5), budget(6), draining(7), (255) } StateReason;
 *     struct {
 *         uint8 kme_reachable;                // 0 or 1
 *         opaque kme_name<0..255>;            // UTF-8
 *         uint32 pool_keys;
 *         StateReason reasons<0..16>;         // unknown ones are skipped
 *     } State;
 */
export interface StateMessage extends KeyChannelState {
  readonly type: 'state';
}

/** Why a side ends the channel, as its peer's operator reads it. */
export const AbortReason = {
  decode: 'decode_error',
  version: 'version',
  unknownMessage: 'unknown_message',
  unexpectedMessage: 'unexpected_message',
  wrongDrawer: 'wrong_drawer',
  duplicateReference: 'duplicate_reference',
  unknownBatch: 'unknown_batch',
  limit: 'limit',
  selfConnection: 'self_connection',
} as const;
export type AbortReason = (typeof AbortReason)[keyof typeof AbortReason];

/**
 * The last message of a side that found its peer in error; it closes the connection then.
 *
 *     enum { decode_error(1), version(2), unknown_message(3), unexpected_message(4),
 *            wrong_drawer(5), duplicate_reference(6), unknown_batch(7),
 *            limit(8), self_connection(9), (255) } AbortReason;
 *     struct { AbortReason reason; } Abort;   // unknown reasons are allowed
 */
export interface AbortMessage {
  readonly type: 'abort';
  /** Absent: a reason of a later version. */
  readonly reason?: AbortReason;
}

/**
 * Asks the answerer to open a 004 key stream. Repeated on each new connection
 * for every stream that the drawer has, which changes nothing at an answerer
 * that knows it, and makes it say `opened` or `failed` again.
 *
 *     struct {
 *         opaque ksid[16];
 *         uint32 key_chunk_size; uint32 max_bps; uint32 min_bps; uint32 jitter;
 *         uint32 priority; uint32 timeout; uint32 ttl;     // as in ETSI GS QKD 004
 *         opaque metadata_mimetype<0..255>;                // printable ASCII
 *     } Stream;
 */
export interface StreamMessage {
  readonly type: 'stream';
  readonly ksid: Uint8Array;
  readonly qos: KeyStreamQos;
}

/** A key and its drawer's check value. */
export interface KeyAnnouncement {
  readonly reference: QkdKeyReference;
  readonly check: Uint8Array;
}

/**
 * Announces one batch of keys, in the order in which they were drawn. Batches
 * are numbered 0, 1, … on each connection. With 004 all keys of a batch are of
 * one stream, which the answerer has said to be open.
 *
 *     struct {
 *         opaque reference<1..2^16-1>;        // a QkdKeyReference
 *         opaque check[16];                   // check "d"
 *     } KeyAnnouncement;
 *     struct {
 *         uint32 batch;
 *         uint32 ttl;                         // seconds that the keys still have, 1 to 86,400
 *         KeyAnnouncement keys<1..2^24-1>;    // at most 128
 *     } Keys;
 */
export interface KeysMessage {
  readonly type: 'keys';
  readonly batch: number;
  readonly ttlSeconds: number;
  readonly keys: readonly KeyAnnouncement[];
}

/** Why the drawer takes back keys. */
export const DropReason = { unused: 'unused', mismatch: 'mismatch' } as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/**
 * Keys that the drawer has burnt unused; the answerer wipes them. Unknown
 * references are ignored: they may have ended there by themselves.
 *
 *     enum { unused(1), mismatch(2), (255) } DropReason;
 *     opaque Reference<1..2^16-1>;
 *     struct { DropReason reason; Reference references<1..2^24-1>; } Dropped;     // at most 128
 */
export interface DroppedMessage {
  readonly type: 'dropped';
  readonly reason: DropReason;
  readonly references: readonly QkdKeyReference[];
}

/** Why the drawer closes a stream. */
export const CloseReason = { finished: 'finished', mismatch: 'mismatch' } as const;
export type CloseReason = (typeof CloseReason)[keyof typeof CloseReason];

/**
 * The drawer takes nothing more from the stream; the answerer closes it at its
 * KME. Acked keys live on, except with `mismatch`, which ends all of them.
 *
 *     enum { finished(1), mismatch(2), (255) } CloseReason;
 *     struct { opaque ksid[16]; CloseReason reason; } CloseStream;
 */
export interface CloseStreamMessage {
  readonly type: 'close_stream';
  readonly ksid: Uint8Array;
  readonly reason: CloseReason;
}

/**
 * The answerer has opened the stream at its KME, which returned this chunk size.
 *
 *     struct { opaque ksid[16]; uint32 key_chunk_size; } Opened;
 */
export interface OpenedMessage {
  readonly type: 'opened';
  readonly ksid: Uint8Array;
  readonly keyChunkSizeBytes: number;
}

/**
 * Not opened (yet), or lost after it was. `retrying` = 1: `opened` follows,
 * unasked, when it succeeds. 0: the stream is over.
 *
 *     enum { kme_unreachable(1), no_qkd_connection(2), ksid_in_use(3), qos_not_met(4),
 *            lost(5), limit(6), other(7), (255) } StreamFailure;     // unknown: other
 *     struct { opaque ksid[16]; StreamFailure reason; uint8 retrying; } Failed;
 */
export interface FailedMessage {
  readonly type: 'failed';
  readonly ksid: Uint8Array;
  readonly reason: StreamFailure;
  readonly retrying: boolean;
}

/** What the answerer says of one key, by its place in the batch. */
export type KeyResult =
  /** It has the key, and this is its own check value. */
  | { readonly position: number; readonly status: 'acked'; readonly check: Uint8Array }
  /** Its KME has not got it yet; another result follows. */
  | { readonly position: number; readonly status: 'pending' }
  /** Its KME gave a key with another check value. */
  | { readonly position: number; readonly status: 'mismatch' }
  /** Its KME does not have it, or the answerer has used or wiped it. */
  | { readonly position: number; readonly status: 'unavailable' }
  /** Its quota is full; nothing of this key was kept. */
  | { readonly position: number; readonly status: 'over_quota' };

/**
 * Results for keys of one batch, in any order and number of messages.
 *
 *     enum { acked(1), pending(2), mismatch(3), unavailable(4), over_quota(5), (255) } KeyStatus;
 *     struct {
 *         uint8 position;                     // in the batch, from 0
 *         KeyStatus status;
 *         select (status) { case acked: opaque check[16]; };      // check "a"
 *     } KeyResult;
 *     struct { uint32 batch; KeyResult results<1..2^24-1>; } Results;      // at most 128
 */
export interface ResultsMessage {
  readonly type: 'results';
  readonly batch: number;
  readonly results: readonly KeyResult[];
}

export type DrawerMessage = StreamMessage | KeysMessage | DroppedMessage | CloseStreamMessage;
export type AnswererMessage = OpenedMessage | FailedMessage | ResultsMessage;
export type KeyChannelMessage = HelloMessage | StateMessage | AbortMessage | DrawerMessage | AnswererMessage;
