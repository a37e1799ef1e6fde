import { randomBytes } from 'node:crypto';
import { createCa, issueLeaf, writeCredential } from '../../certs/index.ts';
import type { Materials } from './pairs/pair.ts';

/** ECDSA P-256 certificates and a 32-byte PSK in `folder`. */
export async function makeMaterials(folder: string): Promise<Materials> {
  const nowMs = Date.now();
  const ca = await createCa({ commonName: 'bench CA', nowMs });
  const leaf = (commonName: string, saeId: string) =>
    issueLeaf(ca, 'proxy', { commonName, nowMs, saeIds: [saeId], dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] });
  const caFiles = await writeCredential(folder, 'ca', ca);
  const server = await writeCredential(folder, 'server', await leaf('server', 'siteB'));
  const client = await writeCredential(folder, 'client', await leaf('client', 'siteA'));
  return {
    folder,
    ca: caFiles.cert,
    serverCert: server.cert,
    serverKey: server.key,
    clientCert: client.cert,
    clientKey: client.key,
    pskIdentity: 'bench',
    pskHex: randomBytes(32).toString('hex'),
  };
}
