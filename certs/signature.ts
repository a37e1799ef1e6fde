/** Public keys of certificates and the signatures under them, with an allow list of both. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Certificate } from './certificate.ts';

/** `keyType` as `KeyObject.asymmetricKeyType` says it; `null` = the algorithm hashes by itself. */
interface SignatureAlgorithm {
  readonly keyType: 'ec' | 'rsa' | 'ed25519';
  readonly hash: string | null;
}

/** Signatures in certificates (RFC 5758, RFC 4055, RFC 8410). SHA-1 and MD5 are not in it. */
const SIGNATURE_ALGORITHMS: Readonly<Record<string, SignatureAlgorithm>> = {
  '1.2.840.10045.4.3.2': { keyType: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { keyType: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { keyType: 'ec', hash: 'sha512' },
  '1.2.840.113549.1.1.11': { keyType: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { keyType: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { keyType: 'rsa', hash: 'sha512' },
  '1.3.101.112': { keyType: 'ed25519', hash: null },
};

const CURVES: readonly (string | undefined)[] = ['prime256v1', 'secp384r1', 'secp521r1'];
const MIN_RSA_BITS = 2048;
/** Larger moduli and exponents cost the verifier more than a stranger may make us pay. */
const MAX_RSA_BITS = 8192;
const MAX_RSA_EXPONENT = 2n ** 32n;

/** The key of a DER SubjectPublicKeyInfo, or `undefined` if its type, curve or size is not supported. */
export function supportedPublicKey(spki: Uint8Array): KeyObject | undefined {
  const key = importSpki(spki);
  const details = key?.asymmetricKeyDetails;
  switch (key?.asymmetricKeyType) {
    case 'ec':
      return CURVES.includes(details?.namedCurve) ? key : undefined;
    case 'rsa': {
      const bits = details?.modulusLength ?? 0;
      const exponent = details?.publicExponent ?? MAX_RSA_EXPONENT;
      return bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS && exponent < MAX_RSA_EXPONENT ? key : undefined;
    }
    case 'ed25519':
      return key;
    default:
      return undefined;
  }
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
  if (key.asymmetricKeyType !== algorithm.keyType) return 'bad';
  try {
    return verify(algorithm.hash, certificate.tbs, key, certificate.signature) ? 'good' : 'bad';
  } catch {
    return 'bad';
  }
}

/** RSA has NULL parameters (or none, which is tolerated), the others none. */
function parametersFit(algorithm: SignatureAlgorithm, parameters: Uint8Array): boolean {
  if (parameters.length === 0) return true;
  return algorithm.keyType === 'rsa' && parameters.length === 2 && parameters[0] === 0x05 && parameters[1] === 0x00;
}
