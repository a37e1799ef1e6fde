/** Survivors of a client's handshake, with their reasons. */
import type { Explained } from './explained.ts';

const offer: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/client-offer.ts',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the line as it stands
    line: 'if (agreement === undefined) throw new TlsMisuseError(`no key agreement for group ${group}`);',
    replacement: 'false',
    why: 'for the compiler: only groups that the provider has are offered',
  },
  {
    file: 'tls-ext/handshake/client-offer.ts',
    line: "...(auth === 'certificate' && psks.every(({ kind }) => kind !== 'resumption') ? { certWithExternPsk: true } : {}),",
    replacement: "psks.some(({ kind }) => kind !== 'resumption')",
    why: 'the PSKs on offer are of one kind: a ticket never stands beside a key',
  },
];

const clientHandshake: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "rekeyWithoutKey: 'refuse',",
    replacement: '""',
    why: 'only a server answers rekeys',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "...(psk?.kind === 'imported' && options.psk?.kind === 'qkd' ? { reference: options.psk.reference } : {}),",
    replacement: 'true',
    why: 'for the compiler: what is imported is a QKD key',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "...(psk?.kind === 'imported' && options.psk?.kind === 'qkd' ? { reference: options.psk.reference } : {}),",
    replacement: 'options.psk.kind',
    why: 'for the compiler: what is imported is a QKD key',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: 'if (offer.hello.legacySessionId.length > 0) wire.sendChangeCipherSpec();',
    replacement: 'true',
    why: 'a client of ours always has a session ID',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: 'if (offer.hello.legacySessionId.length > 0) wire.sendChangeCipherSpec();',
    replacement: 'offer.hello.legacySessionId.length >= 0',
    why: 'a client of ours always has a session ID',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "if (keyShare.group !== offer.group) throw illegalParameter('the server answered with a share of another group');",
    replacement: 'false',
    why: 'the key agreement refuses a share of another group, with the same alert',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: 'if (alpn !== undefined && !options.alpnProtocols?.includes(alpn)) {',
    replacement: 'options.alpnProtocols.includes',
    why: 'for the compiler: an answer to ALPN that was not sent has been refused',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "if (options.recordSizeLimitBytes !== undefined) wire.limitRecords('receiving', options.recordSizeLimitBytes);",
    replacement: '""',
    why: 'what is not for sending is for receiving',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: 'requestedExtensions: options.requestOcspStaple ? [ExtensionType.statusRequest] : [],',
    replacement: '["Stryker was here"]',
    why: 'a string is no code point, and so no extension that anybody could send',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "context: psk !== undefined && options.psk?.kind === 'qkd' ? options.psk.context : undefined,",
    replacement: 'true',
    why: 'for the compiler: a key of another kind has no such field',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: "context: psk !== undefined && options.psk?.kind === 'qkd' ? options.psk.context : undefined,",
    replacement: 'options.psk.kind',
    why: 'for the compiler: a PSK that was selected was in the options',
  },
  {
    file: 'tls-ext/handshake/client-handshake.ts',
    line: 'if (identity === undefined || scheme === undefined) {',
    replacement: 'false',
    why: 'for the compiler: without an identity there is no scheme',
  },
];

export const client: readonly Explained[] = [...offer, ...clientHandshake];
