/** An X.509 v3 certificate as data (RFC 5280, 4): parsed once, strictly, before anything is believed. */

import { bytesEqual } from '../tls-ext/bytes/index.ts';
import {
  checkInteger,
  DerError,
  DerReader,
  DerTag,
  derBoolean,
  derNamedBits,
  derOctetAlignedBits,
  derOid,
  derSmallInteger,
  derTimeMs,
  latin1,
} from './der.ts';
import { distinguishedNameText } from './distinguished-name.ts';
import { CertError, CertErrorCode } from './errors.ts';
import { MAX_CERTIFICATE_BYTES } from './limits.ts';
import { saeIdFromUri } from './sae-id.ts';

/** Most extensions in a certificate, and most names in a subject alternative name. */
const MAX_EXTENSIONS = 32;
const MAX_ALTERNATIVE_NAMES = 64;

/** Bits of KeyUsage (RFC 5280, 4.2.1.3). */
export const KeyUsageBit = { digitalSignature: 1 << 0, keyCertSign: 1 << 5 } as const;

/** A parsed certificate. Byte fields are views of `der`; all else is plain data. */
export interface Certificate {
  /** The whole encoding. */
  readonly der: Uint8Array;
  /** What the issuer signed. */
  readonly tbs: Uint8Array;
  readonly signatureAlgorithmOid: string;
  /** DER of the algorithm's parameters, empty if absent. */
  readonly signatureParameters: Uint8Array;
  readonly signature: Uint8Array;
  /** DER of the issuer's and subject's names; compared by bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** The subject for people: `CN=…, O=…`, at most 256 printable characters. */
  readonly subjectText: string;
  /** Milliseconds since the epoch; both ends are inside the period. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** DER SubjectPublicKeyInfo. */
  readonly publicKeySpki: Uint8Array;
  readonly isCa: boolean;
  readonly pathLength?: number;
  /** Named bits of KeyUsage; absent = any use. */
  readonly keyUsage?: number;
  /** OIDs of ExtendedKeyUsage; absent = any purpose. */
  readonly extendedKeyUsage?: readonly string[];
  readonly dnsNames: readonly string[];
  /** Addresses as 4 or 16 octets. */
  readonly ipAddresses: readonly Uint8Array[];
  /** SAE IDs of the SAN URIs of the form in sae-id.ts. */
  readonly saeIds: readonly string[];
  readonly subjectKeyId?: Uint8Array;
  readonly authorityKeyId?: Uint8Array;
  /** OIDs of critical extensions that nobody here understands: reasons to refuse (RFC 5280, 4.2). */
  readonly unhandledCritical: readonly string[];
  readonly hasNameConstraints: boolean;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Extensions = Pick<
  Certificate,
  'isCa' | 'dnsNames' | 'ipAddresses' | 'saeIds' | 'unhandledCritical' | 'hasNameConstraints'
> &
  Partial<Pick<Certificate, 'pathLength' | 'keyUsage' | 'extendedKeyUsage' | 'subjectKeyId' | 'authorityKeyId'>>;

/**
 * Parses one certificate. The bytes are borrowed as long as the result lives.
 *
 * @throws CertError `ERR_CERT_MALFORMED`, `ERR_CERT_TOO_LARGE` or `ERR_CERT_UNSUPPORTED` (not version 3).
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) {
    throw new CertError(
      CertErrorCode.tooLarge,
      `certificate of ${der.length} bytes, at most ${MAX_CERTIFICATE_BYTES} are accepted`,
    );
  }
  try {
    return readCertificate(der);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw new CertError(CertErrorCode.malformed, `malformed certificate: ${error.message}`, { cause: error });
  }
}

function readCertificate(der: Uint8Array): Certificate {
  const outer = new DerReader(der);
  const certificate = outer.enter(DerTag.sequence);
  outer.end();
  const tbs = certificate.read(DerTag.sequence);
  const signatureAlgorithm = certificate.read(DerTag.sequence);
  const signature = derOctetAlignedBits(certificate.read(DerTag.bitString).content);
  certificate.end();

  const body = new DerReader(tbs.content);
  const version = body.peekTag() === 0xa0 ? readVersion(body.enter(0xa0)) : 1;
  if (version !== 3) throw new CertError(CertErrorCode.unsupported, `X.509 version ${version}, version 3 is needed`);
  checkInteger(body.read(DerTag.integer).content);
  const innerAlgorithm = body.read(DerTag.sequence);
  // RFC 5280, 4.1.1.2: the signed and the unsigned name of the algorithm must be the same.
  if (!bytesEqual(innerAlgorithm.raw, signatureAlgorithm.raw)) throw new DerError('signature algorithms differ');
  const issuer = body.read(DerTag.sequence).raw;
  const validity = body.enter(DerTag.sequence);
  const notBeforeMs = derTimeMs(validity.read());
  const notAfterMs = derTimeMs(validity.read());
  validity.end();
  const subject = body.read(DerTag.sequence).raw;
  const publicKeySpki = body.read(DerTag.sequence).raw;
  body.readOptional(0x81);
  body.readOptional(0x82);
  const extensions = body.peekTag() === 0xa3 ? readExtensions(body.enter(0xa3)) : NO_EXTENSIONS;
  body.end();

  const algorithm = new DerReader(signatureAlgorithm.content);
  const signatureAlgorithmOid = derOid(algorithm.read(DerTag.oid).content);
  const signatureParameters = algorithm.done ? new Uint8Array(0) : algorithm.read().raw;
  algorithm.end();
  return {
    der,
    tbs: tbs.raw,
    signatureAlgorithmOid,
    signatureParameters,
    signature,
    issuer,
    subject,
    subjectText: distinguishedNameText(subject),
    notBeforeMs,
    notAfterMs,
    publicKeySpki,
    ...extensions,
  };
}

function readVersion(reader: DerReader): number {
  const version = derSmallInteger(reader.read(DerTag.integer).content) + 1;
  reader.end();
  return version;
}

const NO_EXTENSIONS: Extensions = {
  isCa: false,
  dnsNames: [],
  ipAddresses: [],
  saeIds: [],
  unhandledCritical: [],
  hasNameConstraints: false,
};

function readExtensions(wrapper: DerReader): Extensions {
  const list = wrapper.enter(DerTag.sequence);
  wrapper.end();
  const found: Mutable<Extensions> = { ...NO_EXTENSIONS };
  const unhandledCritical: string[] = [];
  const seen = new Set<string>();
  while (!list.done) {
    const extension = list.enter(DerTag.sequence);
    const oid = derOid(extension.read(DerTag.oid).content);
    const flag = extension.readOptional(DerTag.boolean);
    const critical = flag !== undefined && derBoolean(flag.content);
    const value = extension.read(DerTag.octetString).content;
    extension.end();
    if (seen.has(oid)) throw new DerError(`extension ${oid} twice`);
    if (seen.size >= MAX_EXTENSIONS) throw new DerError(`more than ${MAX_EXTENSIONS} extensions`);
    seen.add(oid);
    if (!readExtension(oid, value, found) && critical) unhandledCritical.push(oid);
  }
  return { ...found, unhandledCritical };
}

/** Reads an extension into `found`; false if it is not one that is understood. */
function readExtension(oid: string, value: Uint8Array, found: Mutable<Extensions>): boolean {
  const reader = new DerReader(value);
  switch (oid) {
    case '2.5.29.19': {
      const constraints = reader.enter(DerTag.sequence);
      const isCa = constraints.readOptional(DerTag.boolean);
      const pathLength = constraints.readOptional(DerTag.integer);
      constraints.end();
      found.isCa = isCa !== undefined && derBoolean(isCa.content);
      if (pathLength !== undefined) found.pathLength = derSmallInteger(pathLength.content);
      break;
    }
    case '2.5.29.15':
      found.keyUsage = derNamedBits(reader.read(DerTag.bitString).content);
      break;
    case '2.5.29.37': {
      const purposes = reader.enter(DerTag.sequence);
      const oids: string[] = [];
      while (!purposes.done && oids.length < MAX_EXTENSIONS) oids.push(derOid(purposes.read(DerTag.oid).content));
      purposes.end();
      found.extendedKeyUsage = oids;
      break;
    }
    case '2.5.29.17':
      readAlternativeNames(reader.enter(DerTag.sequence), found);
      break;
    case '2.5.29.14':
      found.subjectKeyId = reader.read(DerTag.octetString).content;
      break;
    case '2.5.29.35': {
      const authority = reader.enter(DerTag.sequence);
      const keyId = authority.readOptional(0x80);
      if (keyId !== undefined) found.authorityKeyId = keyId.content;
      return true;
    }
    case '2.5.29.30':
      found.hasNameConstraints = true;
      return true;
    case '2.5.29.32':
      // Without a required policy, any policy will do, and none has to be read (RFC 5280, 6.1.1 d, e).
      return true;
    default:
      return false;
  }
  reader.end();
  return true;
}

/** GeneralNames (RFC 5280, 4.2.1.6); types that nobody asks about are skipped. */
function readAlternativeNames(names: DerReader, found: Mutable<Extensions>): void {
  const dnsNames: string[] = [];
  const ipAddresses: Uint8Array[] = [];
  const saeIds: string[] = [];
  for (let count = 0; !names.done; count++) {
    if (count >= MAX_ALTERNATIVE_NAMES) throw new DerError(`more than ${MAX_ALTERNATIVE_NAMES} alternative names`);
    const { tag, content } = names.read();
    if (tag === 0x82) dnsNames.push(latin1(content).toLowerCase());
    if (tag === 0x87) {
      if (content.length !== 4 && content.length !== 16) throw new DerError('iPAddress of bad length');
      ipAddresses.push(content);
    }
    if (tag === 0x86) {
      const saeId = saeIdFromUri(latin1(content));
      if (saeId !== undefined) saeIds.push(saeId);
    }
  }
  found.dnsNames = dnsNames;
  found.ipAddresses = ipAddresses;
  found.saeIds = saeIds;
}
