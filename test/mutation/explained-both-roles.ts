/** Survivors of what both roles do in and after a handshake, with their reasons. */
import type { Explained } from './explained.ts';

const authentication: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/authentication.ts',
    line: 'extensions: index === 0 && ocspResponse !== undefined ? { statusRequest: ocspResponse } : {},',
    replacement: 'true',
    why: 'of the second half: an extension that is `undefined` is not written',
  },
  {
    file: 'tls-ext/handshake/authentication.ts',
    line: 'const ocspResponse = certificateList[0]?.extensions.statusRequest;',
    why: 'for the compiler: an empty list has been refused',
  },
  ...[
    "const verdict = yield* awaitVerdict(expectation.peer === 'server' ? 'ExpectServerVerdict' : 'ExpectClientVerdict');",
    "const state = peer === 'server' ? 'ExpectServerCertificateVerify' : 'ExpectClientCertificateVerify';",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the line as it stands
    "const message = `the ${expectation.peer}'s certificate was refused: ${verdict.error.message}`;",
  ].map((line) => ({
    file: 'tls-ext/handshake/authentication.ts',
    line,
    why: 'names of states, and this message, are the wording of errors',
  })),
];

const qkdImport: readonly Explained[] = [
  {
    file: 'tls-ext/handshake/qkd-import.ts',
    line: 'if (!isImportedIdentity(identity)) return undefined;',
    replacement: 'false',
    why: 'decoding it would say the same, by an error that costs time',
  },
  ...[
    ['if (error instanceof DecodeError) return undefined;', 'true'],
    ['} catch (error) {', '{}'],
  ].map(([line = '', replacement = '']) => ({
    file: 'tls-ext/handshake/qkd-import.ts',
    line,
    replacement,
    why: 'nothing but a DecodeError is thrown there',
  })),
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

export const bothRoles: readonly Explained[] = [
  ...authentication,
  ...qkdImport,
  ...reassembler,
  ...tickets,
  ...rekeying,
  ...rekey,
];
