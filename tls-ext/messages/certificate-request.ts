import { Alert } from '../alert.ts';
import { decodeWhole } from '../bytes/index.ts';
import { TlsError, TlsErrorCode } from '../tls-error.ts';
import {
  decodeExtensionList,
  decodeExtensions,
  defaultCodePoints,
  type Extension,
  type ExtensionCodec,
  type ExtensionCodecs,
  type Extensions,
  encodeExtensions,
} from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';
import { certificateAuthorities, signatureAlgorithms, signatureAlgorithmsCert } from './negotiation-extensions.ts';

export interface CertificateRequestFields {
  readonly statusRequest?: true | undefined;
  readonly signatureAlgorithms: readonly number[];
  readonly signatureAlgorithmsCert?: readonly number[] | undefined;
  readonly certificateAuthorities?: readonly Uint8Array[] | undefined;
}

/** RFC 8446, 4.3.2. */
export interface CertificateRequest {
  readonly certificateRequestContext: Uint8Array;
  readonly extensions: Extensions<CertificateRequestFields>;
}

/** RFC 8446, 4.4.2.1 has it empty here; some servers send a whole CertificateStatusRequest, which is read over. */
const statusRequest: ExtensionCodec<true> = {
  type: ExtensionType.statusRequest,
  decode: (reader) => {
    reader.rest();
    return true;
  },
  encode: () => {},
};

const codecs: ExtensionCodecs<CertificateRequestFields> = {
  statusRequest,
  signatureAlgorithms,
  signatureAlgorithmsCert,
  certificateAuthorities,
};

export function encodeCertificateRequest(request: CertificateRequest): Uint8Array {
  return encodeHandshake(HandshakeType.certificateRequest, (writer) => {
    writer.vector(1, request.certificateRequestContext);
    encodeExtensions(writer, request.extensions, codecs, defaultCodePoints);
  });
}

/** Without `signature_algorithms` it is a `missing_extension`. */
export function decodeCertificateRequest(
  body: Uint8Array,
): CertificateRequest & { readonly extensionList: readonly Extension[] } {
  return decodeWhole(body, (reader) => {
    const certificateRequestContext = reader.vector(1);
    const extensionList = decodeExtensionList(reader);
    const extensions = decodeExtensions(extensionList, 'CR', codecs, defaultCodePoints);
    if (extensions.signatureAlgorithms === undefined) {
      throw new TlsError(
        TlsErrorCode.missingExtension,
        Alert.missingExtension,
        'CertificateRequest without signature_algorithms',
      );
    }
    return { certificateRequestContext, extensions, extensionList };
  });
}
