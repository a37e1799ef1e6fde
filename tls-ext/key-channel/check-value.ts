/**
 * Check values: how the two ends find out whether their KMEs gave them the same
 * key, without telling it (draft-qstunnel-tls-qkd-psk).
 *
 *     check = HKDF-Expand-Label(HKDF-Extract(0, key), label, Hash(reference), 16)
 *
 * with SHA-256 and label "qkd check d" for the drawer, "qkd check a" for the
 * answerer: neither end can pass off the other's value as its own. The labels
 * differ from every label under which the same key is imported as a PSK.
 */
import type { SecretBytes } from '../bytes/index.ts';
import { hash } from '../crypto/hash.ts';
import { hkdfExpandLabel, hkdfExtract } from '../crypto/hkdf.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import { encodeQkdKeyReference } from '../messages/key-reference.ts';
import { CHECK_BYTES } from './limits.ts';

export interface CheckValues {
  /** The drawer's, sent in `keys`. */
  readonly drawer: Uint8Array;
  /** The answerer's, sent in `results`. */
  readonly answerer: Uint8Array;
}

/** Both check values of a key. `secret` is borrowed for the call. */
export function deriveCheckValues(reference: QkdKeyReference, secret: SecretBytes): CheckValues {
  const referenceHash = hash('sha256', encodeQkdKeyReference(reference));
  const extracted = hkdfExtract('sha256', undefined, secret.expose());
  try {
    const derive = (label: string) => hkdfExpandLabel('sha256', extracted, label, referenceHash, CHECK_BYTES).expose();
    return { drawer: derive('qkd check d'), answerer: derive('qkd check a') };
  } finally {
    extracted.wipe();
  }
}
