/** A CA and, for each signature scheme, certificates of a server and of a client, in a folder that goes with them. */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  Certificate,
  type Extension,
  id_ce_keyUsage,
  id_ce_subjectKeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  SubjectPublicKeyInfo,
} from '@peculiar/asn1-x509';
import {
  type Credential,
  certificatesOfPem,
  createCa,
  issueLeaf,
  parseCertificate,
  pemOfCertificate,
} from '../../certs/index.ts';
import { encode } from '../../tls-ext/bytes/index.ts';
import {
  type EngineIdentity,
  fromHex,
  hexOf,
  type SignatureScheme,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../../tls-ext/index.ts';

/** A leaf whose key makes one scheme (and, for RSA, its siblings). `identity` signs with that scheme alone. */
export interface LeafCredential {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
  readonly identity: EngineIdentity;
}

interface KeyPair {
  readonly spki: Uint8Array;
  readonly pkcs8: Uint8Array;
}

export class Credentials {
  readonly folder: string;
  readonly caPath: string;
  readonly ca: string;
  /** DER name of the CA. */
  readonly caName: Uint8Array;
  readonly #issuer: Credential;
  /** Names, periods and extensions of every leaf: only its key is replaced. */
  readonly #template: Uint8Array;
  readonly #keys = new Map<string, KeyPair>();
  readonly #leaves = new Map<string, LeafCredential>();

  static async create(): Promise<Credentials> {
    const nowMs = Date.now();
    const issuer = await createCa({ commonName: 'interop CA', nowMs });
    const template = await issueLeaf(issuer, 'kme', {
      commonName: 'localhost',
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
      nowMs,
    });
    return new Credentials(issuer, certificatesOfPem(template.certPem)[0] as Uint8Array);
  }

  private constructor(issuer: Credential, template: Uint8Array) {
    this.folder = mkdtempSync(join(tmpdir(), 'qstunnel-interop-'));
    this.#issuer = issuer;
    this.#template = template;
    this.ca = issuer.certPem;
    this.caName = parseCertificate(template).issuer;
    this.caPath = join(this.folder, 'ca.pem');
    writeFileSync(this.caPath, this.ca);
  }

  /** The certificate whose key makes this scheme (IANA's name). Both roles use it: each end judges the other's. */
  leaf(scheme: string): LeafCredential {
    let leaf = this.#leaves.get(scheme);
    if (leaf === undefined) {
      leaf = this.#issue(scheme);
      this.#leaves.set(scheme, leaf);
    }
    return leaf;
  }

  /** A file of a peer's own, made the first time. Returns its path. */
  file(name: string, contents: string): string {
    return this.made(name, (path) => writeFileSync(path, contents));
  }

  /** The path of a file or folder of a peer's own; `make` is called the first time. */
  made(name: string, make: (path: string) => void): string {
    const path = join(this.folder, name);
    if (!existsSync(path)) make(path);
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #issue(scheme: string): LeafCredential {
    const info = signatureSchemes.find(({ name }) => name === scheme);
    if (info === undefined) throw new Error(`no signature scheme ${scheme}`);
    const keyKind = info.algorithm.type === 'rsa-pss' ? info.keyOid : scheme;
    const pair = this.#keys.get(keyKind) ?? makeKeyPair(scheme);
    this.#keys.set(keyKind, pair);
    const der = this.#certify(pair.spki, info.algorithm.type === 'rsa-pss');
    const cert = pemOfCertificate(der);
    const key = pem('PRIVATE KEY', pair.pkcs8);
    const certPath = join(this.folder, `${scheme}.pem`);
    const keyPath = join(this.folder, `${scheme}.key`);
    writeFileSync(certPath, cert);
    writeFileSync(keyPath, key, { mode: 0o600 });
    const signer = signingKeyFromPkcs8(pair.pkcs8);
    const identity = {
      chain: [der],
      signatureSchemes: [info.codePoint] satisfies SignatureScheme[],
      sign: (codePoint: number, content: Uint8Array) => signer.sign(codePoint, content),
    };
    return { certPath, keyPath, cert, key, identity };
  }

  #certify(spki: Uint8Array, isRsa: boolean): Uint8Array {
    const certificate = AsnConvert.parse(this.#template, Certificate);
    const tbs = certificate.tbsCertificate;
    tbs.subjectPublicKeyInfo = AsnConvert.parse(spki, SubjectPublicKeyInfo);
    tbs.serialNumber = Uint8Array.of(0x40, ...randomBytes(15)).buffer;
    const kept = [...(tbs.extensions ?? [])].filter(({ extnID }) => extnID !== id_ce_subjectKeyIdentifier);
    tbs.extensions?.splice(0, Number.POSITIVE_INFINITY, ...kept);
    // NSS's programs want it of every RSA key, whatever it is used for.
    const usage = KeyUsageFlags.digitalSignature | (isRsa ? KeyUsageFlags.keyEncipherment : 0);
    const keyUsage = kept.find(({ extnID }) => extnID === id_ce_keyUsage) as Extension;
    keyUsage.extnValue = new OctetString(AsnConvert.serialize(new KeyUsage(usage)));
    const issuerKey = createPrivateKey(this.#issuer.keyPem);
    certificate.signatureValue = Uint8Array.from(
      sign('sha256', Buffer.from(AsnConvert.serialize(tbs)), issuerKey),
    ).buffer;
    delete certificate.tbsCertificateRaw;
    return new Uint8Array(AsnConvert.serialize(certificate));
  }
}

function makeKeyPair(scheme: string): KeyPair {
  switch (scheme) {
    case 'ecdsa_secp256r1_sha256':
      return exported(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    case 'ecdsa_secp384r1_sha384':
      return exported(generateKeyPairSync('ec', { namedCurve: 'P-384' }));
    case 'ed25519':
      return exported(generateKeyPairSync('ed25519'));
    case 'mldsa44':
      return mlDsaKeyPair(ml_dsa44, '608648016503040311');
    case 'mldsa65':
      return mlDsaKeyPair(ml_dsa65, '608648016503040312');
    case 'mldsa87':
      return mlDsaKeyPair(ml_dsa87, '608648016503040313');
    default:
      return exported(
        scheme.startsWith('rsa_pss_pss')
          ? generateKeyPairSync('rsa-pss', { modulusLength: 2048 })
          : generateKeyPairSync('rsa', { modulusLength: 2048 }),
      );
  }
}

function exported({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }): KeyPair {
  return {
    spki: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
    pkcs8: new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' })),
  };
}

/** RFC 9881: the private key as seed and expanded key, which every implementation reads. */
function mlDsaKeyPair(dsa: typeof ml_dsa44, oid: string): KeyPair {
  const seed = new Uint8Array(randomBytes(32));
  const { publicKey, secretKey } = dsa.keygen(seed);
  const algorithm = fromHex(`300b0609${oid}`);
  const both = sequence(fromHex(`0420${hexOf(seed)}`), derValue(0x04, secretKey));
  return {
    spki: sequence(algorithm, derValue(0x03, Uint8Array.of(0, ...publicKey))),
    pkcs8: sequence(fromHex('020100'), algorithm, derValue(0x04, both)),
  };
}

function sequence(...values: readonly Uint8Array[]): Uint8Array {
  return derValue(0x30, Uint8Array.from(Buffer.concat(values)));
}

/** For contents of 256 bytes and more. */
function derValue(tag: number, content: Uint8Array): Uint8Array {
  return encode((w) => w.u8(tag).u8(0x82).vector(2, content));
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** SubjectPublicKeyInfo of a leaf that this CA has signed, or `undefined`. Node 20 can't read an ML-DSA key, but its bytes. */
export function publicKeySignedBy(ca: string, leaf: Uint8Array): Uint8Array | undefined {
  if (!new X509Certificate(Buffer.from(leaf)).verify(new X509Certificate(ca).publicKey)) return undefined;
  const { subjectPublicKeyInfo } = AsnConvert.parse(leaf, Certificate).tbsCertificate;
  return new Uint8Array(AsnConvert.serialize(subjectPublicKeyInfo));
}
