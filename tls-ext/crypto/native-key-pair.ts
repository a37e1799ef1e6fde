/**
 * Ephemeral key pairs of node:crypto, with the public key as raw bytes.
 *
 * The public key is encoded by `generateKeyPairSync` itself and never exported
 * from a `KeyObject` afterwards: on Node 20 the export as JWK holds the key's
 * mutex while it allocates, and a garbage collection in that moment destroys the
 * generation job, which takes the same mutex. The process then hangs for good
 * (seen within 2,000 key pairs).
 */
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { plainBytes } from './plain-bytes.ts';

export type NativeKeyType = 'x25519' | 'ml-kem-768' | 'ml-kem-1024';

export interface NativeKeyPair {
  readonly publicKey: Uint8Array;
  readonly privateKey: KeyObject;
}

/** One signature for what node's types spread over an overload for each key type. */
const generate = generateKeyPairSync as unknown as (
  type: NativeKeyType,
  options: { publicKeyEncoding: { format: 'raw-public' } | { format: 'der'; type: 'spki' } },
) => { publicKey: Uint8Array; privateKey: KeyObject };

/** Whether public keys go in and out without DER, which is much cheaper (late in Node 24's line, and after). */
const hasRawKeys: boolean = (() => {
  try {
    const { publicKey } = generate('x25519', { publicKeyEncoding: { format: 'raw-public' } });
    createPublicKey({ key: publicKey as Buffer, format: 'raw-public', asymmetricKeyType: 'x25519' });
    return publicKey.length === 32;
  } catch {
    return false;
  }
})();

/** A fresh pair. `spkiPrefix` is the SubjectPublicKeyInfo of this type up to the key's first byte. */
export function generateNativeKeyPair(type: NativeKeyType, spkiPrefix: Uint8Array): NativeKeyPair {
  if (hasRawKeys) {
    const { publicKey, privateKey } = generate(type, { publicKeyEncoding: { format: 'raw-public' } });
    return { publicKey: plainBytes(publicKey), privateKey };
  }
  const { publicKey, privateKey } = generate(type, { publicKeyEncoding: { format: 'der', type: 'spki' } });
  return { publicKey: plainBytes(publicKey).slice(spkiPrefix.length), privateKey };
}

/** The `KeyObject` of a peer's raw public key, whose length the caller has checked. Throws what OpenSSL says of a bad key. */
export function importNativePublicKey(type: NativeKeyType, spkiPrefix: Uint8Array, publicKey: Uint8Array): KeyObject {
  if (hasRawKeys) {
    return createPublicKey({ key: publicKey as Buffer, format: 'raw-public', asymmetricKeyType: type });
  }
  if (type === 'x25519') {
    // Importing a JWK is safe, and on Node 20 a seventh of the cost of DER.
    const x = Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.length).toString('base64url');
    return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
  }
  const spki = new Uint8Array(spkiPrefix.length + publicKey.length);
  spki.set(spkiPrefix);
  spki.set(publicKey, spkiPrefix.length);
  return createPublicKey({ key: spki as Buffer, format: 'der', type: 'spki' });
}
