/** Codecs of the extensions that are lists or single values; RFC 9846 ("Extensions") unless said otherwise. */
import { type ByteReader, type ByteWriter, DecodeError, decodeWhole } from '../bytes/index.ts';
import type { TicketRequest } from '../engine-types.ts';
import { decodeCodePoints, type ExtensionCodec, encodeCodePoints, illegalParameter } from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import {
  MAX_ALPN_PROTOCOLS,
  MAX_CERTIFICATE_AUTHORITIES,
  MAX_HOST_NAME_BYTES,
  MAX_NAMED_GROUPS,
  MAX_SIGNATURE_SCHEMES,
  MAX_VERSIONS,
} from './limits.ts';

export const ProtocolVersion = { tls12: 0x0303, tls13: 0x0304 } as const;

/** PskKeyExchangeMode: `psk_ke` is never offered or accepted here. */
export const PskKeyExchangeMode = { pskKe: 0, pskDheKe: 1 } as const;

function codePointList(type: ExtensionType, prefixBytes: 1 | 2, maxEntries: number): ExtensionCodec<readonly number[]> {
  return {
    type,
    decode: (reader) => decodeCodePoints(reader, prefixBytes, maxEntries),
    encode: (writer, values) => encodeCodePoints(writer, prefixBytes, values),
  };
}

/** `ProtocolVersion versions<2..254>` of a ClientHello. */
export const supportedVersions = codePointList(ExtensionType.supportedVersions, 1, MAX_VERSIONS);
/** `NamedGroup named_group_list<2..2^16-1>`. */
export const supportedGroups = codePointList(ExtensionType.supportedGroups, 2, MAX_NAMED_GROUPS);
/** `SignatureScheme supported_signature_algorithms<2..2^16-2>`. */
export const signatureAlgorithms = codePointList(ExtensionType.signatureAlgorithms, 2, MAX_SIGNATURE_SCHEMES);
export const signatureAlgorithmsCert = codePointList(ExtensionType.signatureAlgorithmsCert, 2, MAX_SIGNATURE_SCHEMES);

/** `ProtocolVersion selected_version` of ServerHello and HelloRetryRequest. */
export const selectedVersion: ExtensionCodec<number> = {
  type: ExtensionType.supportedVersions,
  decode: (reader) => reader.u16(),
  encode: (writer, version) => writer.u16(version),
};

/** `PskKeyExchangeMode ke_modes<1..255>`. */
export const pskKeyExchangeModes: ExtensionCodec<readonly number[]> = {
  type: ExtensionType.pskKeyExchangeModes,
  decode: (reader) => [...reader.vector(1, 1)],
  encode: (writer, modes) => writer.vector(1, Uint8Array.from(modes)),
};

/** `opaque cookie<1..2^16-1>`. */
export const cookie: ExtensionCodec<Uint8Array> = {
  type: ExtensionType.cookie,
  decode: (reader) => reader.vector(2, 1),
  encode: (writer, value) => writer.vector(2, value),
};

/** RFC 8449, 4. Less than 64 is forbidden; the upper bound depends on the version and is checked where it is known. */
export const recordSizeLimit: ExtensionCodec<number> = {
  type: ExtensionType.recordSizeLimit,
  decode: (reader) => {
    const limit = reader.u16();
    if (limit < 64) throw illegalParameter(`record_size_limit of ${limit}`);
    return limit;
  },
  encode: (writer, limit) => writer.u16(limit),
};

/** RFC 6066, 3: a ServerNameList with one host name. In EncryptedExtensions it is empty (`flag`). */
export const serverName: ExtensionCodec<string> = {
  type: ExtensionType.serverName,
  decode: (reader) =>
    decodeWhole(reader.vector(2, 1), (list) => {
      if (list.u8() !== NAME_TYPE_HOST_NAME) throw new DecodeError('server_name of an unknown type');
      const name = list.vector(2, 1, MAX_HOST_NAME_BYTES);
      if (name.some((byte) => byte <= 0x20 || byte >= 0x7f)) throw illegalParameter('server_name is not ASCII');
      return latin1(name);
    }),
  encode: (writer, name) => writer.vector(2, () => writer.u8(NAME_TYPE_HOST_NAME).vector(2, fromLatin1(name))),
};
const NAME_TYPE_HOST_NAME = 0;

/** RFC 7301, 3.1: `ProtocolName protocol_name_list<2..2^16-1>`; one character of text stands for one byte. */
export const alpn: ExtensionCodec<readonly string[]> = {
  type: ExtensionType.alpn,
  decode: (reader) => decodeProtocolNames(reader),
  encode: (writer, names) => encodeProtocolNames(writer, names),
};

/** The server's answer in EncryptedExtensions: the same list with exactly one name. */
export const selectedAlpn: ExtensionCodec<string> = {
  type: ExtensionType.alpn,
  decode: (reader) => {
    const [name, ...others] = decodeProtocolNames(reader);
    if (name === undefined || others.length > 0) throw illegalParameter('the server selected more than one protocol');
    return name;
  },
  encode: (writer, name) => encodeProtocolNames(writer, [name]),
};

function decodeProtocolNames(reader: ByteReader): string[] {
  return decodeWhole(reader.vector(2, 2), (list) => {
    const names: string[] = [];
    while (list.remaining > 0) {
      if (names.length === MAX_ALPN_PROTOCOLS) throw new DecodeError('too many ALPN protocols');
      names.push(latin1(list.vector(1, 1)));
    }
    return names;
  });
}

function encodeProtocolNames(writer: ByteWriter, names: readonly string[]): void {
  writer.vector(2, () => {
    for (const name of names) writer.vector(1, fromLatin1(name));
  });
}

/** `DistinguishedName authorities<3..2^16-1>`, each DER. */
export const certificateAuthorities: ExtensionCodec<readonly Uint8Array[]> = {
  type: ExtensionType.certificateAuthorities,
  decode: (reader) =>
    decodeWhole(reader.vector(2, 3), (list) => {
      const names: Uint8Array[] = [];
      while (list.remaining > 0) {
        if (names.length === MAX_CERTIFICATE_AUTHORITIES) throw new DecodeError('too many certificate authorities');
        names.push(list.vector(2, 1));
      }
      return names;
    }),
  encode: (writer, names) =>
    writer.vector(2, () => {
      for (const name of names) writer.vector(2, name);
    }),
};

const STATUS_TYPE_OCSP = 1;

/** RFC 6066, 8: a CertificateStatusRequest for OCSP without responders or extensions; other status types are not for us. */
export const statusRequest: ExtensionCodec<true> = {
  type: ExtensionType.statusRequest,
  decode: (reader) => {
    if (reader.u8() !== STATUS_TYPE_OCSP) return undefined;
    reader.vector(2);
    reader.vector(2);
    return true;
  },
  encode: (writer) => writer.u8(STATUS_TYPE_OCSP).u16(0).u16(0),
};

/** RFC 8446, 4.4.2.1: the CertificateStatus of a CertificateEntry: an OCSPResponse (DER). */
export const certificateStatus: ExtensionCodec<Uint8Array> = {
  type: ExtensionType.statusRequest,
  decode: (reader) => {
    if (reader.u8() !== STATUS_TYPE_OCSP) throw illegalParameter('certificate status of an unknown type');
    return reader.vector(3, 1);
  },
  encode: (writer, response) => writer.u8(STATUS_TYPE_OCSP).vector(3, response),
};

/** RFC 9149: ClientTicketRequest. */
export const ticketRequest: ExtensionCodec<TicketRequest> = {
  type: ExtensionType.ticketRequest,
  decode: (reader) => ({ newSessionCount: reader.u8(), resumptionCount: reader.u8() }),
  encode: (writer, { newSessionCount, resumptionCount }) => writer.u8(newSessionCount).u8(resumptionCount),
};

/** RFC 9149: `uint8 expected_count` of a ServerTicketRequestHint. */
export const ticketRequestHint: ExtensionCodec<number> = {
  type: ExtensionType.ticketRequest,
  decode: (reader) => reader.u8(),
  encode: (writer, expectedCount) => writer.u8(expectedCount),
};

/** RFC 8446, 4.2.10: `uint32 max_early_data_size` of a NewSessionTicket. */
export const maxEarlyDataSize: ExtensionCodec<number> = {
  type: ExtensionType.earlyData,
  decode: (reader) => reader.u32(),
  encode: (writer, size) => writer.u32(size),
};

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function fromLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => {
    const code = character.charCodeAt(0);
    if (code > 0xff) throw new RangeError('a character outside of one byte');
    return code;
  });
}
