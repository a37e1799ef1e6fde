/** What both ends do with a single connection: cut it into messages, and end it when the peer is at fault. */
import { KeyChannelError, KeyChannelErrorCode } from './errors.ts';
import { MessageFramer } from './framing.ts';
import { HELLO_TIMEOUT_MS } from './limits.ts';
import type { AbortMessage, AbortReason, KeyChannelMessage } from './messages.ts';

const abortReasons: Readonly<Record<KeyChannelErrorCode, AbortReason | undefined>> = {
  [KeyChannelErrorCode.decode]: 'decode_error',
  [KeyChannelErrorCode.version]: 'version',
  [KeyChannelErrorCode.unknownMessage]: 'unknown_message',
  [KeyChannelErrorCode.unexpectedMessage]: 'unexpected_message',
  [KeyChannelErrorCode.wrongDrawer]: 'wrong_drawer',
  [KeyChannelErrorCode.duplicateReference]: 'duplicate_reference',
  [KeyChannelErrorCode.unknownBatch]: 'unknown_batch',
  [KeyChannelErrorCode.limit]: 'limit',
  [KeyChannelErrorCode.selfConnection]: 'self_connection',
  // Whoever does not say hello hears nothing either.
  [KeyChannelErrorCode.timeout]: undefined,
  // An abort is not answered.
  [KeyChannelErrorCode.peerAbort]: undefined,
};

export class ChannelConnection {
  readonly #framer = new MessageFramer();
  #helloReceived = false;
  #waitsSinceMs: number | undefined;

  get helloReceived(): boolean {
    return this.#helloReceived;
  }

  /** What is wrong with a peer that has not said hello since the first call of this, `HELLO_TIMEOUT_MS` ago. */
  overdue(nowMs: number): KeyChannelError | undefined {
    if (this.#helloReceived) return undefined;
    this.#waitsSinceMs ??= nowMs;
    if (nowMs - this.#waitsSinceMs < HELLO_TIMEOUT_MS) return undefined;
    return helloOverdue();
  }

  /**
   * Hands each message that `bytes` completes to `handle`, in order. A hello
   * comes first and once; an abort never gets that far. Returns what the peer
   * did wrong, if it did, after which the connection is over.
   */
  receive(
    bytes: Uint8Array,
    handle: (message: Exclude<KeyChannelMessage, AbortMessage>) => void,
  ): KeyChannelError | undefined {
    try {
      for (const message of this.#framer.push(bytes)) {
        if (message.type === 'abort') {
          throw new KeyChannelError(
            KeyChannelErrorCode.peerAbort,
            `the peer ended the channel: ${message.reason ?? 'unknown reason'}`,
          );
        }
        if ((message.type === 'hello') === this.#helloReceived) throw unexpected(message);
        this.#helloReceived = true;
        handle(message);
      }
      return undefined;
    } catch (error) {
      if (error instanceof KeyChannelError) return error;
      throw error;
    }
  }
}

/** No hello within `HELLO_TIMEOUT_MS`. */
export function helloOverdue(): KeyChannelError {
  return new KeyChannelError(KeyChannelErrorCode.timeout, `no hello within ${HELLO_TIMEOUT_MS / 1000} s`);
}

/** The message that tells the peer of its fault, if it is to be told. */
export function abortFor(error: KeyChannelError): AbortMessage | undefined {
  const reason = abortReasons[error.code];
  return reason === undefined ? undefined : { type: 'abort', reason };
}

export function unexpected(message: KeyChannelMessage): KeyChannelError {
  return new KeyChannelError(
    KeyChannelErrorCode.unexpectedMessage,
    `${message.type} in a state that does not allow it`,
  );
}
