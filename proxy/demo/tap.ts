import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** More than the demo ever sends; a `--keep` session stops recording there and goes on forwarding. */
const MAX_RECORDED_BYTES = 64 * 2 ** 20;

/** Forwards TCP connections to `target` and records every byte of both directions, as somebody with access to the fibre could. */
export class Tap {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** One list of chunks for each direction of each connection, so that a marker cut by a packet's end is still found. */
  readonly #flows: Uint8Array[][] = [];
  #recordedBytes = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(targetPort: number): Promise<Tap> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const tap = new Tap(server);
    server.on('connection', (inbound) => tap.#forward(inbound, targetPort));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return tap;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get recordedBytes(): number {
    return this.#recordedBytes;
  }

  /** Whether `marker` stands anywhere in the recorded bytes. */
  contains(marker: string): boolean {
    return this.#flows.some((chunks) => Buffer.concat(chunks).includes(marker));
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #forward(inbound: Socket, targetPort: number): void {
    const outbound = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      const flow: Uint8Array[] = [];
      this.#flows.push(flow);
      this.#sockets.add(from);
      from.on('data', (chunk: Uint8Array) => this.#record(flow, chunk));
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => this.#sockets.delete(from));
    }
  }

  #record(flow: Uint8Array[], chunk: Uint8Array): void {
    if (this.#recordedBytes + chunk.length > MAX_RECORDED_BYTES) return;
    this.#recordedBytes += chunk.length;
    flow.push(chunk);
  }
}
