/**
 * Sockets that read into a shared buffer, and how they are had from a listener
 * or by dialling. Everything here is about node's sockets, nothing about TLS.
 */
import { connect, Socket } from 'node:net';
import type { SharedReadBuffer } from './read-buffers.ts';

/** What a connection may be made to: TCP or a unix socket. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** An address as it is written in configurations and logs. */
export function addressText(address: SocketAddress): string {
  if ('path' in address) return `unix:${address.path}`;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Handles a chunk; `storage[0, length)` is the chunk. Returns false to stop reading until `resume()`. */
export type ChunkHandler = (storage: Uint8Array, length: number) => boolean;

/**
 * A connection accepted but not yet read from: `pauseOnConnect` keeps what the
 * peer sends in the kernel. `take` turns it into a socket that reads into the
 * shared buffer; until then `destroy` is all that can be done with it.
 */
export interface AcceptedSocket {
  readonly remoteAddress: string;
  take(buffer: SharedReadBuffer, onChunk: ChunkHandler): Socket;
  /** Closes it; with a reset where there is such a thing, so that nobody takes it for an answer. */
  reset(): void;
}

/** Node's own handle of a socket. Not in its types: the design reads through `onread`, which a `Server` can't be told. */
interface WithHandle {
  _handle: object | null;
}

/** Wraps a socket that a server with `pauseOnConnect` has just emitted. */
export function acceptedSocket(husk: Socket): AcceptedSocket {
  const remoteAddress = remoteAddressOf(husk);
  // Until it is taken it does nothing that could fail; but an 'error' without listener would end the process.
  husk.on('error', () => {});
  return {
    remoteAddress,
    take(buffer, onChunk) {
      const withHandle = husk as unknown as WithHandle;
      const handle = withHandle._handle;
      withHandle._handle = null;
      // Without its handle this closes nothing; it takes the husk off the server's books.
      husk.destroy();
      const options = { handle, allowHalfOpen: true, onread: onreadOptions(buffer, onChunk) };
      const socket = new Socket(options as ConstructorParameters<typeof Socket>[0]);
      socket.setNoDelay(true);
      return socket;
    },
    reset() {
      resetSocket(husk);
    },
  };
}

/** Starts to connect. Writing may begin at once; failures arrive as 'error'. */
export function dial(address: SocketAddress, buffer: SharedReadBuffer, onChunk: ChunkHandler): Socket {
  const onread = onreadOptions(buffer, onChunk);
  return 'path' in address
    ? connect({ path: address.path, allowHalfOpen: true, onread })
    : connect({
        host: address.host,
        port: address.port,
        allowHalfOpen: true,
        noDelay: true,
        autoSelectFamily: true,
        onread,
      });
}

/** Ends a connection so that its peer can't take the end for an orderly one: RST where there is such a thing. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  // Unix sockets know no reset, and node says so with an error event.
  if (socket.connecting || socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

/** `host:port` of a peer, or `unix` where peers have no address. */
export function remoteAddressOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return 'unix';
  const host = remoteAddress.startsWith('::ffff:') ? remoteAddress.slice('::ffff:'.length) : remoteAddress;
  return addressText({ host, port: remotePort });
}

function onreadOptions(buffer: SharedReadBuffer, onChunk: ChunkHandler) {
  return {
    buffer: buffer.target,
    callback: (lengthBytes: number): boolean => onChunk(buffer.storage, lengthBytes),
  };
}
