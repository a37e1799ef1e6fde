/**
 * AEADs of TLS 1.3: AES-GCM (NIST SP 800-38D) and ChaCha20-Poly1305 (RFC 8439).
 *
 * `authTagLength` is given always: without it node's GCM decipher takes tags of
 * four bytes, and a forgery would cost 2^32 attempts instead of 2^128.
 */
import {
  type CipherGCM,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherGCM,
  type KeyObject,
} from 'node:crypto';
import type { SecretBytes } from '../bytes/index.ts';
import type { AeadAlgorithm } from './cipher-suites.ts';

export const AEAD_TAG_BYTES = 16;
export const AEAD_NONCE_BYTES = 12;

const options = { authTagLength: AEAD_TAG_BYTES } as const;

/** The `KeyObject` of an AEAD key. Make it once for each epoch: a raw key doubles the cost of a record. */
export function aeadKey(aead: AeadAlgorithm, key: SecretBytes): KeyObject {
  if (key.length !== aead.keyLengthBytes) throw new RangeError(`${aead.nodeName} with a key of ${key.length} bytes`);
  return createSecretKey(key.expose());
}

/** A cipher for one message. `nonce` is read at once and may be changed afterwards. */
export function createAeadCipher(aead: AeadAlgorithm, key: KeyObject, nonce: Uint8Array): CipherGCM {
  // GCM's types for both AEADs: their calls are the same, but for an option that node ignores here.
  return createCipheriv(aead.nodeName as CipherGCMTypes, key, nonce, options);
}

/** A decipher for one message. Nothing it returns may be used before `final()` has passed. */
export function createAeadDecipher(aead: AeadAlgorithm, key: KeyObject, nonce: Uint8Array): DecipherGCM {
  return createDecipheriv(aead.nodeName as CipherGCMTypes, key, nonce, options);
}
