/**
 * What the answerer tells its drawers: of a stream on the connection that asked
 * for it last, of a key on the one that announced it last. What is said to a
 * connection that is gone is lost; on the next one the drawer asks again.
 */
import type { Connection, Key, Stream } from './answerer-records.ts';
import { encodeMessage } from './message-codec.ts';
import type { KeyChannelMessage, KeyResult } from './messages.ts';

export interface AnswererOutboxOptions {
  readonly isOpen: (connection: Connection) => boolean;
  readonly write: (connection: Connection, bytes: Uint8Array) => void;
}

export class AnswererOutbox {
  readonly #isOpen: AnswererOutboxOptions['isOpen'];
  readonly #write: AnswererOutboxOptions['write'];

  constructor({ isOpen, write }: AnswererOutboxOptions) {
    this.#isOpen = isOpen;
    this.#write = write;
  }

  write(connection: Connection, message: KeyChannelMessage): void {
    if (this.#isOpen(connection)) this.#write(connection, encodeMessage(message));
  }

  /** `opened`, or why not yet; nothing as long as our KME has not answered. */
  streamState({ ksid, connection, keyChunkSizeBytes, failure }: Stream): void {
    if (keyChunkSizeBytes !== undefined) this.write(connection, { type: 'opened', ksid, keyChunkSizeBytes });
    else if (failure !== undefined) this.write(connection, { type: 'failed', ksid, reason: failure, retrying: true });
  }

  result(
    { connection, batch, position }: Key,
    result: { status: 'pending' | 'mismatch' | 'unavailable' } | { status: 'acked'; check: Uint8Array },
  ): void {
    this.results(connection, batch, [{ position, ...result }]);
  }

  results(connection: Connection, batch: number, results: readonly KeyResult[]): void {
    if (results.length > 0) this.write(connection, { type: 'results', batch, results });
  }
}
