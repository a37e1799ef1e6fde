/** ML-DSA keys and signatures in certificates (FIPS 204, RFC 9881): native where node:crypto has them, else noble's. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { bytesEqual, concatBytes } from '../tls-ext/bytes/index.ts';
import { DerError, DerReader, DerTag, derOctetAlignedBits, derOid } from './der.ts';

/** Parameter sets by the OID that names keys and signatures alike. */
const PARAMETER_SETS = {
  '2.16.840.1.101.3.4.3.17': { name: 'ML-DSA-44', dsa: ml_dsa44 },
  '2.16.840.1.101.3.4.3.18': { name: 'ML-DSA-65', dsa: ml_dsa65 },
  '2.16.840.1.101.3.4.3.19': { name: 'ML-DSA-87', dsa: ml_dsa87 },
} as const;
export type MlDsaOid = keyof typeof PARAMETER_SETS;
export type MlDsaName = (typeof PARAMETER_SETS)[MlDsaOid]['name'];
export const ML_DSA_OIDS = Object.keys(PARAMETER_SETS) as MlDsaOid[];

const SEED_BYTES = 32;
/** Of ML-DSA-PrivateKey: the seed alone is `[0] IMPLICIT OCTET STRING` (RFC 9881, 6). */
const SEED_TAG = 0x80;

const hasNative = (() => {
  try {
    generateKeyPairSync('ml-dsa-44' as 'ed25519');
    return true;
  } catch {
    return false;
  }
})();

export interface MlDsaPublicKey {
  readonly oid: MlDsaOid;
  readonly name: MlDsaName;
  verify(content: Uint8Array, signature: Uint8Array): boolean;
}

export interface MlDsaPrivateKey {
  readonly oid: MlDsaOid;
  /** DER SubjectPublicKeyInfo of the public half. */
  readonly publicKeySpki: Uint8Array;
  sign(content: Uint8Array): Uint8Array;
}

/** The key of a DER SubjectPublicKeyInfo, or `undefined` if it is not ML-DSA's. */
export function mlDsaPublicKey(spki: Uint8Array): MlDsaPublicKey | undefined {
  const parsed = parseSpki(spki);
  if (parsed === undefined) return undefined;
  const { name, dsa } = PARAMETER_SETS[parsed.oid];
  if (parsed.key.length !== dsa.lengths.publicKey) return undefined;
  if (hasNative) {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    return { oid: parsed.oid, name, verify: (content, signature) => verifyNatively(key, content, signature) };
  }
  return {
    oid: parsed.oid,
    name,
    verify: (content, signature) =>
      signature.length === dsa.lengths.signature && dsa.verify(signature, content, parsed.key),
  };
}

/**
 * The key of a PKCS #8 PrivateKeyInfo: a seed, an expanded key, or both
 * (RFC 9881, 6). `undefined` if it is not ML-DSA's; throws `DerError` if it is a broken one.
 */
export function mlDsaPrivateKey(pkcs8: Uint8Array): MlDsaPrivateKey | undefined {
  const outer = new DerReader(pkcs8).enter(DerTag.sequence);
  outer.read(DerTag.integer);
  const oid = derOid(outer.enter(DerTag.sequence).read(DerTag.oid).content);
  if (!isMlDsaOid(oid)) return undefined;
  const { dsa } = PARAMETER_SETS[oid];
  const secretKey = expandedKey(oid, outer.read(DerTag.octetString).content);
  const publicKeySpki = encodeSpki(oid, dsa.getPublicKey(secretKey));
  if (hasNative) {
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
    return { oid, publicKeySpki, sign: (content) => new Uint8Array(sign(null, content, key)) };
  }
  return { oid, publicKeySpki, sign: (content) => dsa.sign(content, secretKey) };
}

/** A new key as PKCS #8 that holds its seed. */
export function generateMlDsaKey(name: MlDsaName): Uint8Array {
  const oid = ML_DSA_OIDS.find((one) => PARAMETER_SETS[one].name === name) as MlDsaOid;
  const seed = new Uint8Array(randomBytes(SEED_BYTES));
  const pkcs8 = der(
    DerTag.sequence,
    der(DerTag.integer, Uint8Array.of(0)),
    algorithmIdentifier(oid),
    der(DerTag.octetString, der(SEED_TAG, seed)),
  );
  seed.fill(0);
  return pkcs8;
}

function isMlDsaOid(oid: string): oid is MlDsaOid {
  return oid in PARAMETER_SETS;
}

function parseSpki(spki: Uint8Array): { readonly oid: MlDsaOid; readonly key: Uint8Array } | undefined {
  try {
    const outer = new DerReader(spki);
    const body = outer.enter(DerTag.sequence);
    outer.end();
    const algorithm = body.enter(DerTag.sequence);
    const oid = derOid(algorithm.read(DerTag.oid).content);
    // RFC 9881, 2: parameters are absent.
    algorithm.end();
    if (!isMlDsaOid(oid)) return undefined;
    const key = derOctetAlignedBits(body.read(DerTag.bitString).content);
    body.end();
    return { oid, key };
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

function expandedKey(oid: MlDsaOid, privateKey: Uint8Array): Uint8Array {
  const { dsa } = PARAMETER_SETS[oid];
  const expand = (seed: Uint8Array) => {
    if (seed.length !== SEED_BYTES) throw new DerError('ML-DSA seed of a wrong length');
    return dsa.keygen(seed).secretKey;
  };
  const reader = new DerReader(privateKey);
  switch (reader.peekTag()) {
    case SEED_TAG:
      return expand(reader.read(SEED_TAG).content);
    case DerTag.octetString: {
      const { content } = reader.read(DerTag.octetString);
      if (content.length !== dsa.lengths.secretKey) throw new DerError('ML-DSA key of a wrong length');
      return Uint8Array.from(content);
    }
    default: {
      const both = reader.enter(DerTag.sequence);
      const secretKey = expand(both.read(DerTag.octetString).content);
      // RFC 9881, 6: a key whose two forms disagree is not to be used.
      if (!bytesEqual(secretKey, both.read(DerTag.octetString).content)) {
        throw new DerError('ML-DSA seed and expanded key disagree');
      }
      return secretKey;
    }
  }
}

function verifyNatively(key: KeyObject, content: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, content, key, signature);
  } catch {
    return false;
  }
}

function encodeSpki(oid: MlDsaOid, publicKey: Uint8Array): Uint8Array {
  return der(DerTag.sequence, algorithmIdentifier(oid), der(DerTag.bitString, Uint8Array.of(0), publicKey));
}

/** 2.16.840.1.101.3.4.3.x, without parameters. */
function algorithmIdentifier(oid: MlDsaOid): Uint8Array {
  const last = Number(oid.slice(oid.lastIndexOf('.') + 1));
  return der(DerTag.sequence, der(DerTag.oid, Uint8Array.of(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, last)));
}

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts);
  const { length } = content;
  const lengthBytes = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...lengthBytes), content);
}
