import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { TestPki } from './test-pki.ts';

/** What the server does with one connection, once TLS stands. */
export type Script = (socket: Socket, connection: number) => void;

export interface ScriptedKme {
  readonly port: number;
  /** Connections accepted so far. */
  readonly connections: number;
  /** How many of them resumed a TLS session. */
  readonly resumed: number;
  /** Sockets open now. */
  readonly open: number;
  /** CN of the client certificate of the last connection. */
  readonly lastClient: string | undefined;
  /** Resets every connection: RST in place of a close. */
  reset(): void;
  close(): Promise<void>;
}

/** A TLS (or, without `pki`, TCP) server on a port of the system's choice that runs `script` on each connection. */
export async function scriptedKme(pki: TestPki | undefined, script: Script): Promise<ScriptedKme> {
  const sockets = new Set<Socket>();
  let connections = 0;
  let resumed = 0;
  let lastClient: string | undefined;
  const accept = (socket: Socket): void => {
    connections++;
    if ('isSessionReused' in socket) {
      const tlsSocket = socket as TLSSocket;
      if (tlsSocket.isSessionReused()) resumed++;
      const name = tlsSocket.getPeerCertificate().subject?.CN;
      lastClient = Array.isArray(name) ? name[0] : name;
    }
    socket.on('error', () => {});
    script(socket, connections);
  };
  const server: Server =
    pki === undefined
      ? createTcpServer({ noDelay: true }, accept)
      : createTlsServer(
          { cert: pki.kme.cert, key: pki.kme.key, ca: pki.ca, requestCert: true, rejectUnauthorized: true },
          accept,
        );
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    get resumed() {
      return resumed;
    },
    get open() {
      return sockets.size;
    },
    get lastClient() {
      return lastClient;
    },
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** Collects a request of `lengthBytes`, then calls back with it. */
export function afterBytes(socket: Socket, lengthBytes: number, then: (request: Uint8Array) => void): void {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const onData = (chunk: Uint8Array): void => {
    chunks.push(Uint8Array.from(chunk));
    length += chunk.length;
    if (length < lengthBytes) return;
    socket.off('data', onData);
    then(Buffer.concat(chunks));
  };
  socket.on('data', onData);
}
