import { type ByteWriter, decodeWhole, encode } from '../bytes/index.ts';
import type { TicketRequest } from '../engine-types.ts';
import {
  decodeCodePoints,
  decodeExtensionList,
  decodeExtensions,
  type Extension,
  type ExtensionCodecs,
  type ExtensionCodePoints,
  type Extensions,
  encodeCodePoints,
  encodeExtensions,
  extensionTypesOf,
  flag,
  illegalParameter,
  protocolVersion,
} from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import { encodeHandshake, HANDSHAKE_HEADER_BYTES, HandshakeType } from './handshake-type.ts';
import { clientShares, type KeyShareEntry } from './key-share.ts';
import { MAX_CIPHER_SUITES } from './limits.ts';
import {
  alpn,
  certificateAuthorities,
  cookie,
  ProtocolVersion,
  pskKeyExchangeModes,
  recordSizeLimit,
  serverName,
  signatureAlgorithms,
  signatureAlgorithmsCert,
  statusRequest,
  supportedGroups,
  supportedVersions,
  ticketRequest,
} from './negotiation-extensions.ts';
import { bindersLengthBytes, type OfferedPsks, offeredPsks } from './pre-shared-key.ts';
import { type QkdPskClientHello, qkdPskClientHello } from './qkd-psk.ts';

export const RANDOM_BYTES = 32;
export const MAX_SESSION_ID_BYTES = 32;

export interface ClientHelloFields {
  readonly serverName?: string | undefined;
  readonly statusRequest?: true | undefined;
  readonly supportedGroups?: readonly number[] | undefined;
  readonly signatureAlgorithms?: readonly number[] | undefined;
  readonly signatureAlgorithmsCert?: readonly number[] | undefined;
  readonly alpn?: readonly string[] | undefined;
  readonly recordSizeLimit?: number | undefined;
  readonly supportedVersions?: readonly number[] | undefined;
  readonly cookie?: Uint8Array | undefined;
  readonly pskKeyExchangeModes?: readonly number[] | undefined;
  readonly certificateAuthorities?: readonly Uint8Array[] | undefined;
  readonly keyShare?: readonly KeyShareEntry[] | undefined;
  readonly earlyData?: true | undefined;
  readonly certWithExternPsk?: true | undefined;
  readonly ticketRequest?: TicketRequest | undefined;
  readonly qkdPsk?: QkdPskClientHello | undefined;
  readonly preSharedKey?: OfferedPsks | undefined;
}

/** RFC 8446, 4.1.2. Arrays of a decoded one may be views of the message. */
export interface ClientHello {
  readonly random: Uint8Array;
  readonly legacySessionId: Uint8Array;
  readonly cipherSuites: readonly number[];
  readonly extensions: Extensions<ClientHelloFields>;
}

/** What only a received ClientHello has. */
export interface ReceivedClientHello extends ClientHello {
  /** Every extension as it came, in its order. */
  readonly extensionList: readonly Extension[];
  /** Bytes of the message (header included) that binders cover: all but the list of binders. */
  readonly truncatedLengthBytes: number;
}

/** `preSharedKey` stands last, as RFC 8446, 4.2.11 wants it. */
const codecs: ExtensionCodecs<ClientHelloFields> = {
  serverName,
  statusRequest,
  supportedGroups,
  signatureAlgorithms,
  signatureAlgorithmsCert,
  alpn,
  recordSizeLimit,
  supportedVersions,
  cookie,
  pskKeyExchangeModes,
  certificateAuthorities,
  keyShare: clientShares,
  earlyData: flag(ExtensionType.earlyData),
  certWithExternPsk: flag(ExtensionType.certWithExternPsk),
  ticketRequest,
  qkdPsk: qkdPskClientHello,
  preSharedKey: offeredPsks,
};

/** The whole message. PSK binders are written as given: `fillBinders` replaces placeholders afterwards. */
export function encodeClientHello(hello: ClientHello, codePoints: ExtensionCodePoints): Uint8Array {
  return encodeHandshake(HandshakeType.clientHello, (writer) => {
    writer.u16(ProtocolVersion.tls12).bytes(hello.random).vector(1, hello.legacySessionId);
    encodeCodePoints(writer, 2, hello.cipherSuites);
    writer.vector(1, Uint8Array.of(0));
    encodeExtensions(writer, hello.extensions, codecs, codePoints);
  });
}

/** Types of the extensions in a ClientHello of ours: what a server may answer to. */
export function clientHelloExtensionTypes(hello: ClientHello, codePoints: ExtensionCodePoints): number[] {
  return extensionTypesOf(hello.extensions, codecs, codePoints);
}

/**
 * Decodes a body. Throws `DecodeError`, or `TlsError` for what the RFC names:
 * `protocol_version` for a client without TLS 1.3, `illegal_parameter` for
 * misplaced or repeated extensions.
 */
export function decodeClientHello(body: Uint8Array, codePoints: ExtensionCodePoints): ReceivedClientHello {
  return decodeWhole(body, (reader) => {
    const legacyVersion = reader.u16();
    const random = reader.bytes(RANDOM_BYTES);
    const legacySessionId = reader.vector(1, 0, MAX_SESSION_ID_BYTES);
    const cipherSuites = decodeCodePoints(reader, 2, MAX_CIPHER_SUITES);
    const compressionMethods = reader.vector(1, 1);
    // Before TLS 1.3 extensions were optional.
    const extensionList = reader.remaining === 0 ? [] : decodeExtensionList(reader);
    expectTls13(extensionList);
    // RFC 9846, "Client Hello": supported_versions alone counts, but this is fixed.
    if (legacyVersion !== ProtocolVersion.tls12) throw protocolVersion('ClientHello with another legacy_version');
    if (compressionMethods.length !== 1 || compressionMethods[0] !== 0) {
      throw illegalParameter('legacy_compression_methods other than null');
    }
    const pskAt = extensionList.findIndex(({ type }) => type === ExtensionType.preSharedKey);
    if (pskAt !== -1 && pskAt !== extensionList.length - 1) {
      throw illegalParameter('pre_shared_key is not the last extension');
    }
    const extensions = decodeExtensions(extensionList, 'CH', codecs, codePoints);
    const bindersBytes = extensions.preSharedKey === undefined ? 0 : bindersLengthBytes(extensions.preSharedKey);
    const truncatedLengthBytes = HANDSHAKE_HEADER_BYTES + body.length - bindersBytes;
    return { random, legacySessionId, cipherSuites, extensions, extensionList, truncatedLengthBytes };
  });
}

/** Looked at before everything else: an old client deserves `protocol_version` and not a complaint about details. */
function expectTls13(extensionList: readonly Extension[]): void {
  const extension = extensionList.find(({ type }) => type === ExtensionType.supportedVersions);
  const versions = extension && decodeWhole(extension.data, (reader) => supportedVersions.decode(reader));
  if (!versions?.includes(ProtocolVersion.tls13)) {
    throw protocolVersion('the client does not offer TLS 1.3');
  }
}

/**
 * What a second ClientHello may change (RFC 8446, 4.1.2). The cookie is checked by itself; of the PSKs a client may
 * drop those that don't fit the suite, and the binders answer for the rest.
 */
const mayChangeAfterRetry: ReadonlySet<number> = new Set([
  ExtensionType.keyShare,
  ExtensionType.earlyData,
  ExtensionType.cookie,
  ExtensionType.preSharedKey,
  ExtensionType.padding,
]);

/**
 * The parts of a ClientHello that HelloRetryRequest must leave alone, as bytes
 * to compare or hash: a server keeps their digest and not the message. Extensions
 * may stand in any order, and wolfSSL changes it in its second ClientHello.
 */
export function clientHelloInvariants(hello: ReceivedClientHello): Uint8Array {
  return encode((writer: ByteWriter) => {
    writer.bytes(hello.random).vector(1, hello.legacySessionId);
    encodeCodePoints(writer, 2, hello.cipherSuites);
    const fixed = hello.extensionList.filter(({ type }) => !mayChangeAfterRetry.has(type));
    for (const { type, data } of fixed.sort((a, b) => a.type - b.type)) writer.u16(type).vector(2, data);
  });
}
