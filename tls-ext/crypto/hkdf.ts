/**
 * HKDF (RFC 5869) and the labelled forms of TLS 1.3 (RFC 9846, "Key Schedule";
 * RFC 8446, 7.1).
 */
import { SecretBytes } from '../bytes/index.ts';
import { emptyHash, type HashName, hashLengthBytes } from './hash.ts';
import { hmac } from './hmac.ts';

const LABEL_PREFIX = 'tls13 ';
const labelBytes = new Map<string, Uint8Array>();
const MAX_CACHED_LABELS = 64;
const firstCounter = Uint8Array.of(1);

const zeroKeys: Readonly<Record<HashName, Uint8Array>> = {
  sha256: new Uint8Array(hashLengthBytes.sha256),
  sha384: new Uint8Array(hashLengthBytes.sha384),
};

/** HKDF-Extract. `salt` undefined stands for Hash.length zero bytes. The inputs stay the caller's. */
export function hkdfExtract(
  name: HashName,
  salt: SecretBytes | Uint8Array | undefined,
  inputKeyingMaterial: Uint8Array,
): SecretBytes {
  return new SecretBytes(hmac(name, salt ?? zeroKeys[name], inputKeyingMaterial));
}

/** HKDF-Expand to `lengthBytes` ≤ 255 · Hash.length. */
export function hkdfExpand(name: HashName, key: SecretBytes, info: Uint8Array, lengthBytes: number): SecretBytes {
  const blockBytes = hashLengthBytes[name];
  if (!Number.isInteger(lengthBytes) || lengthBytes < 0 || lengthBytes > 255 * blockBytes) {
    throw new RangeError(`HKDF-Expand to ${lengthBytes} bytes`);
  }
  if (lengthBytes === blockBytes) return new SecretBytes(hmac(name, key, info, firstCounter));
  const output = new Uint8Array(lengthBytes);
  let block = new Uint8Array(0);
  for (let at = 0, counter = 1; at < lengthBytes; at += blockBytes, counter++) {
    const next = hmac(name, key, block, info, Uint8Array.of(counter));
    block.fill(0);
    block = next as Uint8Array<ArrayBuffer>;
    output.set(block.subarray(0, Math.min(blockBytes, lengthBytes - at)), at);
  }
  block.fill(0);
  return new SecretBytes(output);
}

/** HKDF-Expand-Label. `label` is given without its "tls13 " prefix. */
export function hkdfExpandLabel(
  name: HashName,
  key: SecretBytes,
  label: string,
  context: Uint8Array,
  lengthBytes: number,
): SecretBytes {
  return hkdfExpand(name, key, encodeHkdfLabel(label, context, lengthBytes), lengthBytes);
}

/** Derive-Secret, given the Transcript-Hash of its messages. */
export function deriveSecret(name: HashName, key: SecretBytes, label: string, transcriptHash: Uint8Array): SecretBytes {
  return hkdfExpandLabel(name, key, label, transcriptHash, hashLengthBytes[name]);
}

/** Derive-Secret(key, "derived", ""): the salt of the next HKDF-Extract in the key schedule. */
export function deriveNextSalt(name: HashName, key: SecretBytes): SecretBytes {
  return deriveSecret(name, key, 'derived', emptyHash(name));
}

/** The struct HkdfLabel: length, label<7..255>, context<0..255>. */
export function encodeHkdfLabel(label: string, context: Uint8Array, lengthBytes: number): Uint8Array {
  const name = fullLabel(label);
  if (name.length > 255 || context.length > 255) throw new RangeError('HkdfLabel field over 255 bytes');
  const info = new Uint8Array(4 + name.length + context.length);
  info[0] = lengthBytes >>> 8;
  info[1] = lengthBytes;
  info[2] = name.length;
  info.set(name, 3);
  info[3 + name.length] = context.length;
  info.set(context, 4 + name.length);
  return info;
}

function fullLabel(label: string): Uint8Array {
  const cached = labelBytes.get(label);
  if (cached !== undefined) return cached;
  const bytes = new TextEncoder().encode(LABEL_PREFIX + label);
  // Exporter labels are the caller's choice, so the cache is bounded.
  if (labelBytes.size < MAX_CACHED_LABELS) labelBytes.set(label, bytes);
  return bytes;
}
