/** A TCP relay that a test can cut, and mend on the same port. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class Wire {
  readonly address: { readonly host: string; readonly port: number };
  #target: { readonly host: string; readonly port: number };
  readonly #sockets = new Set<Socket>();
  #server: Server;

  private constructor(target: Wire['address'], server: Server) {
    this.#target = target;
    this.#server = server;
    server.on('connection', (near) => this.#join(near));
    this.address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  }

  static async to(target: Wire['address']): Promise<Wire> {
    return new Wire(target, await listen(0));
  }

  /** Ends every connection; new ones are refused. */
  async cut(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** `target`: where it leads from now on. */
  async mend(target = this.#target): Promise<void> {
    this.#target = target;
    this.#server = await listen(this.address.port);
    this.#server.on('connection', (near) => this.#join(near));
  }

  #join(near: Socket): void {
    const far = connect({ ...this.#target, allowHalfOpen: true });
    this.#pass(near, far);
    this.#pass(far, near);
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('error', () => to.destroy());
    from.once('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.pipe(to);
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
