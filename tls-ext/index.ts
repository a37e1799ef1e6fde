/**
 * tls-ext: TLS 1.3 with QKD keys, sans-io. Bytes in, bytes and events out; no
 * socket, timer, clock or ambient randomness. What is not exported here is
 * nobody else's business.
 */
export { Alert, alertName } from './alert.ts';
export { fromHex, hexOf, SecretBytes } from './bytes/index.ts';
export { tlsExporterChannelBinding } from './channel-binding.ts';
export {
  CipherSuite,
  type CipherSuiteInfo,
  cipherSuiteInfo,
  cipherSuiteName,
  cipherSuites,
  defaultKeyAgreements,
  deterministicKeyAgreements,
  hasNativeMlDsa,
  hasNativeMlKem,
  type KeyAgreement,
  type KeyAgreementProvider,
  NamedGroup,
  type NamedGroupInfo,
  namedGroupInfo,
  namedGroupName,
  namedGroups,
  SignatureScheme,
  type SignatureSchemeInfo,
  type SigningKey,
  signatureSchemes,
  signingKeyFromPkcs8,
  signingKeyOf,
} from './crypto/index.ts';
export { createClientEngine, createServerEngine } from './engine.ts';
export * from './engine-types.ts';
export * from './key-channel/index.ts';
export {
  decodeQkdKeyReference,
  decodeQkdPskContext,
  ExtensionType,
  encodeQkdKeyReference,
  encodeQkdPskContext,
} from './messages/index.ts';
export { BULK_BUFFER_BYTES, createBufferPool, MAX_PLAINTEXT_BYTES } from './record/index.ts';
export { TlsError, TlsErrorCode, TlsMisuseError } from './tls-error.ts';
