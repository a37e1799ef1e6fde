/** Stable codes of what can end a key channel's connection. Documented in docs/errors.md; a test compares the two. */
export const KeyChannelErrorCode = {
  /** A message is malformed, too long, or has trailing bytes. */
  decode: 'ERR_KEYCHANNEL_DECODE',
  /** The peer's hello names a protocol version that we don't speak. */
  version: 'ERR_KEYCHANNEL_VERSION',
  /** A message type that this version does not define. */
  unknownMessage: 'ERR_KEYCHANNEL_UNKNOWN_MESSAGE',
  /** A defined message that this role or state does not allow. */
  unexpectedMessage: 'ERR_KEYCHANNEL_UNEXPECTED_MESSAGE',
  /** A reference names another drawer than the authenticated peer. */
  wrongDrawer: 'ERR_KEYCHANNEL_WRONG_DRAWER',
  /** One reference was announced twice on one connection, or twice in one message. */
  duplicateReference: 'ERR_KEYCHANNEL_DUPLICATE_REFERENCE',
  /** A batch out of order, or a result for a key that was never announced. */
  unknownBatch: 'ERR_KEYCHANNEL_UNKNOWN_BATCH',
  /** More connections or drawer instances than a peer may have. */
  limit: 'ERR_KEYCHANNEL_LIMIT',
  /** Both ends have one instance: a process reached itself. */
  selfConnection: 'ERR_KEYCHANNEL_SELF_CONNECTION',
  /** The peer did not say hello in time. */
  timeout: 'ERR_KEYCHANNEL_TIMEOUT',
  /** The peer ended the channel with an `abort` message; the message text says why. */
  peerAbort: 'ERR_KEYCHANNEL_PEER_ABORT',
} as const;
export type KeyChannelErrorCode = (typeof KeyChannelErrorCode)[keyof typeof KeyChannelErrorCode];

/** What a peer did wrong. It ends the connection on which it happened and nothing else. */
export class KeyChannelError extends Error {
  override readonly name = 'KeyChannelError';
  readonly code: KeyChannelErrorCode;

  constructor(code: KeyChannelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The caller broke the API's contract: a bug on our side, never something that a peer can cause. */
export class KeyChannelMisuseError extends Error {
  override readonly name = 'KeyChannelMisuseError';
}
