/** Who the ends are, and what both kinds of them speak. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { loadIdentity } from '../../certs/index.ts';
import { type EngineIdentity, signingKeyOf } from '../../tls-ext/index.ts';

interface PemPair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** Always the same, and expired for most of the time, which nobody here looks at: cases change bytes of them. */
export const { server: serverCredential, client: clientCredential }: Readonly<Record<'server' | 'client', PemPair>> =
  JSON.parse(readFileSync(new URL('./credentials.json', import.meta.url), 'utf8'));

/** The same for an engine. */
export function identityOf({ certPem, keyPem }: PemPair): EngineIdentity {
  return { chain: loadIdentity(certPem, keyPem).chainDer, ...signingKeyOf(createPrivateKey(keyPem)) };
}

export const CIPHER_SUITES = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256';
export const GROUPS = 'X25519:P-256';
export const ALPN = 'qstunnel';
