/** Hashes of TLS 1.3, and the transcript hash (RFC 9846, "The Transcript Hash"; RFC 8446, 4.4.1). */
import { createHash, type Hash, hash as oneShot } from 'node:crypto';
import { plainBytes } from './plain-bytes.ts';

export type HashName = 'sha256' | 'sha384';

/** Length of a hash's output in bytes (Hash.length of the RFC). */
export const hashLengthBytes: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48 };

/** HandshakeType of the synthetic message that stands for ClientHello1 after a HelloRetryRequest. */
const MESSAGE_HASH = 254;

/** Hash of the concatenation of `parts`. */
export function hash(name: HashName, ...parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return plainBytes(oneShot(name, parts[0] as Uint8Array, 'buffer'));
  const state = createHash(name);
  for (const part of parts) state.update(part);
  return plainBytes(state.digest());
}

const emptyHashes: Readonly<Record<HashName, Uint8Array>> = {
  sha256: hash('sha256', new Uint8Array(0)),
  sha384: hash('sha384', new Uint8Array(0)),
};

/** Hash of the empty string: the context of every "derived" secret. Shared, so not to be changed. */
export function emptyHash(name: HashName): Uint8Array {
  return emptyHashes[name];
}

/**
 * The running hash over all handshake messages (each with its 4-byte header,
 * never a record header). A snapshot costs one copy of the hash state, not a
 * second pass over the messages.
 */
export class TranscriptHash {
  readonly hash: HashName;
  #state: Hash;
  /** Of the messages so far, once it was asked for. */
  #snapshot: Uint8Array | undefined;

  constructor(name: HashName) {
    this.hash = name;
    this.#state = createHash(name);
  }

  update(message: Uint8Array): void {
    this.#state.update(message);
    this.#snapshot = undefined;
  }

  /** Transcript-Hash of the messages so far. The transcript goes on. Shared, so not to be changed. */
  snapshot(): Uint8Array {
    this.#snapshot ??= plainBytes(this.#state.copy().digest());
    return this.#snapshot;
  }

  /** Transcript-Hash of the messages so far and `next`, which is not added: for binders, whose ClientHello is cut short. */
  snapshotWith(next: Uint8Array): Uint8Array {
    return plainBytes(this.#state.copy().update(next).digest());
  }

  /**
   * Replaces ClientHello1, the only message so far, by the synthetic
   * `message_hash` message. Call it before the HelloRetryRequest is added.
   */
  replaceByMessageHash(): void {
    const clientHello1 = this.#state.digest();
    this.#state = createHash(this.hash)
      .update(Uint8Array.of(MESSAGE_HASH, 0, 0, clientHello1.length))
      .update(clientHello1);
    this.#snapshot = undefined;
  }

  /** An independent transcript with the same messages. */
  clone(): TranscriptHash {
    const copy = new TranscriptHash(this.hash);
    copy.#state = this.#state.copy();
    return copy;
  }
}
