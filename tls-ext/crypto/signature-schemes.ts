/**
 * SignatureSchemes of TLS 1.3 (RFC 9846, "Signature Algorithms"; RFC 8446,
 * 4.2.3; ML-DSA: draft-ietf-tls-mldsa) and the keys that they fit. PKCS #1 v1.5
 * and SHA-1 are left out: TLS 1.3 allows them in certificates only, never in
 * CertificateVerify.
 */
export const SignatureScheme = {
  ecdsaSecp256r1Sha256: 0x0403,
  ecdsaSecp384r1Sha384: 0x0503,
  rsaPssRsaeSha256: 0x0804,
  rsaPssRsaeSha384: 0x0805,
  rsaPssRsaeSha512: 0x0806,
  ed25519: 0x0807,
  rsaPssPssSha256: 0x0809,
  rsaPssPssSha384: 0x080a,
  rsaPssPssSha512: 0x080b,
  mlDsa44: 0x0904,
  mlDsa65: 0x0905,
  mlDsa87: 0x0906,
} as const;
export type SignatureScheme = (typeof SignatureScheme)[keyof typeof SignatureScheme];

export type MlDsaParameterSet = 'ml-dsa-44' | 'ml-dsa-65' | 'ml-dsa-87';

/** How a scheme signs, and with what kind of key. */
export type SignatureAlgorithm =
  | { readonly type: 'ecdsa'; readonly hash: 'sha256' | 'sha384' }
  | { readonly type: 'rsa-pss'; readonly hash: 'sha256' | 'sha384' | 'sha512' }
  | { readonly type: 'ed25519' }
  | { readonly type: 'ml-dsa'; readonly parameters: MlDsaParameterSet };

export interface SignatureSchemeInfo {
  readonly codePoint: SignatureScheme;
  /** IANA's name. */
  readonly name: string;
  readonly algorithm: SignatureAlgorithm;
  /** OIDs of the SubjectPublicKeyInfo that fits, as hex of their DER contents. */
  readonly keyOid: string;
  readonly curveOid?: string;
  readonly postQuantum: boolean;
}

/** OIDs as hex of their DER contents. */
export const KeyOid = {
  /** 1.2.840.10045.2.1 */
  ecPublicKey: '2a8648ce3d0201',
  /** 1.2.840.113549.1.1.1 */
  rsaEncryption: '2a864886f70d010101',
  /** 1.2.840.113549.1.1.10 */
  rsassaPss: '2a864886f70d01010a',
  /** 1.3.101.112 */
  ed25519: '2b6570',
  /** 2.16.840.1.101.3.4.3.17 (RFC 9881) */
  mlDsa44: '608648016503040311',
  mlDsa65: '608648016503040312',
  mlDsa87: '608648016503040313',
} as const;

export const CurveOid = {
  /** 1.2.840.10045.3.1.7 */
  secp256r1: '2a8648ce3d030107',
  /** 1.3.132.0.34 */
  secp384r1: '2b81040022',
} as const;

type Row = Omit<SignatureSchemeInfo, 'postQuantum'>;

function ecdsa(codePoint: SignatureScheme, name: string, hash: 'sha256' | 'sha384', curveOid: string): Row {
  return { codePoint, name, algorithm: { type: 'ecdsa', hash }, keyOid: KeyOid.ecPublicKey, curveOid };
}

function rsaPss(codePoint: SignatureScheme, name: string, hash: 'sha256' | 'sha384' | 'sha512', keyOid: string): Row {
  return { codePoint, name, algorithm: { type: 'rsa-pss', hash }, keyOid };
}

function mlDsa(codePoint: SignatureScheme, name: string, parameters: MlDsaParameterSet, keyOid: string): Row {
  return { codePoint, name, algorithm: { type: 'ml-dsa', parameters }, keyOid };
}

const rows: readonly Row[] = [
  mlDsa(SignatureScheme.mlDsa65, 'mldsa65', 'ml-dsa-65', KeyOid.mlDsa65),
  mlDsa(SignatureScheme.mlDsa87, 'mldsa87', 'ml-dsa-87', KeyOid.mlDsa87),
  mlDsa(SignatureScheme.mlDsa44, 'mldsa44', 'ml-dsa-44', KeyOid.mlDsa44),
  ecdsa(SignatureScheme.ecdsaSecp256r1Sha256, 'ecdsa_secp256r1_sha256', 'sha256', CurveOid.secp256r1),
  ecdsa(SignatureScheme.ecdsaSecp384r1Sha384, 'ecdsa_secp384r1_sha384', 'sha384', CurveOid.secp384r1),
  {
    codePoint: SignatureScheme.ed25519,
    name: 'ed25519',
    algorithm: { type: 'ed25519' },
    keyOid: KeyOid.ed25519,
  },
  rsaPss(SignatureScheme.rsaPssRsaeSha256, 'rsa_pss_rsae_sha256', 'sha256', KeyOid.rsaEncryption),
  rsaPss(SignatureScheme.rsaPssRsaeSha384, 'rsa_pss_rsae_sha384', 'sha384', KeyOid.rsaEncryption),
  rsaPss(SignatureScheme.rsaPssRsaeSha512, 'rsa_pss_rsae_sha512', 'sha512', KeyOid.rsaEncryption),
  rsaPss(SignatureScheme.rsaPssPssSha256, 'rsa_pss_pss_sha256', 'sha256', KeyOid.rsassaPss),
  rsaPss(SignatureScheme.rsaPssPssSha384, 'rsa_pss_pss_sha384', 'sha384', KeyOid.rsassaPss),
  rsaPss(SignatureScheme.rsaPssPssSha512, 'rsa_pss_pss_sha512', 'sha512', KeyOid.rsassaPss),
];

/** Every scheme we make and verify, in our order of preference. */
export const signatureSchemes: readonly SignatureSchemeInfo[] = rows.map((row) => ({
  ...row,
  postQuantum: row.algorithm.type === 'ml-dsa',
}));

const byCodePoint = new Map<number, SignatureSchemeInfo>(signatureSchemes.map((info) => [info.codePoint, info]));

/** The scheme of a code point, or `undefined` if we don't speak it. */
export function signatureSchemeInfo(codePoint: number): SignatureSchemeInfo | undefined {
  return byCodePoint.get(codePoint);
}
