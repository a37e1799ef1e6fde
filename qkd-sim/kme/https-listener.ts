import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { parseStrictJson } from '../../kdi-client/wire/index.ts';
import { failure, type HttpCall, type HttpReply } from './http-reply.ts';
import type { SaeIdentityField } from './sae-identity.ts';
import { dropperOf, type KmeTls, listening, mutualTlsOptions, saeIdOfSocket } from './tls-listener.ts';

/** Longest body of a request: 1024 key IDs fit. */
const MAX_REQUEST_BODY_BYTES = 0x1_0000;
const MAX_HEADER_BYTES = 8_192;
const KEEP_ALIVE_MS = 30_000;

export interface HttpsListenerOptions {
  readonly tls: KmeTls;
  readonly handshakeTimeoutMs: number;
  /** For a whole request to arrive. */
  readonly requestTimeoutMs: number;
  readonly maxConnections: number;
  readonly saeIdentity: SaeIdentityField;
  readonly isServed: (saeId: string) => boolean;
  /** `undefined`: no such path. */
  readonly answer: (call: HttpCall) => Promise<HttpReply | undefined>;
  readonly onRejected: (remote: string, reason: string) => void;
}

/** JSON over HTTPS with mutual TLS, bounded in time and size. */
export class HttpsListener {
  readonly #server: Server;
  readonly #dropClients: () => void;
  readonly #options: HttpsListenerOptions;

  constructor(options: HttpsListenerOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        ...mutualTlsOptions(options.tls, options.handshakeTimeoutMs),
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: options.requestTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#dropClients = dropperOf(this.#server);
    this.#server.maxConnections = options.maxConnections;
    this.#server.on('tlsClientError', (error, socket) => {
      options.onRejected(socket.remoteAddress ?? 'unknown', error.message);
      socket.destroy();
    });
    this.#server.on('clientError', (error, socket) => {
      options.onRejected('remoteAddress' in socket ? String(socket.remoteAddress) : 'unknown', error.message);
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      else socket.destroy();
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

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const reply = (await this.#reply(request)) ?? failure(404, 'no such path');
      send(response, reply);
    } catch {
      // A client that went away, or a bug: either way nothing that a client should read.
      if (response.headersSent || request.destroyed) response.destroy();
      else send(response, failure(500, 'internal error'));
    }
  }

  async #reply(request: IncomingMessage): Promise<HttpReply | undefined> {
    const { isServed, saeIdentity, answer } = this.#options;
    const saeId = saeIdOfSocket(request.socket as TLSSocket, saeIdentity);
    const target = pathAndQuery(request.url ?? '/');
    if (target === undefined) return failure(400, 'the path is malformed');
    const body = await bodyOf(request);
    if (body === 'too long') return { ...failure(413, 'the body is too long'), headers: { connection: 'close' } };
    if (body === 'no JSON') return failure(400, 'the body is not JSON');
    return answer({
      method: request.method ?? 'GET',
      ...target,
      ...(body.json === undefined ? {} : { body: body.json }),
      ...(saeId === undefined || !isServed(saeId) ? {} : { saeId }),
    });
  }
}

function send(response: ServerResponse, { status, json, headers = {} }: HttpReply): void {
  const body = json === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(json));
  response.writeHead(status, {
    ...(json === undefined ? {} : { 'content-type': 'application/json' }),
    'content-length': body.length,
    'cache-control': 'no-store',
    ...headers,
  });
  response.end(body, () => body.fill(0));
}

function pathAndQuery(url: string): Pick<HttpCall, 'path' | 'query'> | undefined {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  try {
    const segments = path.split('/').slice(1).map(decodeURIComponent);
    return { path: segments, query: new URLSearchParams(end < 0 ? '' : url.slice(end + 1)) };
  } catch {
    return undefined;
  }
}

async function bodyOf(request: IncomingMessage): Promise<{ json: unknown } | 'too long' | 'no JSON'> {
  const parts: Uint8Array[] = [];
  let length = 0;
  // Leaving early must not destroy the connection: the reply still has to go out.
  for await (const part of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_REQUEST_BODY_BYTES) return 'too long';
    parts.push(part);
  }
  if (length === 0) return { json: undefined };
  try {
    return { json: parseStrictJson(Buffer.concat(parts)) };
  } catch {
    return 'no JSON';
  }
}
