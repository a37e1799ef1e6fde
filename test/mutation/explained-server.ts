/** Survivors of a server's handshake, with their reasons. */
import type { Explained } from './explained.ts';

const serverPsk: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/server-psk.ts',
    line: 'const { identities, binders } = hello.extensions.preSharedKey ?? { identities: [], binders: [] };',
    why: 'for the compiler: without pre_shared_key there are no candidates, and a key is refused as misuse before this',
  },
  {
    file: 'tls-ext/handshake/server-psk.ts',
    line: 'return { ...outcome, selected: undefined, qkdResult: undefined, refused: false };',
    replacement: '{}',
    why: 'all that it says is that there is nothing, as fields that are absent do',
  },
  {
    file: 'tls-ext/handshake/server-psk.ts',
    line: 'if (preSharedKey === undefined || !pskKeyExchangeModes?.includes(PskKeyExchangeMode.pskDheKe)) return [];',
    replacement: 'pskKeyExchangeModes.includes',
    why: 'for the compiler: pre_shared_key without psk_key_exchange_modes has been refused by negotiate()',
  },
  {
    file: 'tls-ext/handshake/server-psk.ts',
    line: "reference: psk.kind === 'qkd' ? psk.reference : undefined,",
    replacement: 'true',
    why: 'for the compiler: a key of another kind has no such field',
  },
  {
    file: 'tls-ext/handshake/server-psk.ts',
    line: "context: psk.kind === 'qkd' ? psk.context : undefined,",
    replacement: 'true',
    why: 'for the compiler: a key of another kind has no such field',
  },
];

const serverHandshake: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/server-handshake.ts',
    line: "role: 'server',",
    replacement: '""',
    why: 'where keys change sides the role is compared with client: everything else is a server',
  },
  {
    file: 'tls-ext/handshake/server-handshake.ts',
    line: 'wantsTickets: false,',
    why: 'a server refuses NewSessionTicket before it is asked whether it wants one',
  },
  {
    file: 'tls-ext/handshake/server-handshake.ts',
    line: "wire.limitRecords('receiving', ownLimit);",
    replacement: '""',
    why: 'what is not for sending is for receiving',
  },
  {
    file: 'tls-ext/handshake/server-handshake.ts',
    line: "if (agreement === undefined) throw new TlsMisuseError('no key agreement for the group');",
    replacement: 'false',
    why: 'for the compiler: only groups that the provider has are negotiated',
  },
  {
    file: 'tls-ext/handshake/server-handshake.ts',
    line: 'requestedExtensions: options.requestOcspStaple ? [ExtensionType.statusRequest] : [],',
    replacement: '["Stryker was here"]',
    why: 'a string is no code point, and so no extension that anybody could send',
  },
];

const negotiation: readonly Explained[] = [
  ...['true', 'namedGroupInfo(group).postQuantum'].map((replacement) => ({
    file: 'tls-ext/handshake/server-negotiation.ts',
    line: 'const postQuantum = (group: number) => namedGroupInfo(group)?.postQuantum ?? false;',
    replacement,
    why: 'for the compiler: every group that we can agree on has its line in the table',
  })),
  {
    file: 'tls-ext/handshake/server-negotiation.ts',
    line: 'if (!pskKeyExchangeModes?.includes(PskKeyExchangeMode.pskDheKe)) {',
    replacement: 'pskKeyExchangeModes.includes',
    why: 'for the compiler: pre_shared_key is there, and without its modes it was refused above',
  },
];

const retry: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/server-retry.ts',
    line: 'const [clientShare, ...others] = keyShare ?? [];',
    why: 'for the compiler: a ClientHello without key_share has been refused by negotiate()',
  },
  {
    file: 'tls-ext/handshake/server-retry.ts',
    line: "if (suite !== state.suite || group !== state.group) throw illegalParameter('the second ClientHello negotiates anew');",
    replacement: 'false',
    why: 'of the group: its key agreement refuses a share of another group, with the same alert',
  },
  {
    file: 'tls-ext/handshake/server-retry.ts',
    line: "kind: 'hello-retry-request',",
    replacement: '""',
    why: 'what is no server-hello is written as a HelloRetryRequest',
  },
  {
    file: 'tls-ext/handshake/server-retry.ts',
    line: "if (cookieKey === undefined || cookie === undefined) throw illegalParameter('the cookie is missing');",
    replacement: 'false',
    why: 'for the compiler: without a key the state was remembered, and no cookie is looked for',
  },
];

export const server: readonly Explained[] = [...serverPsk, ...serverHandshake, ...negotiation, ...retry];
