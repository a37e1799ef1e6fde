/** PEM blocks (RFC 7468), bounded. */
import { CertError, CertErrorCode } from './errors.ts';

/** Largest PEM text that is read: a bundle of CAs, not a database of them. */
const MAX_PEM_LENGTH = 1024 * 1024;
/** Most certificates in one PEM text. */
const MAX_PEM_CERTIFICATES = 256;

const BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;

/**
 * DER of each certificate of a PEM text, in order; text between blocks is skipped.
 *
 * @throws CertError `ERR_CERT_PEM` if there is none, or too much.
 */
export function certificatesOfPem(pem: string): Uint8Array[] {
  if (pem.length > MAX_PEM_LENGTH) {
    throw new CertError(CertErrorCode.pem, `PEM of ${pem.length} characters, at most ${MAX_PEM_LENGTH} are read`);
  }
  const certificates: Uint8Array[] = [];
  for (const [, base64] of pem.matchAll(BLOCK)) {
    if (certificates.length >= MAX_PEM_CERTIFICATES) {
      throw new CertError(CertErrorCode.pem, `more than ${MAX_PEM_CERTIFICATES} certificates in one PEM text`);
    }
    certificates.push(Uint8Array.from(Buffer.from(base64 as string, 'base64')));
  }
  if (certificates.length === 0) {
    const hint = pem.includes('PRIVATE KEY-----') ? ', but a private key' : '';
    throw new CertError(CertErrorCode.pem, `no "BEGIN CERTIFICATE" block found${hint}`);
  }
  return certificates;
}

/** The PEM text of one certificate. */
export function pemOfCertificate(der: Uint8Array): string {
  return pemOf('CERTIFICATE', der);
}

/** The PEM text of a PKCS #8 key. */
export function pemOfPrivateKey(pkcs8: Uint8Array): string {
  return pemOf('PRIVATE KEY', pkcs8);
}

function pemOf(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.length).toString('base64');
  return `-----BEGIN ${label}-----\n${base64.replace(/(.{64})(?=.)/g, '$1\n')}\n-----END ${label}-----\n`;
}
