/** SSLKEYLOGFILE lines (RFC 9850): for analysis of test traffic, behind an option that says `unsafe`. */
import { hexOf, type SecretBytes } from '../bytes/index.ts';
import type { EngineOptions } from '../engine-types.ts';

export type KeyLogLabel =
  | 'CLIENT_HANDSHAKE_TRAFFIC_SECRET'
  | 'SERVER_HANDSHAKE_TRAFFIC_SECRET'
  | 'CLIENT_TRAFFIC_SECRET_0'
  | 'SERVER_TRAFFIC_SECRET_0'
  | 'EXPORTER_SECRET';

/** Does nothing unless the option is set. */
export function logSecret(
  { unsafeKeyLog }: EngineOptions,
  label: KeyLogLabel,
  clientRandom: Uint8Array,
  secret: SecretBytes,
): void {
  unsafeKeyLog?.(`${label} ${hexOf(clientRandom)} ${hexOf(secret.expose())}`);
}
