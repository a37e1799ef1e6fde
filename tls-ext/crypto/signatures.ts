/**
 * Making and verifying the signatures of CertificateVerify. ML-DSA (FIPS 204,
 * pure, empty context) is native where the runtime has it, else noble's.
 */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
} from 'node:crypto';
import { Alert } from '../alert.ts';
import { TlsError, TlsErrorCode, TlsMisuseError } from '../tls-error.ts';
import { type PublicKeyInfo, parsePkcs8, parseSpki } from './der.ts';
import { hasNativeMlDsa, mlDsaSigner, mlDsaVerify } from './ml-dsa.ts';
import { plainBytes } from './plain-bytes.ts';
import {
  type SignatureAlgorithm,
  type SignatureScheme,
  type SignatureSchemeInfo,
  signatureSchemeInfo,
  signatureSchemes,
} from './signature-schemes.ts';

/** Smallest and largest RSA modulus that we take from a peer. */
export const RSA_MIN_MODULUS_BITS = 2048;
export const RSA_MAX_MODULUS_BITS = 8192;

/** A private key and the schemes it can make: what `EngineIdentity` wants. */
export interface SigningKey {
  readonly signatureSchemes: readonly SignatureScheme[];
  sign(scheme: number, content: Uint8Array): Uint8Array;
}

/** Signs with a `KeyObject`. Throws `TlsMisuseError` for a key that fits no scheme. */
export function signingKeyOf(privateKey: KeyObject): SigningKey {
  const spki = plainBytes(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }));
  return signingKey(schemesOf(parseSpki(spki)), (algorithm, content) => signNatively(algorithm, privateKey, content));
}

/** Signs with a PKCS #8 key in DER: also ML-DSA where the runtime doesn't know it. */
export function signingKeyFromPkcs8(pkcs8: Uint8Array): SigningKey {
  const info = parsePkcs8(pkcs8);
  const algorithm = signatureSchemes.find((scheme) => scheme.keyOid === info.algorithm)?.algorithm;
  if (algorithm?.type !== 'ml-dsa' || hasNativeMlDsa) {
    return signingKeyOf(createPrivateKey({ key: pkcs8 as Buffer, format: 'der', type: 'pkcs8' }));
  }
  const sign = mlDsaSigner(algorithm.parameters, info.key);
  return signingKey(schemesOf(info), (_, content) => sign(content));
}

/**
 * Whether `signature` is `scheme`'s signature of `content` under the key of
 * `spki`. Throws `TlsError` if the scheme isn't one of ours or doesn't fit the key
 * (illegal_parameter), or if the key is none that we take (unsupported_certificate).
 */
export function verifySignature(scheme: number, spki: Uint8Array, content: Uint8Array, signature: Uint8Array): boolean {
  const { algorithm } = expectSchemeFitsKey(scheme, spki);
  if (algorithm.type === 'ml-dsa' && !hasNativeMlDsa) {
    return mlDsaVerify(algorithm.parameters, parseSpki(spki).key, content, signature);
  }
  const publicKey = publicKeyOf(spki);
  // RFC 8017, 8.1.2: exactly as long as the modulus. OpenSSL also takes one whose leading zero was cut off.
  if (algorithm.type === 'rsa-pss' && signature.length !== Math.ceil(rsaModulusBits(publicKey) / 8)) return false;
  try {
    return nodeVerify(digestOf(algorithm), content, keyInput(algorithm, publicKey), signature);
  } catch {
    // OpenSSL throws on some malformed signatures where it answers false to others.
    return false;
  }
}

/** Checks a scheme against a key's type and curve; see `verifySignature` for what it throws. */
export function expectSchemeFitsKey(scheme: number, spki: Uint8Array): SignatureSchemeInfo {
  const info = signatureSchemeInfo(scheme);
  if (info === undefined) throw schemeError(`signature scheme 0x${scheme.toString(16)} is none of ours`);
  if (!fits(info, parsePublicKey(spki))) throw schemeError(`${info.name} doesn't fit the certificate's key`);
  return info;
}

function signingKey(
  schemes: readonly SignatureScheme[],
  sign: (algorithm: SignatureAlgorithm, content: Uint8Array) => Uint8Array,
): SigningKey {
  if (schemes.length === 0) throw new TlsMisuseError('private key fits no signature scheme of TLS 1.3');
  return {
    signatureSchemes: schemes,
    sign(scheme, content) {
      const info = signatureSchemeInfo(scheme);
      if (info === undefined || !schemes.includes(info.codePoint)) {
        throw new TlsMisuseError(`signature scheme 0x${scheme.toString(16)} doesn't fit the private key`);
      }
      return sign(info.algorithm, content);
    },
  };
}

function signNatively(algorithm: SignatureAlgorithm, key: KeyObject, content: Uint8Array): Uint8Array {
  return plainBytes(nodeSign(digestOf(algorithm), content, keyInput(algorithm, key)));
}

function digestOf(algorithm: SignatureAlgorithm): string | null {
  switch (algorithm.type) {
    case 'ecdsa':
    case 'rsa-pss':
      return algorithm.hash;
    case 'ed25519':
    case 'ml-dsa':
      return null;
  }
}

function keyInput(algorithm: SignatureAlgorithm, key: KeyObject) {
  if (algorithm.type !== 'rsa-pss') return key;
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}

function schemesOf(key: PublicKeyInfo): SignatureScheme[] {
  return signatureSchemes.filter((info) => fits(info, key)).map((info) => info.codePoint);
}

function fits(scheme: SignatureSchemeInfo, key: PublicKeyInfo): boolean {
  return scheme.keyOid === key.algorithm && (scheme.curveOid === undefined || scheme.curveOid === key.curve);
}

function parsePublicKey(spki: Uint8Array): PublicKeyInfo {
  try {
    return parseSpki(spki);
  } catch (cause) {
    throw unsupportedKey('malformed public key in certificate', cause);
  }
}

function publicKeyOf(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: spki as Buffer, format: 'der', type: 'spki' });
  } catch (cause) {
    throw unsupportedKey('unusable public key in certificate', cause);
  }
}

/** Throws if the modulus is of a size that we don't take. */
function rsaModulusBits(publicKey: KeyObject): number {
  const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits < RSA_MIN_MODULUS_BITS || bits > RSA_MAX_MODULUS_BITS) {
    throw unsupportedKey(`RSA key of ${bits} bits, ${RSA_MIN_MODULUS_BITS} to ${RSA_MAX_MODULUS_BITS} allowed`);
  }
  return bits;
}

function schemeError(message: string): TlsError {
  return new TlsError(TlsErrorCode.illegalParameter, Alert.illegalParameter, message);
}

function unsupportedKey(message: string, cause?: unknown): TlsError {
  return new TlsError(
    TlsErrorCode.peerCertificate,
    Alert.unsupportedCertificate,
    message,
    cause === undefined ? undefined : { cause },
  );
}
