/** SSLKEYLOGFILE lines (RFC 9850): for analysis of test traffic, behind an option that says `unsafe`. */
import { hexOf, type SecretBytes } from '../bytes/index.ts';
import type { EngineOptions } from '../engine-types.ts';

export type KeyLogLabel =
  | 'CLIENT_HANDSHAKE_TRAFFIC_SECRET'
  | 'SERVER_HANDSHAKE_TRAFFIC_SECRET'
  /** The number is the epoch's: beyond 0 where a connection was rekeyed. */
  | `CLIENT_TRAFFIC_SECRET_${number}`
  | `SERVER_TRAFFIC_SECRET_${number}`
  | 'EXPORTER_SECRET';

/** Writes secrets of one connection. */
export type SecretLog = (label: KeyLogLabel, secret: SecretBytes) => void;

/** Does nothing unless the option is set. */
export function logSecret(
  { unsafeKeyLog }: EngineOptions,
  label: KeyLogLabel,
  clientRandom: Uint8Array,
  secret: SecretBytes,
): void {
  unsafeKeyLog?.(`${label} ${hexOf(clientRandom)} ${hexOf(secret.expose())}`);
}
