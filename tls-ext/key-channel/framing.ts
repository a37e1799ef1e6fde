import { KeyChannelError, KeyChannelErrorCode } from './errors.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import { decodeMessage } from './message-codec.ts';
import type { KeyChannelMessage } from './messages.ts';

const HEADER_BYTES = 4;

/**
 * Cuts a byte stream into messages. Holds one unfinished message at most, so
 * never more than `MAX_MESSAGE_BYTES` and a header, however small the pieces
 * are in which it comes.
 */
export class MessageFramer {
  #pending = new Uint8Array(0);
  #pendingLength = 0;

  /**
   * The messages that `bytes` completes, one by one, so that what stands before
   * a broken one is still seen. Throws `KeyChannelError`; the framer is of no
   * use after that.
   */
  *push(bytes: Uint8Array): Generator<KeyChannelMessage, void> {
    let rest = bytes;
    for (;;) {
      if (this.#pendingLength < HEADER_BYTES) rest = this.#take(rest, HEADER_BYTES);
      if (this.#pendingLength < HEADER_BYTES) return;
      const header = this.#pending;
      const bodyLength = ((header[1] as number) << 16) | ((header[2] as number) << 8) | (header[3] as number);
      if (bodyLength > MAX_MESSAGE_BYTES) {
        throw new KeyChannelError(KeyChannelErrorCode.decode, `message of ${bodyLength} bytes`);
      }
      rest = this.#take(rest, HEADER_BYTES + bodyLength);
      if (this.#pendingLength < HEADER_BYTES + bodyLength) return;
      const message = decodeMessage(header[0] as number, this.#pending.subarray(HEADER_BYTES, this.#pendingLength));
      this.#pendingLength = 0;
      yield message;
    }
  }

  /** Moves bytes to the pending message until it has `wanted`; returns what is left over. */
  #take(bytes: Uint8Array, wanted: number): Uint8Array {
    const taken = Math.min(bytes.length, wanted - this.#pendingLength);
    this.#grow(this.#pendingLength + taken);
    this.#pending.set(bytes.subarray(0, taken), this.#pendingLength);
    this.#pendingLength += taken;
    return bytes.subarray(taken);
  }

  /** Grows with what has arrived, not with what a header promises. */
  #grow(needed: number): void {
    if (needed <= this.#pending.length) return;
    const grown = new Uint8Array(
      Math.max(needed, Math.min(2 * this.#pending.length, HEADER_BYTES + MAX_MESSAGE_BYTES)),
    );
    grown.set(this.#pending.subarray(0, this.#pendingLength));
    this.#pending = grown;
  }
}
