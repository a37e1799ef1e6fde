/** The way of the bytes: sockets, TLS connections, relays. */
export { BulkBufferPool } from './buffer-pool.ts';
export type {
  HandshakeHandler,
  KeyEvent,
  KeyHandler,
  PeerCertificate,
  PskRequired,
} from './connection-handlers.ts';
export {
  type AcceptedSocket,
  acceptedSocket,
  addressText,
  dial,
  type SocketAddress,
} from './raw-socket.ts';
export { plainReadBuffer } from './read-buffers.ts';
export { Relay, type RelayCounts } from './relay.ts';
export { TlsConnection } from './tls-connection.ts';
