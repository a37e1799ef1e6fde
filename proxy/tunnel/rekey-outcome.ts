/** What a rekey means to a connection, whichever end it is. */
import type { RekeyRefusal } from '../../tls-ext/index.ts';
import type { TlsConnection } from '../data-path/index.ts';
import { ProxyError, ProxyErrorCode } from '../errors.ts';
import type { RekeyAfter } from './key-budget.ts';
import type { KeyProvenance } from './settings.ts';

export interface Rekeyed {
  readonly epoch: number;
  /** The QKD key that was mixed in; absent: ML-KEM alone. */
  readonly key?: { readonly keyId: string; readonly provenance?: KeyProvenance };
}

export interface RekeyRefused {
  readonly keyId?: string;
  readonly why?: RekeyRefusal;
}

/** The connection whose keys are renewed, and who hears of it. */
export interface RekeyedConnection {
  readonly connection: TlsConnection;
  readonly peerSae: string;
  readonly limits: RekeyAfter;
  /** Policy admits no connection whose QKD key is older than the limits. */
  readonly demandsQkd: boolean;
  /** What the present QKD key has behind it; absent: there is none. */
  readonly inherited?: { readonly ageMs: number; readonly bytes: number };
  rekeyed(outcome: Rekeyed): void;
  refused(outcome: RekeyRefused): void;
  /** The key is too old, and there is no other. */
  expired(failure: ProxyError): void;
}

export function keyExpired({ timeMs, bytes }: RekeyAfter): ProxyError {
  const limits = [...(timeMs === 0 ? [] : [`${timeMs} ms`]), ...(bytes === undefined ? [] : [`${bytes} bytes`])];
  return new ProxyError(
    ProxyErrorCode.keyExpired,
    `the QKD key is beyond rekey-after (${limits.join(' or ')}), and there was no other to renew it with`,
  );
}

/** The log's event for the rekey of a key channel. */
export function channelRekeyed({ epoch, key }: Rekeyed) {
  const status = key === undefined ? 'without_key' : 'used';
  return { event: 'rekeyed', epoch, status, ...(key === undefined ? {} : { keyId: key.keyId }) } as const;
}
