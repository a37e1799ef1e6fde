import type { Server as NetServer, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type SaeIdentityField, saeIdOfCertificate } from './sae-identity.ts';

/** PEM texts. */
export interface KmeTls {
  readonly cert: string;
  readonly key: string;
  /** CA that the clients' certificates must be of. */
  readonly ca: string;
}

export interface TlsListenerOptions {
  readonly tls: KmeTls;
  readonly handshakeTimeoutMs: number;
  readonly maxConnections: number;
  readonly saeIdentity: SaeIdentityField;
  /** A client with a valid certificate; `saeId` is absent if it names none, or several. */
  readonly onClient: (socket: TLSSocket, saeId: string | undefined) => void;
  readonly onRejected: (remote: string, reason: string) => void;
}

/** Options of every TLS server here: TLS 1.2 or newer, client certificate required. */
export function mutualTlsOptions(tls: KmeTls, handshakeTimeoutMs: number) {
  return {
    cert: tls.cert,
    key: tls.key,
    ca: tls.ca,
    minVersion: 'TLSv1.2',
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: handshakeTimeoutMs,
  } as const;
}

/** The SAE ID of a connected client. */
export function saeIdOfSocket(socket: TLSSocket, field: SaeIdentityField): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : saeIdOfCertificate(certificate, field);
}

/**
 * Ends every connection of a server, from its TCP handshake on: with TLS 1.3 a client takes one for open when the
 * server's handshake is not yet at its end.
 */
export function dropperOf(server: NetServer): () => void {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** Accepts clients by mutual TLS, until closed; closing ends the open ones too. */
export class TlsListener {
  readonly #server: Server;
  readonly #dropClients: () => void;

  constructor(options: TlsListenerOptions) {
    this.#server = createServer(mutualTlsOptions(options.tls, options.handshakeTimeoutMs));
    this.#server.maxConnections = options.maxConnections;
    this.#dropClients = dropperOf(this.#server);
    this.#server.on('secureConnection', (socket) => {
      // Whatever goes wrong on one connection ends that connection only.
      socket.on('error', () => socket.destroy());
      options.onClient(socket, saeIdOfSocket(socket, options.saeIdentity));
    });
    this.#server.on('tlsClientError', (error, socket) => {
      options.onRejected(socket.remoteAddress ?? 'unknown', error.message);
      socket.destroy();
    });
  }

  /** Starts to listen; resolves to the port. */
  listen(host: string, port: number): Promise<number> {
    return listening(this.#server, host, port);
  }

  /** Ends every connection, one amid its handshake too. */
  dropClients(): void {
    this.#dropClients();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.dropClients();
    });
  }
}

/** Listens and resolves to the port, or rejects, with no listener left over. */
export function listening(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
