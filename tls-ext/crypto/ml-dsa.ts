/** ML-DSA (FIPS 204) by @noble/post-quantum, for runtimes whose node:crypto has none. Keys as in RFC 9881. */
import * as nodeCrypto from 'node:crypto';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { ByteReader, constantTimeEqual, DecodeError, SecretBytes } from '../bytes/index.ts';
import { DerTag, readDer } from './der.ts';
import type { MlDsaParameterSet } from './signature-schemes.ts';

const implementations = { 'ml-dsa-44': ml_dsa44, 'ml-dsa-65': ml_dsa65, 'ml-dsa-87': ml_dsa87 } as const;
const SEED_BYTES = 32;

/** Whether this runtime's node:crypto signs with ML-DSA (Node ≥ 24 with OpenSSL ≥ 3.5). */
export const hasNativeMlDsa: boolean = (() => {
  try {
    nodeCrypto.generateKeyPairSync('ml-dsa-44');
    return true;
  } catch {
    return false;
  }
})();

/** Whether the signature is right; `false` for keys and signatures of a wrong length too. */
export function mlDsaVerify(
  parameters: MlDsaParameterSet,
  publicKey: Uint8Array,
  content: Uint8Array,
  signature: Uint8Array,
): boolean {
  const dsa = implementations[parameters];
  if (publicKey.length !== dsa.lengths.publicKey || signature.length !== dsa.lengths.signature) return false;
  return dsa.verify(signature, content, publicKey);
}

/** A signer from the ML-DSA-PrivateKey of RFC 9881: seed, expanded key, or both. `random` for the hedge is noble's own. */
export function mlDsaSigner(
  parameters: MlDsaParameterSet,
  privateKey: Uint8Array,
): (content: Uint8Array) => Uint8Array {
  const dsa = implementations[parameters];
  const secretKey = new SecretBytes(expandedKey(parameters, privateKey));
  return (content) => dsa.sign(content, secretKey.expose());
}

function expandedKey(parameters: MlDsaParameterSet, privateKey: Uint8Array): Uint8Array {
  const dsa = implementations[parameters];
  const reader = new ByteReader(privateKey);
  const expandSeed = (seed: Uint8Array) => {
    if (seed.length !== SEED_BYTES) throw new DecodeError('ML-DSA seed of a wrong length');
    return dsa.keygen(seed).secretKey;
  };
  switch (privateKey[0]) {
    case DerTag.context0: {
      const seed = readDer(reader, DerTag.context0);
      reader.end();
      return expandSeed(seed);
    }
    case DerTag.octetString: {
      const expanded = readDer(reader, DerTag.octetString);
      reader.end();
      if (expanded.length !== dsa.lengths.secretKey) throw new DecodeError('ML-DSA key of a wrong length');
      return Uint8Array.from(expanded);
    }
    case DerTag.sequence: {
      const both = new ByteReader(readDer(reader, DerTag.sequence));
      reader.end();
      const seed = readDer(both, DerTag.octetString);
      const expanded = readDer(both, DerTag.octetString);
      both.end();
      const secretKey = expandSeed(seed);
      // RFC 9881, 6: a key whose two forms disagree is not to be used.
      if (!constantTimeEqual(secretKey, expanded)) throw new DecodeError('ML-DSA seed and expanded key disagree');
      return secretKey;
    }
    default:
      throw new DecodeError('ML-DSA private key of an unknown form');
  }
}
