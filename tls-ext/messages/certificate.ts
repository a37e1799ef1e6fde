import { type ByteReader, DecodeError, decodeWhole } from '../bytes/index.ts';
import {
  decodeExtensionList,
  decodeExtensions,
  defaultCodePoints,
  type Extension,
  type ExtensionCodecs,
  type Extensions,
  encodeExtensions,
} from './extension-block.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';
import { MAX_CERTIFICATES } from './limits.ts';
import { certificateStatus } from './negotiation-extensions.ts';

export interface CertificateEntryFields {
  /** An OCSPResponse, DER. */
  readonly statusRequest?: Uint8Array | undefined;
}

/** RFC 8446, 4.4.2. `certData` is a DER certificate, perhaps a view of the message. */
export interface CertificateEntry {
  readonly certData: Uint8Array;
  readonly extensions: Extensions<CertificateEntryFields>;
}

export interface Certificate {
  readonly certificateRequestContext: Uint8Array;
  readonly certificateList: readonly CertificateEntry[];
}

export type ReceivedCertificateEntry = CertificateEntry & { readonly extensionList: readonly Extension[] };

const codecs: ExtensionCodecs<CertificateEntryFields> = { statusRequest: certificateStatus };

export function encodeCertificate({ certificateRequestContext, certificateList }: Certificate): Uint8Array {
  return encodeHandshake(HandshakeType.certificate, (writer) => {
    writer.vector(1, certificateRequestContext).vector(3, () => {
      for (const { certData, extensions } of certificateList) {
        writer.vector(3, certData);
        encodeExtensions(writer, extensions, codecs, defaultCodePoints);
      }
    });
  });
}

export function decodeCertificate(
  body: Uint8Array,
): Certificate & { readonly certificateList: readonly ReceivedCertificateEntry[] } {
  return decodeWhole(body, (reader) => ({
    certificateRequestContext: reader.vector(1),
    certificateList: decodeWhole(reader.vector(3), (list) => {
      const entries: ReceivedCertificateEntry[] = [];
      while (list.remaining > 0) {
        if (entries.length === MAX_CERTIFICATES) throw new DecodeError(`more than ${MAX_CERTIFICATES} certificates`);
        entries.push(decodeEntry(list));
      }
      return entries;
    }),
  }));
}

function decodeEntry(reader: ByteReader): ReceivedCertificateEntry {
  const certData = reader.vector(3, 1);
  const extensionList = decodeExtensionList(reader);
  return { certData, extensions: decodeExtensions(extensionList, 'CT', codecs, defaultCodePoints), extensionList };
}
