/** Accepts connections on TCP or a unix socket, without reading from them yet. */
import { unlink } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { type AcceptedSocket, acceptedSocket, addressText, type SocketAddress } from '../data-path/index.ts';
import { errorCode, errorText, ProxyError, ProxyErrorCode } from '../errors.ts';

export interface ListenerHandler {
  connection(accepted: AcceptedSocket): void;
  /**
   * One accept failed, usually for want of file descriptors. Accepting goes on:
   * libuv then takes and closes what waits, so that nothing spins.
   */
  acceptFailed(error: ProxyError): void;
}

export interface Listener {
  /** Where it listens: with the port that the system picked if 0 was asked for. */
  readonly address: SocketAddress;
  /** Stops accepting; what was accepted lives on. */
  close(): Promise<void>;
}

/** Connections that the kernel keeps for us while we are busy. */
const BACKLOG = 1_024;

/**
 * Starts to listen.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`.
 */
export async function listen(address: SocketAddress, handler: ListenerHandler): Promise<Listener> {
  try {
    return await listenOnce(address, handler);
  } catch (error) {
    // A unix socket whose process died stays behind as a file that nobody listens on.
    if ('path' in address && errorCode(error) === 'EADDRINUSE' && (await isStale(address.path))) {
      await unlink(address.path);
      return await listenOnce(address, handler).catch((again) => Promise.reject(listenError(address, again)));
    }
    throw listenError(address, error);
  }
}

function listenOnce(address: SocketAddress, handler: ListenerHandler): Promise<Listener> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.on('connection', (socket) => handler.connection(acceptedSocket(socket)));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...address, backlog: BACKLOG }, () => {
      server.off('error', reject);
      server.on('error', (error) => {
        const message = `a connection could not be accepted: ${errorText(error)}`;
        handler.acceptFailed(new ProxyError(ProxyErrorCode.accept, message, { cause: error }));
      });
      resolve({ address: boundAddress(server, address), close: () => closeServer(server) });
    });
  });
}

function boundAddress(server: Server, asked: SocketAddress): SocketAddress {
  if ('path' in asked) return asked;
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

/** Resolves when no new connection can come; accepted ones that were taken are off the server's books already. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

function isStale(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error) => resolve(errorCode(error) === 'ECONNREFUSED'));
  });
}

function listenError(address: SocketAddress, error: unknown): ProxyError {
  const where = addressText(address);
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new ProxyError(ProxyErrorCode.addressInUse, `${where} is in use by another process or service`, {
        cause: error,
      });
    case 'EADDRNOTAVAIL':
      return new ProxyError(ProxyErrorCode.listen, `${where} is not an address of this machine`, { cause: error });
    case 'EACCES': {
      // libuv says so of a path in a folder that does not exist, too.
      const folder = 'path' in address ? ', or there is no such folder' : '';
      return new ProxyError(ProxyErrorCode.listen, `no permission to listen on ${where}${folder}`, { cause: error });
    }
    default:
      return new ProxyError(ProxyErrorCode.listen, `cannot listen on ${where}: ${errorText(error)}`, { cause: error });
  }
}
