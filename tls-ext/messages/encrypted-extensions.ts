import { decodeWhole } from '../bytes/index.ts';
import {
  decodeExtensionList,
  decodeExtensions,
  type Extension,
  type ExtensionCodecs,
  type ExtensionCodePoints,
  type Extensions,
  encodeExtensions,
  flag,
} from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';
import { recordSizeLimit, selectedAlpn, supportedGroups, ticketRequestHint } from './negotiation-extensions.ts';
import { type QkdPskEncryptedExtensions, qkdPskEncryptedExtensions } from './qkd-psk.ts';

export interface EncryptedExtensionsFields {
  /** The server used the name that the client sent. */
  readonly serverName?: true | undefined;
  readonly supportedGroups?: readonly number[] | undefined;
  readonly alpn?: string | undefined;
  readonly recordSizeLimit?: number | undefined;
  readonly earlyData?: true | undefined;
  /** How many tickets the server means to send. */
  readonly ticketRequest?: number | undefined;
  readonly qkdPsk?: QkdPskEncryptedExtensions | undefined;
}

/** RFC 8446, 4.3.1. */
export interface EncryptedExtensions {
  readonly extensions: Extensions<EncryptedExtensionsFields>;
}

const codecs: ExtensionCodecs<EncryptedExtensionsFields> = {
  serverName: flag(ExtensionType.serverName),
  supportedGroups,
  alpn: selectedAlpn,
  recordSizeLimit,
  earlyData: flag(ExtensionType.earlyData),
  ticketRequest: ticketRequestHint,
  qkdPsk: qkdPskEncryptedExtensions,
};

export function encodeEncryptedExtensions(
  { extensions }: EncryptedExtensions,
  codePoints: ExtensionCodePoints,
): Uint8Array {
  return encodeHandshake(HandshakeType.encryptedExtensions, (writer) =>
    encodeExtensions(writer, extensions, codecs, codePoints),
  );
}

export function decodeEncryptedExtensions(
  body: Uint8Array,
  codePoints: ExtensionCodePoints,
): EncryptedExtensions & { readonly extensionList: readonly Extension[] } {
  const extensionList = decodeWhole(body, decodeExtensionList);
  return { extensions: decodeExtensions(extensionList, 'EE', codecs, codePoints), extensionList };
}
