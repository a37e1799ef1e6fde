/** The way of the bytes: sockets, TLS connections, relays. */
export { BulkBufferPool } from './buffer-pool.ts';
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
export {
  type DataHandler,
  type HandshakeHandler,
  type PeerCertificate,
  type PskRequired,
  TlsConnection,
  type TlsConnectionOptions,
} from './tls-connection.ts';
