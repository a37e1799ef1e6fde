/** From how a key manager is accessed, as configured, to what its client takes. */
import { type KmeAccess, loadCredentials, loadPsk } from '../config/index.ts';
import type { KmeSettings } from '../psk-resolver.ts';

/** The credentials, and what the log is to say about their files. */
export interface LoadedKmeTls {
  readonly tls: KmeSettings['tls'];
  readonly warnings: readonly string[];
}

/** @throws ConfigError for files that can't be read or used. */
export async function loadKmeTls(access: KmeAccess): Promise<LoadedKmeTls> {
  switch (access.by) {
    case 'unsafe-plaintext':
      return { tls: 'unsafe-plaintext', warnings: [] };
    case 'psk': {
      const { identity, key, warnings } = await loadPsk(access.pskFile);
      return { tls: { psk: { identity, key } }, warnings };
    }
    case 'certificate': {
      const { by: _, credentials, ...expected } = access;
      const { certPem, keyPem, caPem, warnings } = await loadCredentials(credentials);
      return { tls: { cert: certPem, key: keyPem, ca: caPem, ...expected }, warnings };
    }
  }
}
