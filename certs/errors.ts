/** Stable codes of what can go wrong with certificates. Documented in docs/errors.md; a test compares the two. */
export const CertErrorCode = {
  /** A file or text is not the PEM that was expected. */
  pem: 'ERR_CERT_PEM',
  /** A private key can't be read, is encrypted, or is of an unsupported type. */
  key: 'ERR_CERT_KEY',
  /** The private key does not belong to the certificate. */
  keyMismatch: 'ERR_CERT_KEY_MISMATCH',
  /** A request to issue a certificate that can't be met: a bad name, SAE ID or period. */
  request: 'ERR_CERT_REQUEST',
  /** The peer sent no certificate. */
  emptyChain: 'ERR_CERT_EMPTY_CHAIN',
  /** A certificate is not the DER that RFC 5280 asks for. */
  malformed: 'ERR_CERT_MALFORMED',
  /** More certificates or bytes than are looked at. */
  tooLarge: 'ERR_CERT_TOO_LARGE',
  /** An algorithm, key, version or critical extension that is not supported. */
  unsupported: 'ERR_CERT_UNSUPPORTED',
  /** No path to a trusted CA. */
  unknownCa: 'ERR_CERT_UNKNOWN_CA',
  /** The issuer was found, but its key does not verify the signature. */
  badSignature: 'ERR_CERT_BAD_SIGNATURE',
  /** A certificate of the path is past its notAfter. */
  expired: 'ERR_CERT_EXPIRED',
  /** A certificate of the path is before its notBefore. */
  notYetValid: 'ERR_CERT_NOT_YET_VALID',
  /** An issuer is not allowed to issue: not a CA, or its path length is exceeded. */
  notCa: 'ERR_CERT_NOT_CA',
  /** Key usage or extended key usage forbid this role. */
  wrongPurpose: 'ERR_CERT_WRONG_PURPOSE',
  /** The certificate does not name the host. */
  wrongName: 'ERR_CERT_WRONG_NAME',
  /** The certificate names no SAE that is admitted. */
  wrongSae: 'ERR_CERT_WRONG_SAE',
} as const;
export type CertErrorCode = (typeof CertErrorCode)[keyof typeof CertErrorCode];

/** A certificate, key or chain that can't be used. The message is one line and holds no key material. */
export class CertError extends Error {
  override readonly name = 'CertError';
  readonly code: CertErrorCode;

  constructor(code: CertErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Why a peer's chain was refused: what the proxy maps to a TLS alert.
 * (RFC 8446, 6.2 names the alerts; this folder knows nothing of TLS.)
 */
export type ChainRejection =
  | 'empty'
  | 'malformed'
  | 'too-large'
  | 'unsupported'
  | 'unknown-ca'
  | 'bad-signature'
  | 'expired'
  | 'not-yet-valid'
  | 'not-ca'
  | 'wrong-purpose'
  | 'wrong-name'
  | 'wrong-sae';

/** The error code that belongs to each rejection. */
export const REJECTION_CODES: Readonly<Record<ChainRejection, CertErrorCode>> = {
  empty: CertErrorCode.emptyChain,
  malformed: CertErrorCode.malformed,
  'too-large': CertErrorCode.tooLarge,
  unsupported: CertErrorCode.unsupported,
  'unknown-ca': CertErrorCode.unknownCa,
  'bad-signature': CertErrorCode.badSignature,
  expired: CertErrorCode.expired,
  'not-yet-valid': CertErrorCode.notYetValid,
  'not-ca': CertErrorCode.notCa,
  'wrong-purpose': CertErrorCode.wrongPurpose,
  'wrong-name': CertErrorCode.wrongName,
  'wrong-sae': CertErrorCode.wrongSae,
};
