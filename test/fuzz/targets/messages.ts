/** The decoders of tls-ext: handshake messages, extensions, identities, keys in DER. */
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { concatBytes, DecodeError, decodeWhole, encode } from '../../../tls-ext/bytes/index.ts';
import { parsePkcs8, parseSpki } from '../../../tls-ext/crypto/der.ts';
import { namedGroups } from '../../../tls-ext/crypto/index.ts';
import { encodeMessage, MessageFramer } from '../../../tls-ext/key-channel/index.ts';
import { decodeImportedIdentity, encodeImportedIdentity } from '../../../tls-ext/key-schedule/index.ts';
import * as messages from '../../../tls-ext/messages/index.ts';
import { anyMessage } from '../../tls-ext/key-channel/any-message.ts';
import * as arbitrary from '../../tls-ext/messages/arbitraries.ts';
import type { Target } from '../target.ts';
import { codec, decoder } from './codec.ts';

const points = messages.defaultCodePoints;
const body = (message: Uint8Array) => message.subarray(messages.HANDSHAKE_HEADER_BYTES);
const u16 = (value: number) => Uint8Array.of(value >> 8, value);

/** Code points that mean something somewhere. */
export const tlsDictionary: readonly Uint8Array[] = [
  ...Object.values(messages.ExtensionType).map(u16),
  ...namedGroups.map(({ codePoint }) => u16(codePoint)),
  ...[0x1301, 0x1302, 0x1303, 0x0304, 0x0303, 0x0403, 0x0503, 0x0807, 0x0804, 0x0a0a, points.qkdPsk ?? 0].map(u16),
];

const importedIdentity = fc.record({
  externalIdentity: fc.uint8Array({ minLength: 1, maxLength: 60 }),
  context: fc.uint8Array({ maxLength: 60 }),
  targetProtocol: fc.constantFrom(0x0304, 0x0303),
  targetKdf: fc.constantFrom(1, 2, 3),
});

const keyPairs = () => [
  generateKeyPairSync('ed25519'),
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  generateKeyPairSync('rsa', { modulusLength: 1024 }),
];

export const messageTargets: readonly Target[] = [
  codec(
    'client-hello',
    ['decodeClientHello', 'decodeExtensions', 'decodeExtensionList', 'decodeCodePoints', 'decodeKeyShareEntry'],
    arbitrary.clientHello,
    (v) => body(messages.encodeClientHello(v, points)),
    (b) => messages.decodeClientHello(b, points),
  ),
  codec(
    'server-hello',
    ['decodeServerHello'],
    fc.oneof(arbitrary.serverHello, arbitrary.helloRetryRequest),
    (v) => body(messages.encodeServerHello(v)),
    messages.decodeServerHello,
  ),
  codec(
    'encrypted-extensions',
    ['decodeEncryptedExtensions'],
    arbitrary.encryptedExtensions,
    (v) => body(messages.encodeEncryptedExtensions(v, points)),
    (b) => messages.decodeEncryptedExtensions(b, points),
  ),
  codec(
    'certificate-request',
    ['decodeCertificateRequest'],
    arbitrary.certificateRequest,
    (v) => body(messages.encodeCertificateRequest(v)),
    (b) => messages.decodeCertificateRequest(b),
  ),
  codec(
    'certificate',
    ['decodeCertificate'],
    arbitrary.certificate,
    (v) => body(messages.encodeCertificate(v)),
    (b) => messages.decodeCertificate(b),
  ),
  codec(
    'certificate-verify',
    ['decodeCertificateVerify'],
    arbitrary.certificateVerify,
    (v) => body(messages.encodeCertificateVerify(v)),
    messages.decodeCertificateVerify,
  ),
  codec(
    'new-session-ticket',
    ['decodeNewSessionTicket'],
    arbitrary.newSessionTicket,
    (v) => body(messages.encodeNewSessionTicket(v)),
    messages.decodeNewSessionTicket,
  ),
  codec(
    'finished',
    ['decodeFinished'],
    fc.uint8Array({ minLength: 32, maxLength: 32 }) as fc.Arbitrary<Uint8Array>,
    (v) => body(messages.encodeFinished(v)),
    (b) => messages.decodeFinished(b, 32),
  ),
  codec(
    'key-update',
    ['decodeKeyUpdate'],
    fc.constantFrom(...Object.values(messages.KeyUpdateRequest)),
    (v) => body(messages.encodeKeyUpdate(v)),
    messages.decodeKeyUpdate,
  ),
  codec(
    'rekey-request',
    ['decodeRekeyRequest'],
    arbitrary.rekeyRequest,
    (v) => body(messages.encodeRekeyRequest(v)),
    messages.decodeRekeyRequest,
  ),
  codec(
    'rekey-response',
    ['decodeRekeyResponse'],
    arbitrary.rekeyResponse,
    (v) => body(messages.encodeRekeyResponse(v)),
    (b) => messages.decodeRekeyResponse(b, 48),
  ),
  codec(
    'rekey-finish',
    ['decodeRekeyFinish'],
    arbitrary.rekeyFinish,
    (v) => body(messages.encodeRekeyFinish(v)),
    (b) => messages.decodeRekeyFinish(b, 48),
  ),
  decoder(
    'rekey-wanted',
    ['decodeRekeyWanted'],
    () => [body(messages.encodeRekeyWanted())],
    messages.decodeRekeyWanted,
  ),
  codec(
    'key-reference',
    ['decodeQkdKeyReference', 'decodeSaeId'],
    arbitrary.keyReference,
    messages.encodeQkdKeyReference,
    messages.decodeQkdKeyReference,
  ),
  codec(
    'psk-context',
    ['decodeQkdPskContext'],
    arbitrary.pskContext,
    messages.encodeQkdPskContext,
    messages.decodeQkdPskContext,
  ),
  codec(
    'imported-identity',
    ['decodeImportedIdentity', 'decodeWhole'],
    importedIdentity,
    encodeImportedIdentity,
    decodeImportedIdentity,
  ),
  codec(
    'key-channel-messages',
    ['decodeMessage'],
    fc.array(anyMessage, { minLength: 1, maxLength: 3 }),
    (all) => concatBytes(...all.map(encodeMessage)),
    (bytes) => [...new MessageFramer().push(bytes)],
  ),
  decoder(
    'spki',
    ['parseSpki', 'readDer'],
    () => keyPairs().map(({ publicKey }) => Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }))),
    parseSpki,
  ),
  decoder(
    'pkcs8',
    ['parsePkcs8'],
    () => keyPairs().map(({ privateKey }) => Uint8Array.from(privateKey.export({ format: 'der', type: 'pkcs8' }))),
    parsePkcs8,
  ),
  decoder(
    'byte-reader',
    ['decodeWhole'],
    () => [encode((w) => w.u8(1).u16(2).u24(3).u32(4).vector(1, Uint8Array.of(9)).vector(2, Uint8Array.of(8)))],
    (input) => {
      decodeWhole(input, (reader) => {
        reader.u8();
        reader.u16();
        reader.u24();
        reader.u32();
        if (reader.vector(1).length + reader.vector(2).length > input.length) throw new Error('more than there was');
      });
    },
    (error) => error instanceof DecodeError,
  ),
].map((target: Target) => ({ ...target, dictionary: tlsDictionary }));
