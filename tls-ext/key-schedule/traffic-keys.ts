/** Traffic keys and their update (RFC 9846, "Traffic Key Calculation" and "Updating Traffic Secrets"; RFC 8446, 7.2 and 7.3). */
import type { SecretBytes } from '../bytes/index.ts';
import { AEAD_NONCE_BYTES } from '../crypto/aead.ts';
import type { CipherSuiteInfo } from '../crypto/cipher-suites.ts';
import { type HashName, hashLengthBytes } from '../crypto/hash.ts';
import { hkdfExpandLabel } from '../crypto/hkdf.ts';
import type { ApplicationTrafficSecret, ResumptionSecret, TrafficSecret } from './secrets.ts';

/** What protects one direction in one epoch. The record layer takes ownership and wipes it. */
export interface TrafficKeys {
  readonly suite: CipherSuiteInfo;
  readonly key: SecretBytes;
  readonly iv: SecretBytes;
}

const empty = new Uint8Array(0);

/** [sender]_write_key and [sender]_write_iv. */
export function deriveTrafficKeys(suite: CipherSuiteInfo, secret: TrafficSecret): TrafficKeys {
  return {
    suite,
    key: hkdfExpandLabel(suite.hash, secret, 'key', empty, suite.aead.keyLengthBytes),
    iv: hkdfExpandLabel(suite.hash, secret, 'iv', empty, AEAD_NONCE_BYTES),
  };
}

/** application_traffic_secret_{N+1} of KeyUpdate. Wipes the old one. */
export function nextTrafficSecret<Secret extends ApplicationTrafficSecret>(hash: HashName, secret: Secret): Secret {
  const next = hkdfExpandLabel(hash, secret, 'traffic upd', empty, hashLengthBytes[hash]);
  secret.wipe();
  return next as Secret;
}

/** The PSK of a NewSessionTicket (RFC 8446, 4.6.1). */
export function resumptionPsk(hash: HashName, secret: ResumptionSecret, ticketNonce: Uint8Array): SecretBytes {
  return hkdfExpandLabel(hash, secret, 'resumption', ticketNonce, hashLengthBytes[hash]);
}
