/** X.509 for the tunnel: issuing, loading and judging certificates. */
export { type Certificate, parseCertificate } from './certificate.ts';
export { CertError, CertErrorCode, type ChainRejection } from './errors.ts';
export { certificateNamesHost, ipAddressText } from './host-name.ts';
export { type Identity, loadIdentity, loadTrust, type TrustAnchors } from './identity.ts';
export {
  type CaOptions,
  type Credential,
  createCa,
  DEFAULT_CA_VALIDITY_DAYS,
  DEFAULT_LEAF_VALIDITY_DAYS,
  issueLeaf,
  type KeyAlgorithm,
  type LeafOptions,
  type LeafProfile,
} from './issue.ts';
export type { MlDsaName } from './ml-dsa.ts';
export { certificatesOfPem, pemOfCertificate } from './pem.ts';
export { isSaeId, MAX_SAE_ID_LENGTH, SAE_ID_SYNTAX, saeIdFromUri, saeIdToUri } from './sae-id.ts';
export { keyNameOf } from './signature.ts';
export { type CredentialFiles, writeCredential } from './store.ts';
export {
  type Authentication,
  type ChainQuestion,
  type ChainVerdict,
  validateChain,
} from './validate.ts';
