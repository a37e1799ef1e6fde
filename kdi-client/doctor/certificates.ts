/** What certificates say, for the doctor: our own, and the KME's. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { alternativeNames, type KmeTls } from '../kme-tls.ts';

const DAY_MS = 86_400_000;
/** Fewer days left than this deserve to be read. */
export const EXPIRY_WARNING_DAYS = 14;
/** The SAN URI by which qstunnel's own CA names an SAE; the ID behind it is percent-encoded. */
const SAE_URI_PREFIX = 'urn:qstunnel:sae:';
/** More names than this are not shown. */
const MAX_NAMES_SHOWN = 6;

/** A name in a certificate, and the field that holds it. */
export interface CertificateName {
  readonly field: 'CN' | 'serial number' | 'SAN';
  readonly value: string;
}

export interface CertificateFacts {
  readonly names: readonly CertificateName[];
  readonly issuer: string;
  /** Of the DER, in hex: what can be pinned. */
  readonly sha256: string;
  /** Whole days, rounded down; negative after its end. */
  readonly daysLeft: number;
  /** `expired`, `not yet valid` or `valid` at the time that was given. */
  readonly state: 'valid' | 'expired' | 'not yet valid';
}

/** `nowMs`: milliseconds since 1970. */
export function certificateFacts(certificate: X509Certificate, nowMs: number): CertificateFacts {
  const notAfterMs = Date.parse(certificate.validTo);
  const expired = nowMs > notAfterMs ? 'expired' : 'valid';
  return {
    names: namesOf(certificate),
    issuer: oneLine(certificate.issuer),
    sha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    daysLeft: Math.floor((notAfterMs - nowMs) / DAY_MS),
    state: nowMs < Date.parse(certificate.validFrom) ? 'not yet valid' : expired,
  };
}

/** `siteA (SAN), proxy-1 (CN)` */
export function namesText(names: readonly CertificateName[]): string {
  if (names.length === 0) return 'no name';
  const shown = names.slice(0, MAX_NAMES_SHOWN).map(({ field, value }) => `${value} (${field})`);
  return shown.join(', ') + (names.length > MAX_NAMES_SHOWN ? ', …' : '');
}

/** `364 days left`, or how long ago it ended. */
export function expiryText({ state, daysLeft }: CertificateFacts): string {
  switch (state) {
    case 'valid':
      return `${daysLeft} ${daysLeft === 1 ? 'day' : 'days'} left`;
    case 'expired':
      return `expired ${-daysLeft === 1 ? 'less than a day' : `${-daysLeft - 1} days`} ago`;
    case 'not yet valid':
      return 'not valid yet; compare the clocks of both machines';
  }
}

/** What is wrong with our own files before anything is sent; undefined if nothing is. */
export type OwnCredentials =
  | { readonly usable: true; readonly facts: CertificateFacts; readonly caNames: string }
  | { readonly usable: false; readonly problem: string };

/** `options`: what the names of the options for these files begin with, `--` or `--peer-`. */
export function readOwnCredentials(tls: KmeTls, nowMs: number, options: string): OwnCredentials {
  const bad = (problem: string): OwnCredentials => ({ usable: false, problem });
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(tls.cert);
  } catch {
    return bad(`the file of ${options}cert holds no PEM certificate; are ${options}cert and ${options}key swapped?`);
  }
  let key: ReturnType<typeof createPrivateKey>;
  try {
    key = createPrivateKey(typeof tls.key === 'string' ? tls.key : { key: tls.key as Buffer });
  } catch {
    return bad(`the file of ${options}key holds no unencrypted PEM private key`);
  }
  if (!belongsTo(key, certificate)) {
    return bad(
      `the private key of ${options}key does not belong to the certificate of ${options}cert; give the two files made together`,
    );
  }
  const cas = [tls.ca].flat() as readonly (string | Uint8Array)[];
  const caNames: string[] = [];
  for (const ca of cas) {
    try {
      caNames.push(oneLine(new X509Certificate(ca).subject));
    } catch {
      return bad(`the file of ${options}ca holds no PEM certificate`);
    }
  }
  return { usable: true, facts: certificateFacts(certificate, nowMs), caNames: caNames.join('; ') };
}

/** Where in the certificate `saeId` stands; undefined if nowhere that is met in the field. */
export function fieldOfSae(names: readonly CertificateName[], saeId: string): string | undefined {
  return names.find(({ value }) => value === saeId || value.endsWith(`/${saeId}`))?.field;
}

function belongsTo(key: ReturnType<typeof createPrivateKey>, certificate: X509Certificate): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch {
    // A key type that this runtime can't compare: TLS will tell.
    return true;
  }
}

function namesOf(certificate: X509Certificate): CertificateName[] {
  const subject = (certificate.subject ?? '').split('\n');
  const valuesOf = (prefix: string) =>
    subject.filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length));
  return [
    ...alternativeNames(certificate.subjectAltName).map(
      (value): CertificateName => ({ field: 'SAN', value: saeOfUri(value) }),
    ),
    ...valuesOf('CN=').map((value): CertificateName => ({ field: 'CN', value })),
    ...valuesOf('serialNumber=').map((value): CertificateName => ({ field: 'serial number', value })),
  ];
}

function saeOfUri(uri: string): string {
  if (!uri.startsWith(SAE_URI_PREFIX)) return uri;
  try {
    return decodeURIComponent(uri.slice(SAE_URI_PREFIX.length));
  } catch {
    return uri;
  }
}

function oneLine(distinguishedName: string): string {
  return distinguishedName.split('\n').join(', ');
}
