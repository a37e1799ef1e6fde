import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, listening, start, stop } from '../processes.ts';
import type { Pair, PairOptions, RunningPair } from './pair.ts';

/**
 * stunnel as packaged by Debian. Where resumption is not what is measured, tickets
 * and session reuse are off, so that each connection is a full handshake like ours.
 */
export const stunnel: Pair = {
  name: 'stunnel',
  version: () =>
    /stunnel \S+/.exec(execFileSync('stunnel', ['-version'], { encoding: 'utf8', stdio: 'pipe' }) || '')?.[0] ??
    'stunnel',

  async start({ backendPort, materials: m, handshake }: PairOptions): Promise<RunningPair> {
    const tlsPort = await freePort();
    const port = await freePort();
    const secrets = join(m.folder, 'stunnel.psk');
    writeFileSync(secrets, `${m.pskIdentity}:${m.pskHex}\n`, { mode: 0o600 });
    const global =
      'foreground = yes\nsyslog = no\npid =\ndebug = warning\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n';
    // stunnel offers a PSK to SHA-256 suites only.
    const suite = handshake === 'psk' ? 'TLS_AES_128_GCM_SHA256' : 'TLS_AES_256_GCM_SHA384';
    const tls = `sslVersion = TLSv1.3\nciphersuites = ${suite}\ncurves = X25519\n`;
    const resumption = handshake === 'resumption' ? '' : 'sessionCacheSize = 1\noptions = NO_TICKET\n';
    const auth = (cert: string, key: string) =>
      handshake === 'psk'
        ? `PSKsecrets = ${secrets}\n`
        : `cert = ${cert}\nkey = ${key}\nCAfile = ${m.ca}\nverifyChain = yes\n`;
    const serverConfig = join(m.folder, `stunnel-server-${handshake}.conf`);
    const clientConfig = join(m.folder, `stunnel-client-${handshake}.conf`);
    writeFileSync(
      serverConfig,
      `${global}[s]\naccept = 127.0.0.1:${tlsPort}\nconnect = 127.0.0.1:${backendPort}\n${tls}${resumption}${auth(m.serverCert, m.serverKey)}`,
    );
    writeFileSync(
      clientConfig,
      `${global}[c]\nclient = yes\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${tlsPort}\n${tls}${resumption}${auth(m.clientCert, m.clientKey)}`,
    );
    const server = start('stunnel', [serverConfig]);
    const client = start('stunnel', [clientConfig]);
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
