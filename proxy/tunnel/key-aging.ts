/** Watches the keys of a live connection grow old: says when new ones should be looked for, and when the old ones are too old. */
import type { TlsConnection } from '../data-path/index.ts';
import type { RekeyAfter } from './key-budget.ts';

/** How long a rekey that is under way when a limit is reached, or that is asked for then, may take. */
export const GRACE_MS = 10_000;

/** New keys are looked for from this part of the limits on. */
export const SEEK_SHARE = 0.9;

export interface KeyAgingHandler {
  /** Time to look for new keys. */
  seek(): void;
  /** A limit has been reached: time to renew the keys by any means, or to end the connection. */
  due(): void;
  /** No rekey of any kind has come of that. */
  expired(): void;
  /** Whether a rekey with a QKD key is under way. */
  readonly renewing: boolean;
}

type AgingConnection = Pick<TlsConnection, 'dataBytes' | 'setDataAlarm' | 'halfClosed'>;

export class KeyAging {
  readonly #connection: AgingConnection;
  readonly #limits: RekeyAfter;
  readonly #handler: KeyAgingHandler;
  #timers: NodeJS.Timeout[] = [];
  #grace: NodeJS.Timeout | undefined;
  #last: NodeJS.Timeout | undefined;
  #dueAtBytes = Number.POSITIVE_INFINITY;

  constructor(connection: AgingConnection, limits: RekeyAfter, handler: KeyAgingHandler) {
    this.#connection = connection;
    this.#limits = limits;
    this.#handler = handler;
  }

  /** The keys are new, or as old and as much used as is said. */
  start(ageMs = 0, usedBytes = 0): void {
    this.stop();
    const { timeMs, bytes } = this.#limits;
    if (timeMs > 0) {
      const after = (share: number, callback: () => void) => setTimeout(callback, Math.max(0, share * timeMs - ageMs));
      this.#timers = [after(SEEK_SHARE, () => this.#handler.seek()), after(1, () => this.#due())];
    }
    if (bytes !== undefined) {
      const { dataBytes } = this.#connection;
      this.#dueAtBytes = dataBytes + bytes - usedBytes;
      this.#connection.setDataAlarm(dataBytes + SEEK_SHARE * bytes - usedBytes);
    }
  }

  /** From the connection. */
  dataAlarm(): void {
    if (this.#connection.dataBytes >= this.#dueAtBytes) {
      this.#due();
    } else {
      this.#connection.setDataAlarm(this.#dueAtBytes);
      this.#handler.seek();
    }
  }

  /** The rekey that was under way came to nothing. */
  notRenewed(): void {
    if (this.#grace === undefined) return;
    clearTimeout(this.#grace);
    this.#grace = undefined;
    this.#overdue();
  }

  stop(): void {
    clearTimeout(this.#grace);
    this.#grace = undefined;
    clearTimeout(this.#last);
    this.#last = undefined;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
    this.#dueAtBytes = Number.POSITIVE_INFINITY;
    this.#connection.setDataAlarm(Number.POSITIVE_INFINITY);
  }

  #due(): void {
    if (!this.#handler.renewing) this.#overdue();
    else this.#grace ??= setTimeout(() => this.notRenewed(), GRACE_MS);
  }

  /** Whoever could refuse every rekey, or leave it unanswered, for ever would keep the old keys in use. */
  #overdue(): void {
    this.#last ??= setTimeout(() => {
      // After one close_notify there is no rekey any more: what is left is the other direction's end.
      if (!this.#connection.halfClosed) this.#handler.expired();
    }, GRACE_MS);
    this.#handler.due();
  }
}
