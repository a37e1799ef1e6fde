export {
  CipherSuite,
  type CipherSuiteInfo,
  cipherSuiteInfo,
  cipherSuiteName,
  cipherSuites,
} from './cipher-suites.ts';
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
} from './groups.ts';
export { type HashName, hash, hashLengthBytes, TranscriptHash } from './hash.ts';
export { hmac } from './hmac.ts';
export { hasNativeMlDsa } from './ml-dsa.ts';
export { hasNativeMlKem } from './ml-kem.ts';
export {
  SignatureScheme,
  type SignatureSchemeInfo,
  signatureSchemes,
} from './signature-schemes.ts';
export {
  type SigningKey,
  signingKeyFromPkcs8,
  signingKeyOf,
  verifySignature,
} from './signatures.ts';
