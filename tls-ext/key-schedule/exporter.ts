/** Exporters (RFC 9846, "Exporters"; RFC 8446, 7.5). */
import { emptyHash, type HashName, hash as hashOf } from '../crypto/hash.ts';
import { deriveSecret, hkdfExpandLabel } from '../crypto/hkdf.ts';
import type { ExporterSecret } from './secrets.ts';

/** TLS-Exporter(label, context_value, key_length). An absent context is the empty one. The receiver owns the bytes. */
export function exportKeyingMaterial(
  hash: HashName,
  secret: ExporterSecret,
  label: string,
  context: Uint8Array,
  lengthBytes: number,
): Uint8Array {
  const derived = deriveSecret(hash, secret, label, emptyHash(hash));
  const exported = hkdfExpandLabel(hash, derived, 'exporter', hashOf(hash, context), lengthBytes);
  derived.wipe();
  return exported.expose();
}
