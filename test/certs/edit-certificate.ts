/** Certificates that no decent CA would issue: parts of a good one replaced, then signed again. */
import { createPrivateKey, sign } from 'node:crypto';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import { AlgorithmIdentifier, Certificate, Extension, Extensions, Name, Time } from '@peculiar/asn1-x509';
import { parseCertificate } from '../../certs/index.ts';

export interface CertificateEdit {
  readonly dropExtensions?: readonly string[];
  readonly addExtensions?: readonly { readonly oid: string; readonly critical: boolean; readonly value: Uint8Array }[];
  readonly notAfterMs?: number;
  /** The subject of this certificate becomes the issuer; the authority key identifier goes. */
  readonly issuerOf?: Uint8Array;
  readonly sha1?: boolean;
  /** Changes the subject after signing. */
  readonly tamperAfterSigning?: boolean;
}

export function editCertificate(der: Uint8Array, issuerKeyPem: string, edit: CertificateEdit): Uint8Array {
  const certificate = AsnConvert.parse(der, Certificate);
  const tbs = certificate.tbsCertificate;
  const drop = [...(edit.dropExtensions ?? []), ...(edit.issuerOf ? ['2.5.29.35'] : [])];
  const added = (edit.addExtensions ?? []).map(
    ({ oid, critical, value }) => new Extension({ extnID: oid, critical, extnValue: new OctetString(value) }),
  );
  tbs.extensions = new Extensions([
    ...[...(tbs.extensions ?? [])].filter((one) => !drop.includes(one.extnID)),
    ...added,
  ]);
  if (edit.notAfterMs !== undefined) tbs.validity.notAfter = new Time(new Date(edit.notAfterMs));
  if (edit.issuerOf !== undefined) tbs.issuer = AsnConvert.parse(parseCertificate(edit.issuerOf).subject, Name);
  if (edit.sha1) {
    tbs.signature = new AlgorithmIdentifier({ algorithm: '1.2.840.10045.4.1' });
    certificate.signatureAlgorithm = tbs.signature;
  }
  const signed = Buffer.from(AsnConvert.serialize(tbs));
  const signature = sign(edit.sha1 ? 'sha1' : 'sha256', signed, createPrivateKey(issuerKeyPem));
  certificate.signatureValue = Uint8Array.from(signature).buffer;
  delete certificate.tbsCertificateRaw;
  if (edit.tamperAfterSigning) tbs.serialNumber = Uint8Array.of(0x42).buffer;
  return new Uint8Array(AsnConvert.serialize(certificate));
}
