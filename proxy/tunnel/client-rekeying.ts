/**
 * The client's part in rekeying a live connection: it alone sends requests. A
 * connection without a QKD key gets one as soon as there is one; one whose key
 * grows old gets another; without one, ML-KEM renews what it can, or the
 * connection ends, as policy says.
 */
import type { RekeyRefusal } from '../../tls-ext/index.ts';
import type { KeyEvent, KeyHandler } from '../data-path/index.ts';
import { KeyAging } from './key-aging.ts';
import { keyExpired, type RekeyedConnection } from './rekey-outcome.ts';
import type { KeySeeker, RekeyQueue } from './rekey-queue.ts';
import type { ClientKeys, RekeyLease } from './settings.ts';

export interface ClientRekeyingOptions extends RekeyedConnection {
  readonly keys: Pick<ClientKeys, 'takeForRekey'>;
  readonly queue: RekeyQueue;
  /** Whether a connection without a QKD key looks for one at once, rather than when its time has come. */
  readonly eager: boolean;
}

/** After a refusal: different keys at the two ends are not mended by trying them all. */
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** When to look again at a connection that is in the middle of a rekey. */
const BUSY_MS = 250;

export class ClientRekeying implements KeyHandler, KeySeeker {
  readonly peerSae: string;
  readonly #options: ClientRekeyingOptions;
  readonly #aging: KeyAging;
  #lease: RekeyLease | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #notBeforeMs = 0;

  constructor(options: ClientRekeyingOptions) {
    const { connection, limits, inherited, eager } = options;
    this.#options = options;
    this.peerSae = options.peerSae;
    const rekeying = this;
    this.#aging = new KeyAging(connection, limits, {
      seek: () => this.#seek(),
      due: () => this.#due(),
      expired: () => options.expired(keyExpired(limits)),
      get renewing() {
        return rekeying.#lease !== undefined;
      },
    });
    this.#aging.start(inherited?.ageMs, inherited?.bytes);
    if (inherited === undefined && eager) options.queue.add(this);
  }

  /** `ticket` is not handled here: its secret is whoever's is asked first. */
  keyEvent(event: KeyEvent): void {
    switch (event.type) {
      case 'rekey-wanted':
        // The other side, or an AEAD, needs new keys now: with ML-KEM alone if need be.
        if (!this.#seek()) this.#renewWithoutKey();
        return;
      case 'rekeyed':
        this.#rekeyed(event.epoch, event.status);
        return;
      case 'rekey-refused':
        this.#refused(event.why);
        return;
      case 'ticket':
      case 'rekey-key-required':
        return;
    }
  }

  dataAlarm(): void {
    this.#aging.dataAlarm();
  }

  trySeek(): ReturnType<KeySeeker['trySeek']> {
    const { connection, keys } = this.#options;
    const pauseMs = this.#notBeforeMs - performance.now();
    if (pauseMs > 0) return { laterMs: pauseMs };
    if (!connection.rekeyPossible) return { laterMs: BUSY_MS };
    const lease = keys.takeForRekey(this.peerSae);
    if (lease === undefined) return 'no-key';
    this.#lease = lease;
    connection.rekey(lease.psk);
    return 'started';
  }

  /** The connection is over. */
  stop(): void {
    this.#aging.stop();
    this.#options.queue.remove(this);
    this.#lease?.release('unavailable');
    this.#lease = undefined;
  }

  /** Whether a rekey with a key is under way now; else this waits in the queue for one. */
  #seek(): boolean {
    if (this.#lease !== undefined) return true;
    if (this.trySeek() === 'started') return true;
    this.#options.queue.add(this);
    return false;
  }

  #due(): void {
    const { demandsQkd, limits } = this.#options;
    if (demandsQkd) {
      this.#options.expired(keyExpired(limits));
      return;
    }
    if (!this.#seek()) this.#renewWithoutKey();
  }

  #renewWithoutKey(): void {
    const { connection } = this.#options;
    if (connection.rekeyPossible) connection.rekey();
  }

  #rekeyed(epoch: number, status: 'used' | 'without_key'): void {
    const lease = this.#lease;
    this.#lease = undefined;
    // A refresh by ML-KEM resets no QKD counter; where QKD is no must, it gives the next refresh its time.
    if (status === 'used' || !this.#options.demandsQkd) this.#aging.start();
    if (status === 'without_key' || lease === undefined) {
      lease?.release('unavailable');
      this.#options.rekeyed({ epoch });
      return;
    }
    lease.commit();
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#options.queue.remove(this);
    const { keyId, provenance } = lease;
    this.#options.rekeyed({ epoch, key: { keyId, ...(provenance === undefined ? {} : { provenance }) } });
  }

  #refused(why: RekeyRefusal | undefined): void {
    const lease = this.#lease;
    this.#lease = undefined;
    lease?.release('unavailable');
    this.#notBeforeMs = performance.now() + this.#pauseMs;
    this.#pauseMs = Math.min(MAX_PAUSE_MS, 2 * this.#pauseMs);
    this.#options.refused({
      ...(lease === undefined ? {} : { keyId: lease.keyId }),
      ...(why === undefined ? {} : { why }),
    });
    this.#options.queue.add(this);
    this.#aging.notRenewed();
  }
}
