export { AEAD_NONCE_BYTES, AEAD_TAG_BYTES } from './aead.ts';
export {
  type AeadAlgorithm,
  CipherSuite,
  type CipherSuiteInfo,
  cipherSuiteInfo,
  cipherSuiteName,
  cipherSuites,
} from './cipher-suites.ts';
export type { RandomSource } from './ecdhe.ts';
export {
  type ClientKeyShare,
  defaultKeyAgreements,
  deterministicKeyAgreements,
  type KeyAgreement,
  type KeyAgreementProvider,
  NamedGroup,
  type NamedGroupInfo,
  namedGroupInfo,
  namedGroupName,
  namedGroups,
  type ServerKeyShare,
} from './groups.ts';
export { emptyHash, type HashName, hash, hashLengthBytes, TranscriptHash } from './hash.ts';
export { deriveSecret, hkdfExpand, hkdfExpandLabel, hkdfExtract } from './hkdf.ts';
export { hmac } from './hmac.ts';
export { hasNativeMlDsa } from './ml-dsa.ts';
export { hasNativeMlKem } from './ml-kem.ts';
export {
  type MlDsaParameterSet,
  SignatureScheme,
  type SignatureSchemeInfo,
  signatureSchemeInfo,
  signatureSchemeName,
  signatureSchemes,
} from './signature-schemes.ts';
export {
  expectSchemeFitsKey,
  RSA_MAX_MODULUS_BITS,
  RSA_MIN_MODULUS_BITS,
  type SigningKey,
  schemesForKey,
  signingKeyFromPkcs8,
  signingKeyOf,
  verifySignature,
} from './signatures.ts';
