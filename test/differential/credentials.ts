/** Who the ends are, and what both kinds of them speak. */
import { createPrivateKey } from 'node:crypto';
import { type Credential, createCa, issueLeaf, loadIdentity } from '../../certs/index.ts';
import { type EngineIdentity, signingKeyOf } from '../../tls-ext/index.ts';

const nowMs = Date.now();
const ca = await createCa({ commonName: 'differential', nowMs });

export const serverCredential = await issueLeaf(ca, 'proxy', { commonName: 'server', nowMs, saeIds: ['server'] });
export const clientCredential = await issueLeaf(ca, 'proxy', { commonName: 'client', nowMs, saeIds: ['client'] });

/** The same for an engine. */
export function identityOf({ certPem, keyPem }: Credential): EngineIdentity {
  return { chain: loadIdentity(certPem, keyPem).chainDer, ...signingKeyOf(createPrivateKey(keyPem)) };
}

export const CIPHER_SUITES = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256';
export const GROUPS = 'X25519:P-256';
export const ALPN = 'qstunnel';
