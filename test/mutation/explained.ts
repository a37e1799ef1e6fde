/** Mutants that no test can or need kill, each with its reason. An entry that matches nothing is an error: it has outlived its line. */

export interface Explained {
  readonly file: string;
  /** The mutated line as it stands in the source, without its indentation. */
  readonly line: string;
  /** What the mutator made of it; absent: whatever it made of this line. */
  readonly replacement?: string;
  readonly why: string;
}

const halfConnection: readonly Explained[] = [
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (transfer !== undefined && output.length >= MIN_DETACH_BYTES && output.length === output.buffer.byteLength) {',
    why: 'the same on a runtime that has, or has not, transfer(): the tests say it for both',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'const headers = new Array<Uint8Array | undefined>(MAX_CIPHERTEXT_BYTES + 1);',
    why: 'the size that an array starts with is speed, not behaviour',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (cached !== undefined) return cached;',
    replacement: 'false',
    why: 'without the cache the same header is made again: speed',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (sequence > 0xffff_ffff) this.#view.setUint32(4, this.#ivHigh ^ Math.floor(sequence / 0x1_0000_0000));',
    why: 'below 2^32 the upper half is ivHigh ^ 0, which stands there already: the condition saves time',
  },
];

const recordReader: readonly Explained[] = [
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'const pooled = boundBytes > SMALL_WRITE_BYTES;',
    replacement: 'boundBytes >= SMALL_WRITE_BYTES',
    why: 'at the very bound either kind of buffer is right',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (this.#lastInner !== undefined) detach(this.#lastInner);',
    why: 'memory that was copied is freed now or by the collector later; #lastInner is always set here',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (!(error instanceof TlsError)) throw error;',
    why: 'nothing but a TlsError is thrown while records are opened; a bug of ours would come out one call later',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'while (contentBytes >= 0 && inner[contentBytes] === 0) contentBytes--;',
    why: 'before the first byte stands `undefined`, which ends the loop too; a lone zero is refused as content type 0 or as padding, with the same alert',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: "if (contentBytes < 0) throw unexpectedRecord('protected record of padding only');",
    replacement: 'false',
    why: 'the content type is `undefined` then, which is refused two lines on with the same alert: the check is for the message',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (error instanceof TlsError) this.#fault = error;',
    replacement: 'true',
    why: 'nothing but a TlsError gets here',
  },
];

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

const reassembler: readonly Explained[] = ['false', 'first.length - this.#taken > HANDSHAKE_HEADER_BYTES'].map(
  (replacement) => ({
    file: 'tls-ext/handshake/reassembler.ts',
    line: 'if (first.length - this.#taken >= HANDSHAKE_HEADER_BYTES) return first.subarray(this.#taken);',
    replacement,
    why: 'a header that one fragment holds may be joined with the rest all the same: speed',
  }),
);

const tickets: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/tickets.ts',
    line: '#received = { epoch: 0, count: 0 };',
    replacement: '{}',
    why: 'without a number no epoch is the one that was counted, and the count begins anew with the first ticket',
  },
];

const rekeying: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/rekeying.ts',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the line as it stands
    line: 'if (keyAgreement === undefined) throw new TlsMisuseError(`no key agreement for group ${summary.group}`);',
    replacement: 'false',
    why: 'for the compiler: the group was negotiated with this provider',
  },
  {
    file: 'tls-ext/handshake/rekeying.ts',
    line: "if (event.type === 'rekey-key-required') this.#reference = event.reference;",
    replacement: 'true',
    why: 'for the compiler: the steps of a rekey emit nothing else',
  },
  {
    file: 'tls-ext/handshake/rekeying.ts',
    line: 'const step = answer === undefined ? steps.next() : steps.next(answer);',
    replacement: 'false',
    why: 'for the compiler: what the first next() is given, a generator does not see',
  },
];

const rekey: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/rekey.ts',
    line: '? { imported: undefined, reference: undefined }',
    replacement: '{}',
    why: 'fields that are absent say as much: no key, and none needed',
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

export const explained: readonly Explained[] = [
  ...halfConnection,
  ...recordReader,
  ...serverPsk,
  ...serverHandshake,
  ...reassembler,
  ...tickets,
  ...rekeying,
  ...rekey,
  ...negotiation,
  ...retry,
  ...offer,
  ...clientHandshake,
];
