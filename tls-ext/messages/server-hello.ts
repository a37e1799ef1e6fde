import { bytesEqual, decodeWhole, fromHex } from '../bytes/index.ts';
import { MAX_SESSION_ID_BYTES, RANDOM_BYTES } from './client-hello.ts';
import {
  decodeExtensionList,
  decodeExtensions,
  defaultCodePoints,
  type Extension,
  type ExtensionCodecs,
  type Extensions,
  encodeExtensions,
  flag,
  illegalParameter,
  protocolVersion,
} from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';
import { type KeyShareEntry, selectedGroup, serverShare } from './key-share.ts';
import { cookie, ProtocolVersion, selectedVersion } from './negotiation-extensions.ts';
import { selectedIdentity } from './pre-shared-key.ts';

/** SHA-256 of "HelloRetryRequest": the Random that makes a ServerHello one (RFC 8446, 4.1.3). */
const HELLO_RETRY_REQUEST_RANDOM = fromHex('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c');

/** The end of the Random by which a server of TLS 1.3 says that it selected TLS 1.2, or an older one (RFC 9846, "Server Hello"). */
const DOWNGRADE_MARKS = [fromHex('444f574e47524401'), fromHex('444f574e47524400')] as const;

export interface ServerHelloFields {
  readonly supportedVersions?: number | undefined;
  readonly keyShare?: KeyShareEntry | undefined;
  readonly preSharedKey?: number | undefined;
  readonly certWithExternPsk?: true | undefined;
}

export interface HelloRetryRequestFields {
  readonly supportedVersions?: number | undefined;
  readonly keyShare?: number | undefined;
  readonly cookie?: Uint8Array | undefined;
}

interface HelloFields {
  readonly legacySessionIdEcho: Uint8Array;
  readonly cipherSuite: number;
}

/** RFC 8446, 4.1.3. */
export interface ServerHello extends HelloFields {
  readonly kind: 'server-hello';
  readonly random: Uint8Array;
  readonly extensions: Extensions<ServerHelloFields>;
}

/** RFC 8446, 4.1.4. */
export interface HelloRetryRequest extends HelloFields {
  readonly kind: 'hello-retry-request';
  readonly extensions: Extensions<HelloRetryRequestFields>;
}

/** A decoded one; `extensionList` in the order of the wire. */
export type ReceivedServerHello = (ServerHello | HelloRetryRequest) & { readonly extensionList: readonly Extension[] };

const serverHelloCodecs: ExtensionCodecs<ServerHelloFields> = {
  supportedVersions: selectedVersion,
  keyShare: serverShare,
  preSharedKey: selectedIdentity,
  certWithExternPsk: flag(ExtensionType.certWithExternPsk),
};

const helloRetryRequestCodecs: ExtensionCodecs<HelloRetryRequestFields> = {
  supportedVersions: selectedVersion,
  keyShare: selectedGroup,
  cookie,
};

export function encodeServerHello(hello: ServerHello | HelloRetryRequest): Uint8Array {
  return encodeHandshake(HandshakeType.serverHello, (writer) => {
    writer.u16(ProtocolVersion.tls12);
    writer.bytes(hello.kind === 'server-hello' ? hello.random : HELLO_RETRY_REQUEST_RANDOM);
    writer.vector(1, hello.legacySessionIdEcho).u16(hello.cipherSuite).u8(0);
    if (hello.kind === 'server-hello') {
      encodeExtensions(writer, hello.extensions, serverHelloCodecs, defaultCodePoints);
    } else {
      encodeExtensions(writer, hello.extensions, helloRetryRequestCodecs, defaultCodePoints);
    }
  });
}

/** Decodes a body. A server that chose another version than TLS 1.3 is `protocol_version`, whatever else it says. */
export function decodeServerHello(body: Uint8Array): ReceivedServerHello {
  return decodeWhole(body, (reader) => {
    const legacyVersion = reader.u16();
    const random = reader.bytes(RANDOM_BYTES);
    const legacySessionIdEcho = reader.vector(1, 0, MAX_SESSION_ID_BYTES);
    const cipherSuite = reader.u16();
    const compressionMethod = reader.u8();
    // Before TLS 1.3 extensions were optional.
    const extensionList = reader.remaining === 0 ? [] : decodeExtensionList(reader);
    expectTls13(extensionList, random);
    // RFC 9846, "Server Hello": supported_versions alone counts, but this is fixed.
    if (legacyVersion !== ProtocolVersion.tls12) throw protocolVersion('ServerHello with another legacy_version');
    if (compressionMethod !== 0) throw illegalParameter('legacy_compression_method other than null');
    const fields = { legacySessionIdEcho, cipherSuite, extensionList };
    if (bytesEqual(random, HELLO_RETRY_REQUEST_RANDOM)) {
      const extensions = decodeExtensions(extensionList, 'HRR', helloRetryRequestCodecs, defaultCodePoints);
      return { kind: 'hello-retry-request', ...fields, extensions };
    }
    const extensions = decodeExtensions(extensionList, 'SH', serverHelloCodecs, defaultCodePoints);
    return { kind: 'server-hello', random, ...fields, extensions };
  });
}

function expectTls13(extensionList: readonly Extension[], random: Uint8Array): void {
  const extension = extensionList.find(({ type }) => type === ExtensionType.supportedVersions);
  if (extension === undefined) {
    const mark = random.subarray(-DOWNGRADE_MARKS[0].length);
    if (DOWNGRADE_MARKS.some((downgrade) => bytesEqual(mark, downgrade))) {
      throw illegalParameter('a server that speaks TLS 1.3 was made to select an older version');
    }
    throw protocolVersion('the server does not speak TLS 1.3');
  }
  const version = decodeWhole(extension.data, (reader) => reader.u16());
  if (version !== ProtocolVersion.tls13) throw illegalParameter('the server selected a version that was not offered');
}
