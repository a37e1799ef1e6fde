/** What the certificates of a peer say, and what a service would think of them. */
import { createHash, createPublicKey } from 'node:crypto';
import {
  CertError,
  type Certificate,
  ipAddressText,
  parseCertificate,
  type TrustAnchors,
  validateChain,
} from '../../certs/index.ts';

const DAY_MS = 86_400_000;

export interface CertificateReport {
  readonly subject: string;
  readonly saeIds: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  /** Whole days; negative once it has expired. */
  readonly daysLeft: number;
  readonly keyAlgorithm: string;
  readonly signatureAlgorithm: string;
  /** Of the DER, in hex. */
  readonly sha256: string;
}

/** Why a certificate can't be shown. */
export interface UnreadableCertificate {
  readonly unreadable: string;
}

export function reportCertificates(
  chain: readonly Uint8Array[],
  nowMs: number,
): (CertificateReport | UnreadableCertificate)[] {
  return chain.map((der) => {
    try {
      return reportOf(parseCertificate(der), nowMs);
    } catch (error) {
      if (!(error instanceof CertError)) throw error;
      return { unreadable: `${error.message} (${error.code})` };
    }
  });
}

function reportOf(certificate: Certificate, nowMs: number): CertificateReport {
  const { notBeforeMs, notAfterMs } = certificate;
  return {
    subject: certificate.subjectText,
    saeIds: certificate.saeIds,
    dnsNames: certificate.dnsNames,
    ipAddresses: certificate.ipAddresses.map(ipAddressText),
    notBefore: new Date(notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
    daysLeft: Math.floor((notAfterMs - nowMs) / DAY_MS),
    keyAlgorithm: keyAlgorithm(certificate.publicKeySpki),
    signatureAlgorithm: SIGNATURE_NAMES[certificate.signatureAlgorithmOid] ?? certificate.signatureAlgorithmOid,
    sha256: createHash('sha256').update(certificate.der).digest('hex'),
  };
}

/** What a service with this `ca` and these `peer-sae` would say. */
export interface TrustReport {
  readonly trusted: boolean;
  readonly why: string;
}

export function reportTrust(
  chainDer: readonly Uint8Array[],
  trust: TrustAnchors,
  expectedSaeIds: readonly string[] | undefined,
  nowMs: number,
): TrustReport {
  const verdict = validateChain({
    chainDer,
    trust,
    nowMs,
    purpose: 'server',
    ...(expectedSaeIds === undefined ? {} : { expectedSaeIds }),
  });
  if (!verdict.ok) return { trusted: false, why: `${verdict.error.message} (${verdict.error.code})` };
  const names = verdict.saeIds.length === 0 ? 'no SAE' : `SAE ${verdict.saeIds.join(', ')}`;
  if (expectedSaeIds === undefined) {
    return verdict.saeIds.length === 0
      ? { trusted: false, why: 'of a trusted CA, but it names no SAE: peer-sae admits nobody without one' }
      : { trusted: true, why: `of a trusted CA, names ${names}` };
  }
  return { trusted: true, why: `of a trusted CA, names ${names}, which is admitted` };
}

const SIGNATURE_NAMES: Readonly<Record<string, string>> = {
  '1.2.840.10045.4.3.2': 'ECDSA with SHA-256',
  '1.2.840.10045.4.3.3': 'ECDSA with SHA-384',
  '1.2.840.10045.4.3.4': 'ECDSA with SHA-512',
  '1.2.840.113549.1.1.5': 'RSA with SHA-1',
  '1.2.840.113549.1.1.11': 'RSA with SHA-256',
  '1.2.840.113549.1.1.12': 'RSA with SHA-384',
  '1.2.840.113549.1.1.13': 'RSA with SHA-512',
  '1.2.840.113549.1.1.10': 'RSA-PSS',
  '1.3.101.112': 'Ed25519',
  '2.16.840.1.101.3.4.3.17': 'ML-DSA-44',
  '2.16.840.1.101.3.4.3.18': 'ML-DSA-65',
  '2.16.840.1.101.3.4.3.19': 'ML-DSA-87',
};

/** DER of the OIDs that this runtime's own parser may not know. */
const ML_DSA_OIDS: readonly (readonly [string, string])[] = [
  ['608648016503040311', 'ML-DSA-44'],
  ['608648016503040312', 'ML-DSA-65'],
  ['608648016503040313', 'ML-DSA-87'],
];

function keyAlgorithm(spki: Uint8Array): string {
  const head = Buffer.from(spki.subarray(0, 32)).toString('hex');
  const mlDsa = ML_DSA_OIDS.find(([oid]) => head.includes(oid));
  if (mlDsa !== undefined) return mlDsa[1];
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
    switch (key.asymmetricKeyType) {
      case 'ec':
        return `ECDSA ${CURVE_NAMES[namedCurve ?? ''] ?? namedCurve}`;
      case 'rsa':
      case 'rsa-pss':
        return `${key.asymmetricKeyType === 'rsa' ? 'RSA' : 'RSA-PSS'} ${modulusLength} bits`;
      case 'ed25519':
        return 'Ed25519';
      default:
        return key.asymmetricKeyType ?? 'unknown';
    }
  } catch {
    return 'unknown';
  }
}

const CURVE_NAMES: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};
