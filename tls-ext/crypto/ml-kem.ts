/**
 * ML-KEM-768 and -1024 (FIPS 203): by node:crypto where the runtime has it,
 * else by @noble/post-quantum, which is about ten times as slow and not
 * promised to be constant-time.
 */
import * as nodeCrypto from 'node:crypto';
import { ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import { fromHex, SecretBytes } from '../bytes/index.ts';
import type { RandomSource } from './ecdhe.ts';
import { generateNativeKeyPair, importNativePublicKey } from './native-key-pair.ts';
import { plainBytes } from './plain-bytes.ts';

export type MlKemParameterSet = 'ml-kem-768' | 'ml-kem-1024';

/** Lengths in bytes of an encapsulation key and of a ciphertext (FIPS 203, table 3). Every shared secret has 32. */
export const mlKemLengths: Readonly<Record<MlKemParameterSet, { encapsulationKey: number; ciphertext: number }>> = {
  'ml-kem-768': { encapsulationKey: 1184, ciphertext: 1088 },
  'ml-kem-1024': { encapsulationKey: 1568, ciphertext: 1568 },
};
export const ML_KEM_SECRET_BYTES = 32;

/** A decapsulation key and what belongs to it. */
export interface MlKemKeyPair {
  readonly encapsulationKey: Uint8Array;
  /** ML-KEM.Decaps. A wrong ciphertext of the right length gives an unrelated secret (implicit rejection), not an error. */
  decapsulate(ciphertext: Uint8Array): SecretBytes;
  wipe(): void;
}

/** One parameter set in one implementation. Lengths are the caller's to check. */
export interface MlKem {
  readonly parameters: MlKemParameterSet;
  generateKeyPair(): MlKemKeyPair;
  /** ML-KEM.Encaps. Throws on a key that fails the modulus check of FIPS 203, 7.2. */
  encapsulate(encapsulationKey: Uint8Array): { ciphertext: Uint8Array; sharedSecret: SecretBytes };
}

/** SubjectPublicKeyInfo up to the key's first byte (OIDs 2.16.840.1.101.3.4.4.2 and .3). */
const spkiPrefix: Readonly<Record<MlKemParameterSet, Uint8Array>> = {
  'ml-kem-768': fromHex('308204b2300b0609608648016503040402038204a100'),
  'ml-kem-1024': fromHex('30820632300b06096086480165030404030382062100'),
};

/** Whether this runtime's node:crypto has ML-KEM (Node ≥ 24 with OpenSSL ≥ 3.5). */
export const hasNativeMlKem: boolean = probe(() => {
  nodeCrypto.generateKeyPairSync('ml-kem-768');
  return typeof nodeCrypto.encapsulate === 'function' && typeof nodeCrypto.decapsulate === 'function';
});

/** ML-KEM by node:crypto. Only where `hasNativeMlKem`. */
export function nativeMlKem(parameters: MlKemParameterSet): MlKem {
  const prefix = spkiPrefix[parameters];
  return {
    parameters,
    generateKeyPair() {
      const { publicKey, privateKey } = generateNativeKeyPair(parameters, prefix);
      return {
        encapsulationKey: publicKey,
        decapsulate: (ciphertext) => new SecretBytes(plainBytes(nodeCrypto.decapsulate(privateKey, ciphertext))),
        wipe: () => {},
      };
    },
    encapsulate(encapsulationKey) {
      const publicKey = importNativePublicKey(parameters, prefix, encapsulationKey);
      const { ciphertext, sharedKey } = nodeCrypto.encapsulate(publicKey);
      return { ciphertext: plainBytes(ciphertext), sharedSecret: new SecretBytes(plainBytes(sharedKey)) };
    },
  };
}

/** ML-KEM in JavaScript. With `random`: 64 bytes (d ‖ z) for each key pair, 32 (m) for each encapsulation. */
export function nobleMlKem(parameters: MlKemParameterSet, random?: RandomSource): MlKem {
  const kem = parameters === 'ml-kem-768' ? ml_kem768 : ml_kem1024;
  return {
    parameters,
    generateKeyPair() {
      const seed = random?.(64);
      const { publicKey, secretKey } = kem.keygen(seed);
      seed?.fill(0);
      const decapsulationKey = new SecretBytes(secretKey);
      return {
        encapsulationKey: publicKey,
        decapsulate: (ciphertext) => new SecretBytes(kem.decapsulate(ciphertext, decapsulationKey.expose())),
        wipe: () => decapsulationKey.wipe(),
      };
    },
    encapsulate(encapsulationKey) {
      const message = random?.(ML_KEM_SECRET_BYTES);
      const { cipherText, sharedSecret } = kem.encapsulate(encapsulationKey, message);
      message?.fill(0);
      return { ciphertext: cipherText, sharedSecret: new SecretBytes(sharedSecret) };
    },
  };
}

/** The runtime's own ML-KEM, or noble's. */
export function defaultMlKem(parameters: MlKemParameterSet): MlKem {
  return hasNativeMlKem ? nativeMlKem(parameters) : nobleMlKem(parameters);
}

/** ML-KEM with given coins, for test vectors. */
export function deterministicMlKem(parameters: MlKemParameterSet, random: RandomSource): MlKem {
  return nobleMlKem(parameters, random);
}

function probe(feature: () => boolean): boolean {
  try {
    return feature();
  } catch {
    return false;
  }
}
