import { fileURLToPath } from 'node:url';
import { freePort, listening, start, stop } from '../processes.ts';
import type { Pair, PairOptions, RunningPair } from './pair.ts';

const END = fileURLToPath(new URL('./node-tls-end.mjs', import.meta.url));

/** `node:tls` piped to `node:net`, in the same Node as ours. */
export const nodeTls: Pair = {
  name: 'node:tls',
  version: () => `node ${process.versions.node}, OpenSSL ${process.versions.openssl}`,

  async start({ backendPort, materials: m, handshake }: PairOptions): Promise<RunningPair> {
    const tlsPort = await freePort();
    const port = await freePort();
    const shared = { ca: m.ca, handshake, pskIdentity: m.pskIdentity, pskHex: m.pskHex };
    const end = (settings: object) => start(process.execPath, [END, JSON.stringify({ ...shared, ...settings })]);
    const server = end({ role: 'server', port: tlsPort, target: backendPort, cert: m.serverCert, key: m.serverKey });
    const client = end({ role: 'client', port, target: tlsPort, cert: m.clientCert, key: m.clientKey });
    await Promise.all([listening(tlsPort, server), listening(port, client)]);
    return {
      port,
      pids: [server.pid as number, client.pid as number],
      stop: async () => {
        await Promise.all([stop(client), stop(server)]);
      },
    };
  },
};
