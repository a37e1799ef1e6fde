/** How much a peer may make us do after the handshake, measured by the application data that the connection carries. */
import { limitExceeded } from './faults.ts';

/** KeyUpdates, tickets and the like that a peer may send without any application data … */
export const MAX_IDLE_MESSAGES = 32;
/** … and one more for so many bytes of it. */
export const DATA_BYTES_PER_MESSAGE = 1024;

/** Rekeys that may be asked for beyond those that a QKD key was used in … */
export const MAX_IDLE_REKEY_REQUESTS = 16;
/** … and one more for so many bytes of application data, both directions together. */
export const DATA_BYTES_PER_REKEY_REQUEST = 16_384;

/** For messages that cost little. What application data makes up for is forgotten: no debt, no credit. */
export class MessageAllowance {
  #messages = 0;

  applicationData(lengthBytes: number): void {
    this.#messages = Math.max(0, this.#messages - lengthBytes / DATA_BYTES_PER_MESSAGE);
  }

  /** One more message of the peer. */
  spend(): void {
    if (++this.#messages > MAX_IDLE_MESSAGES) throw limitExceeded('too many messages for so little application data');
  }

  /** A rekey with a QKD key: its supply bounds what follows from it. */
  restore(): void {
    this.#messages = 0;
  }
}

/**
 * For rekey requests, which cost a key exchange. Kept by both ends, so that a client knows what it may ask: all of
 * the data that the client counts before a request, the server has counted when the request comes.
 */
export class RekeyAllowance {
  #dataBytes = 0;
  #requests = 0;

  applicationData(lengthBytes: number): void {
    this.#dataBytes += lengthBytes;
  }

  get exhausted(): boolean {
    return this.#requests >= MAX_IDLE_REKEY_REQUESTS + Math.floor(this.#dataBytes / DATA_BYTES_PER_REKEY_REQUEST);
  }

  spend(): void {
    this.#requests++;
  }

  /** The request ended in a rekey with a QKD key, whose supply is bound enough. */
  refund(): void {
    this.#requests--;
  }
}
