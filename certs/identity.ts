/** Our own side: a certificate chain with its private key, and the CAs that we trust. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { type Certificate, parseCertificate } from './certificate.ts';
import { CertError, CertErrorCode } from './errors.ts';
import { MAX_CHAIN_CERTIFICATES } from './limits.ts';
import { certificatesOfPem } from './pem.ts';

/** A certificate and the key that belongs to it. */
export interface Identity {
  /** DER, leaf first: what goes into a Certificate message. */
  readonly chainDer: readonly Uint8Array[];
  readonly privateKey: KeyObject;
  /** The leaf, parsed. */
  readonly leaf: Certificate;
  /** SAE IDs that the leaf names. */
  readonly saeIds: readonly string[];
}

/** The CAs that end a path. */
export interface TrustAnchors {
  /** Anchors by the hex of their DER subject. */
  readonly bySubject: ReadonlyMap<string, readonly Certificate[]>;
  readonly certificates: readonly Certificate[];
}

/**
 * Reads a certificate chain (leaf first) and the private key of the leaf.
 * Whether the chain is valid now is the peer's question, not ours: see
 * `validateChain` to ask it anyway.
 *
 * @throws CertError `ERR_CERT_PEM`, `ERR_CERT_MALFORMED`, `ERR_CERT_TOO_LARGE`, `ERR_CERT_UNSUPPORTED`,
 *   `ERR_CERT_KEY` or `ERR_CERT_KEY_MISMATCH`.
 */
export function loadIdentity(certPem: string, keyPem: string): Identity {
  const chainDer = certificatesOfPem(certPem);
  if (chainDer.length > MAX_CHAIN_CERTIFICATES) {
    throw new CertError(
      CertErrorCode.tooLarge,
      `chain of ${chainDer.length} certificates, at most ${MAX_CHAIN_CERTIFICATES} are sent`,
    );
  }
  const [leaf] = chainDer.map(parseCertificate) as [Certificate, ...Certificate[]];
  const privateKey = readPrivateKey(keyPem);
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const certified = importPublicKey(leaf.publicKeySpki).export({ format: 'der', type: 'spki' });
  if (!publicKey.equals(certified)) {
    throw new CertError(
      CertErrorCode.keyMismatch,
      `the private key does not belong to the certificate of ${leaf.subjectText}`,
    );
  }
  return { chainDer, privateKey, leaf, saeIds: leaf.saeIds };
}

/**
 * Reads the CAs that are trusted: each certificate of the PEM text must be one.
 *
 * @throws CertError `ERR_CERT_PEM`, `ERR_CERT_MALFORMED`, `ERR_CERT_TOO_LARGE`, `ERR_CERT_UNSUPPORTED` or `ERR_CERT_NOT_CA`.
 */
export function loadTrust(caPem: string): TrustAnchors {
  const certificates = certificatesOfPem(caPem).map(parseCertificate);
  const bySubject = new Map<string, Certificate[]>();
  for (const anchor of certificates) {
    if (!anchor.isCa) {
      throw new CertError(CertErrorCode.notCa, `the certificate of ${anchor.subjectText} is not that of a CA`);
    }
    const key = subjectKey(anchor.subject);
    const same = bySubject.get(key);
    if (same === undefined) bySubject.set(key, [anchor]);
    else same.push(anchor);
  }
  return { bySubject, certificates };
}

/** The map key of a DER name. */
export function subjectKey(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
}

function readPrivateKey(pem: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    throw new CertError(
      CertErrorCode.key,
      'the private key is encrypted with a passphrase; an unencrypted one is needed',
    );
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw new CertError(CertErrorCode.key, 'no "BEGIN PRIVATE KEY" block found');
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out: OpenSSL's text helps nobody, and nothing of a key may reach a log.
    throw new CertError(CertErrorCode.key, 'the private key can not be read');
  }
}

function importPublicKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (error) {
    throw new CertError(CertErrorCode.unsupported, 'public key of an unsupported type', { cause: error });
  }
}
