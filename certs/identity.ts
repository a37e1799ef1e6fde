/** Our own side: a certificate chain with its private key, and the CAs that we trust. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { bytesEqual } from '../tls-ext/bytes/index.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { CertError, CertErrorCode } from './errors.ts';
import { MAX_CHAIN_CERTIFICATES } from './limits.ts';
import { mlDsaPrivateKey, mlDsaPublicKey } from './ml-dsa.ts';
import { certificatesOfPem } from './pem.ts';

/** A certificate and the key that belongs to it. */
export interface Identity {
  /** DER, leaf first: what goes into a Certificate message. */
  readonly chainDer: readonly Uint8Array[];
  /** PKCS #8, DER: also of kinds that this runtime's node:crypto does not know. */
  readonly privateKeyPkcs8: Uint8Array;
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
  /**
   * DER names of all of them, each once, for `certificate_authorities` (RFC 9846, "Certificate Authorities").
   * Empty where they are more than a stranger should be sent: a list that lacks some would keep their clients away.
   */
  readonly names: readonly Uint8Array[];
}

/** Most names of CAs that are told to a peer, and bytes of them in total: a site has a few, a system's bundle some 140. */
const MAX_TOLD_NAMES = 64;
const MAX_TOLD_NAMES_BYTES = 4096;
/** A SEQUENCE of nothing: a name that names nobody. */
const EMPTY_NAME_BYTES = 2;

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
  const { pkcs8, publicKeySpki } = readPrivateKey(keyPem);
  if (!bytesEqual(publicKeySpki, canonicalSpki(leaf.publicKeySpki))) {
    throw new CertError(
      CertErrorCode.keyMismatch,
      `the private key does not belong to the certificate of ${leaf.subjectText}`,
    );
  }
  return { chainDer, privateKeyPkcs8: pkcs8, leaf, saeIds: leaf.saeIds };
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
  return { bySubject, certificates, names: toldNames([...bySubject.values()].flatMap(([anchor]) => anchor ?? [])) };
}

function toldNames(anchors: readonly Certificate[]): readonly Uint8Array[] {
  const names = anchors.map(({ subject }) => subject);
  const lengthBytes = names.reduce((sum, name) => sum + name.length, 0);
  const tooMuch = names.length > MAX_TOLD_NAMES || lengthBytes > MAX_TOLD_NAMES_BYTES;
  return tooMuch || names.some((name) => name.length <= EMPTY_NAME_BYTES) ? [] : names;
}

/** The map key of a DER name. */
export function subjectKey(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
}

/** A private key of PEM text, and its public half. */
export interface PrivateKey {
  readonly pkcs8: Uint8Array;
  readonly publicKeySpki: Uint8Array;
}

/**
 * The private key of a PEM text.
 *
 * @throws CertError `ERR_CERT_KEY`. The cause is left out: OpenSSL's text helps nobody, and nothing of a key may reach a log.
 */
export function readPrivateKey(pem: string): PrivateKey {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    throw new CertError(
      CertErrorCode.key,
      'the private key is encrypted with a passphrase; an unencrypted one is needed',
    );
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw new CertError(CertErrorCode.key, 'no "BEGIN PRIVATE KEY" block found');
  }
  const [, base64] = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]*)-----END PRIVATE KEY-----/.exec(pem) ?? [];
  try {
    const pkcs8 = base64 === undefined ? undefined : Uint8Array.from(Buffer.from(base64, 'base64'));
    const mlDsa = pkcs8 && mlDsaPrivateKey(pkcs8);
    if (pkcs8 !== undefined && mlDsa !== undefined) return { pkcs8, publicKeySpki: mlDsa.publicKeySpki };
    const key = createPrivateKey(pem);
    return {
      pkcs8: Uint8Array.from(key.export({ format: 'der', type: 'pkcs8' })),
      publicKeySpki: Uint8Array.from(createPublicKey(key).export({ format: 'der', type: 'spki' })),
    };
  } catch {
    throw new CertError(CertErrorCode.key, 'the private key can not be read');
  }
}

/** A public key in the form that node:crypto writes, so that two can be compared; ML-DSA's has only one form. */
function canonicalSpki(spki: Uint8Array): Uint8Array {
  if (mlDsaPublicKey(spki) !== undefined) return spki;
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    return Uint8Array.from(key.export({ format: 'der', type: 'spki' }));
  } catch (error) {
    throw new CertError(CertErrorCode.unsupported, 'public key of an unsupported type', { cause: error });
  }
}
