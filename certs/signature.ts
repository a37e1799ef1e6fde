/** Public keys of certificates and the signatures under them, with an allow list of both. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Certificate } from './certificate.ts';
import { ML_DSA_OIDS, type MlDsaOid, mlDsaPublicKey } from './ml-dsa.ts';

/** `keyType` as `KeyObject.asymmetricKeyType` says it; `null` = the algorithm hashes by itself. */
interface SignatureAlgorithm {
  readonly keyType: 'ec' | 'rsa' | 'ed25519' | MlDsaOid;
  readonly hash: string | null;
}

/** Signatures in certificates (RFC 5758, RFC 4055, RFC 8410, RFC 9881). SHA-1 and MD5 are not in it. */
const SIGNATURE_ALGORITHMS: Readonly<Record<string, SignatureAlgorithm>> = {
  '1.2.840.10045.4.3.2': { keyType: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { keyType: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { keyType: 'ec', hash: 'sha512' },
  '1.2.840.113549.1.1.11': { keyType: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { keyType: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { keyType: 'rsa', hash: 'sha512' },
  '1.3.101.112': { keyType: 'ed25519', hash: null },
  ...Object.fromEntries(ML_DSA_OIDS.map((oid) => [oid, { keyType: oid, hash: null }])),
};

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };
const MIN_RSA_BITS = 2048;
/** Larger moduli and exponents cost the verifier more than a stranger may make us pay. */
const MAX_RSA_BITS = 8192;
const MAX_RSA_EXPONENT = 2n ** 32n;

/** A public key that a certificate may hold here. */
export interface CertifiedKey {
  /** As people call it, for logs: `ECDSA P-256`, `RSA 2048`, `Ed25519`, `ML-DSA-65`. */
  readonly name: string;
  readonly type: SignatureAlgorithm['keyType'];
  readonly postQuantum: boolean;
  /** `hash`: as the signature algorithm has it. Never throws. */
  verify(hash: string | null, content: Uint8Array, signature: Uint8Array): boolean;
}

/** The key of a DER SubjectPublicKeyInfo, or `undefined` if its type, curve or size is not supported. */
export function supportedPublicKey(spki: Uint8Array): CertifiedKey | undefined {
  const mlDsa = mlDsaPublicKey(spki);
  if (mlDsa !== undefined) {
    const { name, oid } = mlDsa;
    return { name, type: oid, postQuantum: true, verify: (_, content, signature) => mlDsa.verify(content, signature) };
  }
  const key = importSpki(spki);
  const details = key?.asymmetricKeyDetails;
  switch (key?.asymmetricKeyType) {
    case 'ec': {
      const curve = CURVES[details?.namedCurve ?? ''];
      return curve === undefined ? undefined : classicalKey(`ECDSA ${curve}`, 'ec', key);
    }
    case 'rsa': {
      const bits = details?.modulusLength ?? 0;
      const exponent = details?.publicExponent ?? MAX_RSA_EXPONENT;
      const fits = bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS && exponent < MAX_RSA_EXPONENT;
      return fits ? classicalKey(`RSA ${bits}`, 'rsa', key) : undefined;
    }
    case 'ed25519':
      return classicalKey('Ed25519', 'ed25519', key);
    default:
      return undefined;
  }
}

/** What the key of a certificate is, for people; `unsupported` if it is none of ours. */
export function keyNameOf({ publicKeySpki }: Pick<Certificate, 'publicKeySpki'>): string {
  return supportedPublicKey(publicKeySpki)?.name ?? 'unsupported';
}

function classicalKey(name: string, type: 'ec' | 'rsa' | 'ed25519', key: KeyObject): CertifiedKey {
  return {
    name,
    type,
    postQuantum: false,
    verify: (hash, content, signature) => {
      try {
        return verify(hash, content, key, signature);
      } catch {
        return false;
      }
    },
  };
}

function importSpki(spki: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({
      key: Buffer.from(spki.buffer, spki.byteOffset, spki.length),
      format: 'der',
      type: 'spki',
    });
  } catch {
    return undefined;
  }
}

/** What came of checking a signature. */
export type SignatureCheck = 'good' | 'bad' | 'unsupported';

/** Whether `issuer`'s key made the signature of `certificate`. */
export function checkSignature(certificate: Certificate, issuer: Certificate): SignatureCheck {
  const algorithm = SIGNATURE_ALGORITHMS[certificate.signatureAlgorithmOid];
  if (algorithm === undefined || !parametersFit(algorithm, certificate.signatureParameters)) return 'unsupported';
  const key = supportedPublicKey(issuer.publicKeySpki);
  if (key === undefined) return 'unsupported';
  if (key.type !== algorithm.keyType) return 'bad';
  return key.verify(algorithm.hash, certificate.tbs, certificate.signature) ? 'good' : 'bad';
}

/** RSA has NULL parameters (or none, which is tolerated), the others none. */
function parametersFit(algorithm: SignatureAlgorithm, parameters: Uint8Array): boolean {
  if (parameters.length === 0) return true;
  return algorithm.keyType === 'rsa' && parameters.length === 2 && parameters[0] === 0x05 && parameters[1] === 0x00;
}
