import type { TlsEngine } from './engine-types.ts';

const LABEL = 'EXPORTER-Channel-Binding';
const LENGTH_BYTES = 32;

/**
 * The channel binding `tls-exporter` (RFC 9266): 32 bytes that both ends of this connection have and nobody else.
 * It is the handshake's, and stays the same through every rekey. After `handshake-complete`.
 */
export function tlsExporterChannelBinding(engine: TlsEngine): Uint8Array {
  return engine.exportKeyingMaterial(LABEL, new Uint8Array(0), LENGTH_BYTES);
}
