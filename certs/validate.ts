/**
 * Whether to believe a peer's certificate chain (RFC 5280, 6, in the shape
 * that RFC 9525 and our SAE names need). Pure: time and trust are arguments.
 */
import { bytesEqual } from '../tls-ext/bytes/index.ts';
import { type Certificate, KeyUsageBit } from './certificate.ts';
import { CertError, type ChainRejection, REJECTION_CODES } from './errors.ts';
import { certificateNamesHost } from './host-name.ts';
import { subjectKey, type TrustAnchors } from './identity.ts';
import { isKnownSigner, publicKeyOf, recallCertificate, rememberPath } from './known-certificates.ts';
import { MAX_CHAIN_BYTES, MAX_CHAIN_CERTIFICATES } from './limits.ts';
import { checkSignature, supportedPublicKey } from './signature.ts';

/** Signatures that one chain may cost us: each step of the search needs one, so the search ends with them. */
const MAX_SIGNATURE_CHECKS = 16;

const PURPOSE_OIDS = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;
const ANY_PURPOSE_OID = '2.5.29.37.0';

/** What is asked of a chain. */
export interface ChainQuestion {
  /** DER, leaf first, the others in any order, as the peer sent them. */
  readonly chainDer: readonly Uint8Array[];
  readonly trust: TrustAnchors;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
  /** The peer's role: its certificate must be good for it. */
  readonly purpose: 'client' | 'server';
  /** The leaf must name one of these. Absent: the SAE is not asked about; empty: nobody is admitted. */
  readonly expectedSaeIds?: readonly string[];
  /** The leaf must name this host name or IP address. Absent: not asked. */
  readonly verifyHost?: string;
}

/** The answer; `reason` is for the alert, `error` for the log. */
export type ChainVerdict =
  | {
      readonly ok: true;
      /** DER SubjectPublicKeyInfo of the leaf. */
      readonly publicKeySpki: Uint8Array;
      /** All SAE IDs that the leaf names. */
      readonly saeIds: readonly string[];
      readonly subject: string;
      /** When the first certificate of the path expires, in milliseconds since the epoch. */
      readonly notAfterMs: number;
      readonly authentication: Authentication;
    }
  | { readonly ok: false; readonly reason: ChainRejection; readonly error: CertError };

/** By what a peer proves who it is. */
export interface Authentication {
  /** The leaf's key, and those above it that differ: `ECDSA P-256`, `ML-DSA-65 under ECDSA P-384`. */
  readonly algorithm: string;
  /** Every key from the leaf up to the trusted CA is ML-DSA's. */
  readonly postQuantum: boolean;
}

/** Validates a peer's chain. Never throws on what a peer sent. */
export function validateChain(question: ChainQuestion): ChainVerdict {
  try {
    const [leaf, ...intermediates] = parseChain(question.chainDer);
    const { path, anchor } = new PathSearch(intermediates, question).run(leaf);
    checkLeaf(leaf, question);
    rememberPath(path, anchor);
    const notAfterMs = Math.min(anchor.notAfterMs, ...path.map((one) => one.notAfterMs));
    return {
      ok: true,
      publicKeySpki: leaf.publicKeySpki,
      saeIds: leaf.saeIds,
      subject: leaf.subjectText,
      notAfterMs,
      authentication: authenticationOf([...path, anchor]),
    };
  } catch (error) {
    if (error instanceof Rejected) return refusal(error.reason, error.message);
    if (error instanceof CertError) return { ok: false, reason: reasonOf(error), error };
    throw error;
  }
}

/** How a check says no, inside this file only. */
class Rejected extends Error {
  readonly reason: ChainRejection;

  constructor(reason: ChainRejection, message: string) {
    super(message);
    this.reason = reason;
  }
}

function refusal(reason: ChainRejection, message: string): ChainVerdict {
  return { ok: false, reason, error: new CertError(REJECTION_CODES[reason], message) };
}

function reasonOf(error: CertError): ChainRejection {
  const [reason] = Object.entries(REJECTION_CODES).find(([, code]) => code === error.code) ?? ['malformed'];
  return reason as ChainRejection;
}

function parseChain(chainDer: readonly Uint8Array[]): [Certificate, ...Certificate[]] {
  if (chainDer.length === 0) throw new Rejected('empty', 'the peer sent no certificate');
  const bytes = chainDer.reduce((sum, der) => sum + der.length, 0);
  if (chainDer.length > MAX_CHAIN_CERTIFICATES || bytes > MAX_CHAIN_BYTES) {
    throw new Rejected(
      'too-large',
      `chain of ${chainDer.length} certificates and ${bytes} bytes, at most ${MAX_CHAIN_CERTIFICATES} and ${MAX_CHAIN_BYTES} are accepted`,
    );
  }
  return chainDer.map(recallCertificate) as [Certificate, ...Certificate[]];
}

/** From the leaf up to the certificate that the anchor signed. */
interface TrustedPath {
  readonly path: readonly Certificate[];
  readonly anchor: Certificate;
}

/**
 * Depth-first search from the leaf to an anchor. Every step costs a signature
 * check, and those are counted: hostile sets of cross-certificates end early.
 */
class PathSearch {
  readonly #intermediates: readonly Certificate[];
  readonly #question: ChainQuestion;
  #signatureChecksLeft = MAX_SIGNATURE_CHECKS;
  /** The first thing that was wrong with an issuer that was found. */
  #failure: Rejected | undefined;

  constructor(intermediates: readonly Certificate[], question: ChainQuestion) {
    this.#intermediates = intermediates;
    this.#question = question;
  }

  /** Throws `Rejected` if there is no path. */
  run(leaf: Certificate): TrustedPath {
    checkExtensions(leaf);
    const found = this.#extend([leaf]);
    if (found !== undefined) return found;
    throw this.#failure ?? new Rejected('unknown-ca', `no trusted CA issued the certificate of ${leaf.subjectText}`);
  }

  #extend(path: readonly Certificate[]): TrustedPath | undefined {
    const last = path[path.length - 1] as Certificate;
    const anchors = this.#question.trust.bySubject.get(subjectKey(last.issuer)) ?? [];
    for (const anchor of anchors) {
      if (this.#isIssuer(anchor, path)) return { path, anchor };
    }
    for (const candidate of this.#intermediates) {
      if (path.includes(candidate) || subjectKey(candidate.subject) !== subjectKey(last.issuer)) continue;
      if (!this.#isIssuer(candidate, path)) continue;
      const found = this.#extend([...path, candidate]);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #isIssuer(issuer: Certificate, path: readonly Certificate[]): boolean {
    const last = path[path.length - 1] as Certificate;
    // Two CAs of one name, such as an old and a new one: the key identifier tells them apart (RFC 5280, 4.2.1.1).
    if (last.authorityKeyId && issuer.subjectKeyId && !bytesEqual(last.authorityKeyId, issuer.subjectKeyId))
      return false;
    try {
      checkIssuer(issuer, path, this.#question);
      this.#checkSignature(last, issuer);
      return true;
    } catch (error) {
      if (!(error instanceof Rejected)) throw error;
      this.#failure ??= error;
      return false;
    }
  }

  #checkSignature(certificate: Certificate, issuer: Certificate): void {
    if (isKnownSigner(certificate, issuer)) return;
    if (this.#signatureChecksLeft === 0) {
      throw new Rejected('too-large', `no path found in ${MAX_SIGNATURE_CHECKS} signature checks`);
    }
    this.#signatureChecksLeft -= 1;
    switch (checkSignature(certificate, issuer)) {
      case 'good':
        return;
      case 'bad':
        throw new Rejected(
          'bad-signature',
          `the key of ${issuer.subjectText} did not sign the certificate of ${certificate.subjectText}`,
        );
      case 'unsupported':
        throw new Rejected(
          'unsupported',
          `unsupported signature algorithm or issuer's key on the certificate of ${certificate.subjectText}`,
        );
    }
  }
}

function authenticationOf(path: readonly Certificate[]): Authentication {
  const keys = path.flatMap((certificate) => publicKeyOf(certificate, supportedPublicKey) ?? []);
  return {
    algorithm: [...new Set(keys.map(({ name }) => name))].join(' under '),
    postQuantum: keys.length === path.length && keys.every(({ postQuantum }) => postQuantum),
  };
}

/** What a certificate must fulfil to stand above `path` (leaf first). */
function checkIssuer(issuer: Certificate, path: readonly Certificate[], question: ChainQuestion): void {
  const name = issuer.subjectText;
  if (!issuer.isCa) throw new Rejected('not-ca', `${name} is not a CA`);
  if (issuer.keyUsage !== undefined && !(issuer.keyUsage & KeyUsageBit.keyCertSign)) {
    throw new Rejected('not-ca', `the key of ${name} may not sign certificates`);
  }
  // RFC 5280, 4.2.1.9: certificates between this one and the leaf; self-issued ones do not count.
  const between = path.slice(1).filter((one) => !bytesEqual(one.issuer, one.subject)).length;
  if (issuer.pathLength !== undefined && between > issuer.pathLength) {
    throw new Rejected('not-ca', `${name} may have ${issuer.pathLength} CAs below it, there are ${between}`);
  }
  checkExtensions(issuer);
  // Not in RFC 5280, but what OpenSSL, NSS and Go do: a CA restricted to other purposes can't vouch for this one.
  checkExtendedKeyUsage(issuer, question.purpose);
  checkValidity(issuer, question.nowMs);
}

function checkLeaf(leaf: Certificate, question: ChainQuestion): void {
  checkValidity(leaf, question.nowMs);
  checkExtendedKeyUsage(leaf, question.purpose);
  if (leaf.keyUsage !== undefined && !(leaf.keyUsage & KeyUsageBit.digitalSignature)) {
    throw new Rejected('wrong-purpose', `the key of ${leaf.subjectText} may not make digital signatures`);
  }
  if (publicKeyOf(leaf, supportedPublicKey) === undefined) {
    throw new Rejected('unsupported', `the key of ${leaf.subjectText} is of an unsupported type or size`);
  }
  const { expectedSaeIds, verifyHost } = question;
  if (expectedSaeIds !== undefined && !leaf.saeIds.some((saeId) => expectedSaeIds.includes(saeId))) {
    const named = leaf.saeIds.length === 0 ? 'no SAE' : `SAE ${leaf.saeIds.slice(0, 4).join(', ')}`;
    throw new Rejected(
      'wrong-sae',
      `the certificate of ${leaf.subjectText} names ${named}, admitted: ${expectedSaeIds.join(', ') || 'nobody'}`,
    );
  }
  if (verifyHost !== undefined && !certificateNamesHost(leaf, verifyHost)) {
    throw new Rejected('wrong-name', `the certificate of ${leaf.subjectText} does not name the host ${verifyHost}`);
  }
}

function checkValidity(certificate: Certificate, nowMs: number): void {
  if (nowMs < certificate.notBeforeMs) {
    throw new Rejected(
      'not-yet-valid',
      `the certificate of ${certificate.subjectText} is valid from ${new Date(certificate.notBeforeMs).toISOString()} on`,
    );
  }
  if (nowMs > certificate.notAfterMs) {
    throw new Rejected(
      'expired',
      `the certificate of ${certificate.subjectText} expired at ${new Date(certificate.notAfterMs).toISOString()}`,
    );
  }
}

function checkExtendedKeyUsage(certificate: Certificate, purpose: 'client' | 'server'): void {
  const allowed = certificate.extendedKeyUsage;
  if (allowed === undefined || allowed.includes(PURPOSE_OIDS[purpose]) || allowed.includes(ANY_PURPOSE_OID)) return;
  throw new Rejected('wrong-purpose', `the certificate of ${certificate.subjectText} is not one for a TLS ${purpose}`);
}

function checkExtensions(certificate: Certificate): void {
  const [oid] = certificate.unhandledCritical;
  if (oid !== undefined) {
    throw new Rejected('unsupported', `critical extension ${oid} in the certificate of ${certificate.subjectText}`);
  }
  // Unchecked constraints would be a promise that nobody keeps.
  if (certificate.hasNameConstraints) {
    throw new Rejected('unsupported', `name constraints in the certificate of ${certificate.subjectText}`);
  }
}
