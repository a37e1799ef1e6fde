/**
 * The server's part in rekeying a live connection: it answers requests out of
 * the keys that were announced to it, takes a key as soon as a request names it,
 * and asks for new ones when its own limits come near.
 */
import type { KeyEvent, KeyHandler } from '../data-path/index.ts';
import { KeyAging } from './key-aging.ts';
import { keyExpired, type RekeyedConnection } from './rekey-outcome.ts';
import type { RekeyKey, ServerKeys } from './settings.ts';

export interface ServerRekeyingOptions extends RekeyedConnection {
  readonly keys: Pick<ServerKeys, 'lookUpForRekey'>;
  readonly remoteAddress: string;
}

export class ServerRekeying implements KeyHandler {
  readonly #options: ServerRekeyingOptions;
  readonly #aging: KeyAging;
  #key: RekeyKey | undefined;

  constructor(options: ServerRekeyingOptions) {
    const { connection, limits, inherited } = options;
    this.#options = options;
    const rekeying = this;
    this.#aging = new KeyAging(connection, limits, {
      seek: () => connection.wantRekey(),
      due: () => {
        if (options.demandsQkd) options.expired(keyExpired(limits));
        else connection.wantRekey();
      },
      expired: () => options.expired(keyExpired(limits)),
      get renewing() {
        return rekeying.#key !== undefined;
      },
    });
    this.#aging.start(inherited?.ageMs, inherited?.bytes);
  }

  keyEvent(event: KeyEvent): void {
    switch (event.type) {
      case 'rekey-key-required': {
        const { connection, keys, peerSae, remoteAddress } = this.#options;
        // Taken, before data goes under it: the request is its one use, whatever comes of the rekey.
        this.#key = keys.lookUpForRekey(event.reference, peerSae, remoteAddress);
        connection.provideRekeyKey(this.#key?.psk);
        return;
      }
      case 'rekeyed':
        this.#rekeyed(event.epoch, event.status);
        return;
      case 'rekey-refused': {
        const key = this.#key;
        this.#key = undefined;
        this.#options.refused({
          ...(key === undefined ? {} : { keyId: key.keyId }),
          ...(event.why === undefined ? {} : { why: event.why }),
        });
        this.#aging.notRenewed();
        return;
      }
      case 'rekey-wanted':
      case 'ticket':
        return;
    }
  }

  dataAlarm(): void {
    this.#aging.dataAlarm();
  }

  /** The connection is over. */
  stop(): void {
    this.#aging.stop();
  }

  #rekeyed(epoch: number, status: 'used' | 'without_key'): void {
    const key = this.#key;
    this.#key = undefined;
    if (status === 'used' || !this.#options.demandsQkd) this.#aging.start();
    if (status === 'without_key' || key === undefined) {
      this.#options.rekeyed({ epoch });
      return;
    }
    const { keyId, provenance } = key;
    this.#options.rekeyed({ epoch, key: { keyId, ...(provenance === undefined ? {} : { provenance }) } });
  }
}
