/** Puts handshake messages together out of the fragments that records carry (RFC 8446, 5.1). */

import { Alert } from '../alert.ts';
import { HANDSHAKE_HEADER_BYTES, handshakeTypeName, maxMessageBytes } from '../messages/index.ts';
import { limitExceeded } from './faults.ts';
import type { HandshakeMessage } from './steps.ts';

export class HandshakeReassembler {
  readonly #fragments: Uint8Array[] = [];
  /** Bytes of the first fragment that earlier messages have taken. */
  #taken = 0;
  #available = 0;

  /** Bytes of a message that is not whole yet, or of messages not yet read. */
  get pendingBytes(): number {
    return this.#available;
  }

  /** Takes ownership of a record's content. */
  append(fragment: Uint8Array): void {
    this.#fragments.push(fragment);
    this.#available += fragment.length;
  }

  /** The next whole message, in memory of its own. A message that is too long is refused at its header. */
  next(): HandshakeMessage | undefined {
    if (this.#available < HANDSHAKE_HEADER_BYTES) return undefined;
    const header = this.#peekHeader();
    const type = header[0] as number;
    const bodyBytes = ((header[1] as number) << 16) | ((header[2] as number) << 8) | (header[3] as number);
    if (bodyBytes > maxMessageBytes(type)) {
      throw limitExceeded(`${handshakeTypeName(type)} of ${bodyBytes} bytes`, Alert.decodeError);
    }
    const lengthBytes = HANDSHAKE_HEADER_BYTES + bodyBytes;
    if (this.#available < lengthBytes) return undefined;
    return { type, bytes: this.#take(lengthBytes) };
  }

  #peekHeader(): Uint8Array {
    const [first] = this.#fragments as [Uint8Array];
    if (first.length - this.#taken >= HANDSHAKE_HEADER_BYTES) return first.subarray(this.#taken);
    // A header cut by record boundaries: rare, so the fragments are simply joined.
    const joined = this.#take(this.#available);
    this.append(joined);
    return joined;
  }

  #take(lengthBytes: number): Uint8Array {
    const message = new Uint8Array(lengthBytes);
    let filled = 0;
    while (filled < lengthBytes) {
      const fragment = this.#fragments[0] as Uint8Array;
      const part = fragment.subarray(this.#taken, this.#taken + lengthBytes - filled);
      message.set(part, filled);
      filled += part.length;
      this.#taken += part.length;
      if (this.#taken === fragment.length) {
        this.#fragments.shift();
        this.#taken = 0;
      }
    }
    this.#available -= lengthBytes;
    return message;
  }
}
