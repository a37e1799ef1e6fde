/** The way of the bytes: sockets, TLS connections, relays. */
export { BulkBufferPool } from './buffer-pool.ts';
export type {
  DataHandler,
  HandshakeHandler,
  KeyEvent,
  KeyHandler,
  PeerCertificate,
  PskRequired,
  TlsConnectionOptions,
} from './connection-handlers.ts';
export {
  type AcceptedSocket,
  acceptedSocket,
  addressText,
  dial,
  remoteAddressOf,
  resetSocket,
  type SocketAddress,
} from './raw-socket.ts';
export { plainReadBuffer, tlsReadBuffer } from './read-buffers.ts';
export { Relay, type RelayCounts, type RelayOptions } from './relay.ts';
export { TlsConnection } from './tls-connection.ts';
