import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { TestPki } from './test-pki.ts';

export interface HttpsRequest {
  readonly method: string;
  readonly url: string;
  /** Parsed JSON, if there was a body. */
  readonly body: unknown;
  readonly client: string | undefined;
}

export type HttpsAnswer = {
  readonly status?: number;
  readonly json?: unknown;
  readonly text?: string;
  readonly headers?: Record<string, string>;
};

/** Answers a request, or takes the response over by returning undefined. */
export type HttpsHandler = (request: HttpsRequest, response: ServerResponse) => HttpsAnswer | undefined;

export interface HttpsKme {
  readonly port: number;
  readonly requests: readonly HttpsRequest[];
  readonly connections: number;
  readonly open: number;
  /** Resets every connection: RST in place of a close. */
  reset(): void;
  close(): Promise<void>;
}

export async function httpsKme(pki: TestPki, handler: HttpsHandler, options: TlsOptions = {}): Promise<HttpsKme> {
  const sockets = new Set<Socket>();
  const requests: HttpsRequest[] = [];
  let connections = 0;
  const server: Server = createServer(
    { cert: pki.kme.cert, key: pki.kme.key, ca: pki.ca, requestCert: true, rejectUnauthorized: true, ...options },
    (request: IncomingMessage, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const name = (request.socket as TLSSocket).getPeerCertificate()?.subject?.CN;
        const asked: HttpsRequest = {
          method: request.method ?? '',
          url: request.url ?? '',
          body: text === '' ? undefined : JSON.parse(text),
          client: Array.isArray(name) ? name[0] : name,
        };
        requests.push(asked);
        const answer = handler(asked, response);
        if (answer === undefined) return;
        response.writeHead(answer.status ?? 200, { 'content-type': 'application/json', ...answer.headers });
        response.end(answer.text ?? (answer.json === undefined ? '' : JSON.stringify(answer.json)));
      });
    },
  );
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    get connections() {
      return connections;
    },
    get open() {
      return sockets.size;
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
