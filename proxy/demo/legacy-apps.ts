/** The two applications of the demo. They know nothing of TLS, QKD or qstunnel: plain HTTP and plain TCP, as in many a plant and ward. */
import { once } from 'node:events';
import { createServer as createHttpServer, request } from 'node:http';
import { connect, createServer, type Server } from 'node:net';

export interface LegacyApp {
  readonly port: number;
  close(): Promise<void>;
}

/** Answers POST with what it was sent, as a record store would confirm an entry. */
export async function startHttpApp(): Promise<LegacyApp> {
  const server = createHttpServer((incoming, response) => {
    response.setHeader('content-type', 'text/plain');
    if (incoming.method === 'GET') response.end('a legacy HTTP application: POST something\n');
    else incoming.pipe(response);
  });
  return listen(server);
}

/** A line in, the same line out. */
export async function startTcpApp(): Promise<LegacyApp> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  return listen(server);
}

async function listen(server: Server): Promise<LegacyApp> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    port,
    close: async () => {
      server.close();
      if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
      await once(server, 'close');
    },
  };
}

/** One HTTP request on a connection of its own; resolves with the answer's body. */
export function askHttp(port: number, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port, host: '127.0.0.1', method: 'POST', path: '/records', agent: false },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve(text));
        response.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Sends one message over TCP, half-closes, and resolves with all that came back. */
export function askTcp(port: number, message: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('end', () => {
      socket.destroy();
      resolve(text);
    });
    socket.end(message);
  });
}
