/**
 * What has been found out about certificates that were believed once: parsed
 * forms, public keys and good signatures, none of which ever changes. A peer
 * that connects again and again then costs a hash for each certificate instead
 * of a parse and a signature check. Time, names and purposes are judged anew
 * each time, and so is who the anchors are.
 *
 * Only certificates of a path that was accepted are kept, so that strangers
 * can neither fill it nor push anybody out of it.
 */
import { createHash } from 'node:crypto';
import { type Certificate, parseCertificate } from './certificate.ts';
import type { CertifiedKey } from './signature.ts';

/** Most certificates that are remembered; the one that was used longest ago goes first. */
const MAX_KNOWN_CERTIFICATES = 512;

const known = new Map<string, Certificate>();
const publicKeys = new WeakMap<Certificate, CertifiedKey>();
/** Issuers whose signature on a certificate was good. */
const signers = new WeakMap<Certificate, WeakSet<Certificate>>();

/** The certificate of these bytes, parsed now or earlier. Throws what `parseCertificate` throws. */
export function recallCertificate(der: Uint8Array): Certificate {
  return known.size === 0 ? parseCertificate(der) : (known.get(digestOf(der)) ?? parseCertificate(der));
}

/** Keeps the certificates of an accepted path, as copies: their bytes were borrowed from a message. */
export function rememberPath(path: readonly Certificate[], anchor: Certificate): void {
  let issuer = anchor;
  for (const certificate of [...path].reverse()) {
    const digest = digestOf(certificate.der);
    const kept = known.get(digest) ?? parseCertificate(certificate.der.slice());
    known.delete(digest);
    known.set(digest, kept);
    const signedBy = signers.get(kept) ?? new WeakSet();
    signers.set(kept, signedBy.add(issuer));
    issuer = kept;
  }
  for (const [oldest] of known) {
    if (known.size <= MAX_KNOWN_CERTIFICATES) return;
    known.delete(oldest);
  }
}

/** Whether `issuer`, this very object, is known to have signed `certificate`. */
export function isKnownSigner(certificate: Certificate, issuer: Certificate): boolean {
  return signers.get(certificate)?.has(issuer) ?? false;
}

/** The key of a certificate, imported by `importKey` the first time; `undefined`, which is not kept, if that can't. */
export function publicKeyOf(
  certificate: Certificate,
  importKey: (spki: Uint8Array) => CertifiedKey | undefined,
): CertifiedKey | undefined {
  const imported = publicKeys.get(certificate) ?? importKey(certificate.publicKeySpki);
  if (imported !== undefined) publicKeys.set(certificate, imported);
  return imported;
}

function digestOf(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('base64');
}
