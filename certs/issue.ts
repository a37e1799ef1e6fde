/**
 * A small CA: ECDSA P-256 or ML-DSA certificates for the parts of a QKD-secured network,
 * for labs, demos and sites that have no PKI of their own. RFC 5280 profiles;
 * docs/certificates.md shows them. The ASN.1 library is loaded when the first
 * certificate is made, since proxies never make one.
 */
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { bytesEqual } from '../tls-ext/bytes/index.ts';
import { parseCertificate } from './certificate.ts';
import { DerReader, DerTag, derOctetAlignedBits } from './der.ts';
import { CertError, CertErrorCode } from './errors.ts';
import { type PrivateKey, readPrivateKey } from './identity.ts';
import { generateMlDsaKey, type MlDsaName, mlDsaPrivateKey } from './ml-dsa.ts';
import { certificatesOfPem, pemOfCertificate, pemOfPrivateKey } from './pem.ts';
import { isSaeId, SAE_ID_SYNTAX, saeIdToUri } from './sae-id.ts';

const DAY_MS = 86_400_000;
/** Certificates are valid from a little before they are made, for peers whose clock is behind. */
const BACKDATE_MS = 5 * 60_000;
const MAX_VALIDITY_DAYS = 36_500;
const MAX_COMMON_NAME_LENGTH = 64;

/** A certificate (for an intermediate CA's leaf: with the CA below the root after it) and its PKCS #8 key. */
export interface Credential {
  readonly certPem: string;
  readonly keyPem: string;
}

/** What a leaf is for. `kme`: key managers (TLS server and client). `sae`: applications that fetch keys (TLS client). `proxy`: both ends of tunnels (server and client). */
export type LeafProfile = 'kme' | 'sae' | 'proxy';

const PROFILE_PURPOSES: Readonly<Record<LeafProfile, readonly string[]>> = {
  kme: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
  sae: ['1.3.6.1.5.5.7.3.2'],
  proxy: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
};

/** The period of a certificate. */
export interface ValidityOptions {
  /** The present, in milliseconds since the epoch. */
  readonly nowMs: number;
  /** First moment of validity, in milliseconds since the epoch; default five minutes before `nowMs`. */
  readonly notBeforeMs?: number;
  /** From `nowMs` (or a given `notBeforeMs`) on. */
  readonly validityDays?: number;
}

/** What a new key is. */
export type KeyAlgorithm = 'ECDSA P-256' | MlDsaName;

export interface CaOptions extends ValidityOptions {
  readonly commonName: string;
  /** Default `ECDSA P-256`. */
  readonly algorithm?: KeyAlgorithm;
  /** CAs that may stand below this one; default 0 (leaves only). */
  readonly pathLength?: number;
  /** Makes an intermediate CA under this one. */
  readonly issuer?: Credential;
}

export interface LeafOptions extends ValidityOptions {
  readonly commonName: string;
  /** Default `ECDSA P-256`. */
  readonly algorithm?: KeyAlgorithm;
  /** SAE IDs that the holder may act as; required for `sae` and `proxy`. */
  readonly saeIds?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

/** Default lifetimes: ten years for a CA, a year for a leaf. */
export const DEFAULT_CA_VALIDITY_DAYS = 3650;
export const DEFAULT_LEAF_VALIDITY_DAYS = 365;

/**
 * Makes a CA with a new key.
 *
 * @throws CertError `ERR_CERT_REQUEST` for a request that can't be met.
 */
export async function createCa(options: CaOptions): Promise<Credential> {
  const { issuer, pathLength = 0 } = options;
  if (!Number.isInteger(pathLength) || pathLength < 0 || pathLength > 7) throw badRequest('pathLength is 0 to 7');
  const credential = await makeCertificate(options, issuer, DEFAULT_CA_VALIDITY_DAYS, (x509) => [
    x509.extension(
      x509.id_ce_basicConstraints,
      true,
      new x509.BasicConstraints({ cA: true, pathLenConstraint: pathLength }),
    ),
    x509.extension(
      x509.id_ce_keyUsage,
      true,
      new x509.KeyUsage(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign),
    ),
  ]);
  return issuer === undefined ? credential : { ...credential, certPem: credential.certPem + issuer.certPem };
}

/**
 * Makes a leaf with a new key under `ca`. It never outlives its CA. Under an
 * intermediate CA, `certPem` holds the chain up to the CA below the root.
 *
 * @throws CertError `ERR_CERT_REQUEST` for a request that can't be met, `ERR_CERT_PEM` and its like for a bad CA.
 */
export async function issueLeaf(ca: Credential, profile: LeafProfile, options: LeafOptions): Promise<Credential> {
  const { saeIds = [], dnsNames = [], ipAddresses = [] } = options;
  if (profile !== 'kme' && saeIds.length === 0) throw badRequest(`a certificate for a ${profile} needs an SAE ID`);
  for (const saeId of saeIds) if (!isSaeId(saeId)) throw badRequest(`not an SAE ID (${SAE_ID_SYNTAX})`);
  for (const name of dnsNames) if (!isDnsName(name)) throw badRequest(`not a DNS name: ${JSON.stringify(name)}`);
  for (const ip of ipAddresses) if (isIP(ip) === 0) throw badRequest(`not an IP address: ${JSON.stringify(ip)}`);
  const credential = await makeCertificate(options, ca, DEFAULT_LEAF_VALIDITY_DAYS, (x509) => {
    const names = [
      ...saeIds.map((saeId) => new x509.GeneralName({ uniformResourceIdentifier: saeIdToUri(saeId) })),
      ...dnsNames.map((dNSName) => new x509.GeneralName({ dNSName })),
      ...ipAddresses.map((iPAddress) => new x509.GeneralName({ iPAddress })),
    ];
    const extensions = [
      x509.extension(x509.id_ce_basicConstraints, true, new x509.BasicConstraints({ cA: false })),
      x509.extension(x509.id_ce_keyUsage, true, new x509.KeyUsage(x509.KeyUsageFlags.digitalSignature)),
      x509.extension(x509.id_ce_extKeyUsage, false, new x509.ExtendedKeyUsage([...PROFILE_PURPOSES[profile]])),
    ];
    if (names.length > 0) {
      extensions.push(x509.extension(x509.id_ce_subjectAltName, false, new x509.SubjectAlternativeName(names)));
    }
    return extensions;
  });
  const [issuer, ...above] = certificatesOfPem(ca.certPem) as [Uint8Array, ...Uint8Array[]];
  // Roots are not sent: the peer has its own copy, or does not trust them.
  const chain = [issuer, ...above].filter((der) => !isSelfIssued(der));
  return { ...credential, certPem: credential.certPem + chain.map(pemOfCertificate).join('') };
}

type Asn1X509 = Awaited<ReturnType<typeof loadAsn1>>;

async function loadAsn1() {
  const [{ AsnConvert, OctetString }, x509] = await Promise.all([
    import('@peculiar/asn1-schema'),
    import('@peculiar/asn1-x509'),
  ]);
  const extension = (extnID: string, critical: boolean, value: object) =>
    new x509.Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
  return { ...x509, AsnConvert, extension };
}

async function makeCertificate(
  options: ValidityOptions & { readonly commonName: string; readonly algorithm?: KeyAlgorithm },
  ca: Credential | undefined,
  defaultDays: number,
  extensionsOf: (x509: Asn1X509) => InstanceType<Asn1X509['Extension']>[],
): Promise<Credential> {
  const x509 = await loadAsn1();
  if (!isCommonName(options.commonName)) {
    throw badRequest(`a common name has 1 to ${MAX_COMMON_NAME_LENGTH} printable characters`);
  }
  const own = issuingKey(readPrivateKey(newKeyPem(options.algorithm ?? 'ECDSA P-256')));
  const { spki } = own;
  const subject = commonNameOnly(x509, options.commonName);
  const issuer: Issuer = ca === undefined ? { name: subject, key: own, keyId: keyId(spki) } : readIssuer(x509, ca);
  const period = validityOf(options, defaultDays, issuer.notAfterMs);
  const signatureAlgorithm = new x509.AlgorithmIdentifier({ algorithm: issuer.key.algorithmOid });
  const tbsCertificate = new x509.TBSCertificate({
    version: x509.Version.v3,
    serialNumber: toArrayBuffer(randomSerial()),
    signature: signatureAlgorithm,
    issuer: issuer.name,
    validity: new x509.Validity(period),
    subject,
    subjectPublicKeyInfo: x509.AsnConvert.parse(spki, x509.SubjectPublicKeyInfo),
    extensions: new x509.Extensions([
      ...extensionsOf(x509),
      x509.extension(x509.id_ce_subjectKeyIdentifier, false, new x509.SubjectKeyIdentifier(keyId(spki))),
      x509.extension(
        x509.id_ce_authorityKeyIdentifier,
        false,
        new x509.AuthorityKeyIdentifier({ keyIdentifier: new x509.KeyIdentifier(issuer.keyId) }),
      ),
    ]),
  });
  const signature = issuer.key.sign(new Uint8Array(x509.AsnConvert.serialize(tbsCertificate)));
  const certificate = new x509.Certificate({
    tbsCertificate,
    signatureAlgorithm,
    signatureValue: toArrayBuffer(signature),
  });
  return {
    certPem: pemOfCertificate(new Uint8Array(x509.AsnConvert.serialize(certificate))),
    keyPem: pemOfPrivateKey(own.pkcs8),
  };
}

/** A private key that signs certificates. */
interface IssuingKey {
  readonly pkcs8: Uint8Array;
  readonly spki: Uint8Array;
  /** Of the signatures that it makes. */
  readonly algorithmOid: string;
  sign(content: Uint8Array): Uint8Array;
}

function newKeyPem(algorithm: KeyAlgorithm): string {
  if (algorithm !== 'ECDSA P-256') return pemOfPrivateKey(generateMlDsaKey(algorithm));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
}

function issuingKey({ pkcs8, publicKeySpki: spki }: PrivateKey): IssuingKey {
  const mlDsa = mlDsaPrivateKey(pkcs8);
  if (mlDsa !== undefined) return { pkcs8, spki, algorithmOid: mlDsa.oid, sign: mlDsa.sign };
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  if (key.asymmetricKeyType !== 'ec') throw badRequest('only CAs with an EC or ML-DSA key can issue here');
  const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
  return { pkcs8, spki, algorithmOid: ecdsaWithSha256, sign: (content) => sign('sha256', content, key) };
}

interface Issuer {
  readonly name: InstanceType<Asn1X509['Name']>;
  readonly key: IssuingKey;
  readonly keyId: ArrayBuffer;
  readonly notAfterMs?: number;
}

function readIssuer(x509: Asn1X509, ca: Credential): Issuer {
  const [der] = certificatesOfPem(ca.certPem) as [Uint8Array, ...Uint8Array[]];
  const certificate = parseCertificate(der);
  if (!certificate.isCa) throw new CertError(CertErrorCode.notCa, `${certificate.subjectText} is not a CA`);
  const key = issuingKey(readPrivateKey(ca.keyPem));
  if (!bytesEqual(key.spki, certificate.publicKeySpki)) {
    throw new CertError(CertErrorCode.keyMismatch, `the key does not belong to the CA ${certificate.subjectText}`);
  }
  return {
    name: x509.AsnConvert.parse(certificate.subject, x509.Name),
    key,
    keyId: certificate.subjectKeyId ? toArrayBuffer(certificate.subjectKeyId) : keyId(certificate.publicKeySpki),
    notAfterMs: certificate.notAfterMs,
  };
}

function validityOf(options: ValidityOptions, defaultDays: number, latestMs: number | undefined) {
  const { nowMs, notBeforeMs, validityDays = defaultDays } = options;
  if (!(validityDays > 0) || validityDays > MAX_VALIDITY_DAYS)
    throw badRequest(`validity is up to ${MAX_VALIDITY_DAYS} days`);
  const notAfterMs = Math.min((notBeforeMs ?? nowMs) + validityDays * DAY_MS, latestMs ?? Number.POSITIVE_INFINITY);
  const fromMs = notBeforeMs ?? nowMs - BACKDATE_MS;
  if (fromMs >= notAfterMs) throw badRequest('the CA expires before the certificate would become valid');
  return { notBefore: new Date(fromMs), notAfter: new Date(notAfterMs) };
}

function commonNameOnly(x509: Asn1X509, commonName: string): InstanceType<Asn1X509['Name']> {
  const value = new x509.AttributeValue({ utf8String: commonName });
  return new x509.Name([
    new x509.RelativeDistinguishedName([new x509.AttributeTypeAndValue({ type: '2.5.4.3', value })]),
  ]);
}

/** 127 random bits, positive and of fixed length (RFC 5280, 4.1.2.2; at least 64 random bits are common rule). */
function randomSerial(): Uint8Array {
  const serial = new Uint8Array(randomBytes(16));
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40;
  return serial;
}

/** Method 1 of RFC 7093, 2: the leftmost 160 bits of SHA-256 over the key's bits. */
function keyId(spki: Uint8Array): ArrayBuffer {
  const body = new DerReader(spki).enter(DerTag.sequence);
  body.read(DerTag.sequence);
  const bits = derOctetAlignedBits(body.read(DerTag.bitString).content);
  return toArrayBuffer(createHash('sha256').update(bits).digest().subarray(0, 20));
}

function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

function isSelfIssued(der: Uint8Array): boolean {
  const { issuer, subject } = parseCertificate(der);
  return Buffer.compare(issuer, subject) === 0;
}

function isCommonName(text: string): boolean {
  return text.length >= 1 && text.length <= MAX_COMMON_NAME_LENGTH && !/\p{Cc}/u.test(text);
}

function isDnsName(name: string): boolean {
  return (
    name.length <= 253 &&
    /^(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$/.test(
      name,
    )
  );
}

function badRequest(message: string): CertError {
  return new CertError(CertErrorCode.request, message);
}
