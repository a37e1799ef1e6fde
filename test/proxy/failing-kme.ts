/** A key manager that is there, takes our certificate, and fails at whatever it is asked. */
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { issueLeaf } from '../../certs/index.ts';
import { testPki } from './pki.ts';

export interface FailingKme {
  readonly address: { readonly host: string; readonly port: number };
  /** Requests so far. */
  readonly asked: number;
  close(): Promise<void>;
}

export async function failingKme(status: number): Promise<FailingKme> {
  const { ca } = await testPki();
  const { certPem, keyPem } = await issueLeaf(ca, 'kme', {
    commonName: 'kme-b',
    nowMs: Date.now(),
    ipAddresses: ['127.0.0.1'],
  });
  let asked = 0;
  const sockets = new Set<Duplex>();
  const tls = { cert: certPem, key: keyPem, ca: ca.certPem, requestCert: true, rejectUnauthorized: true };
  const server = createServer(tls, (request, response) => {
    asked++;
    request.resume();
    response.writeHead(status).end();
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    get asked() {
      return asked;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
