import { expect } from 'chai';
import fc from 'fast-check';
import { DecodeError } from '../../../tls-ext/bytes/index.ts';
import * as messages from '../../../tls-ext/messages/index.ts';
import { HANDSHAKE_HEADER_BYTES } from '../../../tls-ext/messages/index.ts';
import { TlsError } from '../../../tls-ext/tls-error.ts';
import * as arbitrary from './arbitraries.ts';

const codePoints = messages.defaultCodePoints;
const body = (message: Uint8Array) => message.subarray(HANDSHAKE_HEADER_BYTES);

interface Codec<T> {
  readonly values: fc.Arbitrary<T>;
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

/** What a decoder adds to what an encoder takes. */
function withoutReceivedFields(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, field) => {
      if (key === 'extensionList' || key === 'truncatedLengthBytes') return undefined;
      return field instanceof Uint8Array ? [...field] : field;
    }),
  );
}

function codec<T>(values: fc.Arbitrary<T>, encode: (value: T) => Uint8Array, decode: (bytes: Uint8Array) => unknown) {
  return { values, encode, decode } satisfies Codec<T> as Codec<unknown>;
}

const codecs: Readonly<Record<string, Codec<unknown>>> = {
  ClientHello: codec(
    arbitrary.clientHello,
    (hello) => body(messages.encodeClientHello(hello, codePoints)),
    (bytes) => messages.decodeClientHello(bytes, codePoints),
  ),
  ServerHello: codec(
    arbitrary.serverHello,
    (hello) => body(messages.encodeServerHello(hello)),
    (bytes) => messages.decodeServerHello(bytes),
  ),
  HelloRetryRequest: codec(
    arbitrary.helloRetryRequest,
    (hello) => body(messages.encodeServerHello(hello)),
    (bytes) => messages.decodeServerHello(bytes),
  ),
  EncryptedExtensions: codec(
    arbitrary.encryptedExtensions,
    (value) => body(messages.encodeEncryptedExtensions(value, codePoints)),
    (bytes) => messages.decodeEncryptedExtensions(bytes, codePoints),
  ),
  CertificateRequest: codec(
    arbitrary.certificateRequest,
    (value) => body(messages.encodeCertificateRequest(value)),
    messages.decodeCertificateRequest,
  ),
  Certificate: codec(
    arbitrary.certificate,
    (value) => body(messages.encodeCertificate(value)),
    messages.decodeCertificate,
  ),
  CertificateVerify: codec(
    arbitrary.certificateVerify,
    (value) => body(messages.encodeCertificateVerify(value)),
    messages.decodeCertificateVerify,
  ),
  NewSessionTicket: codec(
    arbitrary.newSessionTicket,
    (value) => body(messages.encodeNewSessionTicket(value)),
    messages.decodeNewSessionTicket,
  ),
  KeyUpdate: codec(
    fc.constantFrom(0 as const, 1 as const),
    (value) => body(messages.encodeKeyUpdate(value)),
    messages.decodeKeyUpdate,
  ),
  Finished: codec(
    fc.uint8Array({ minLength: 48, maxLength: 48 }),
    (value) => body(messages.encodeFinished(value)),
    (bytes) => messages.decodeFinished(bytes, 48),
  ),
  RekeyRequest: codec(
    arbitrary.rekeyRequest,
    (value) => body(messages.encodeRekeyRequest(value)),
    messages.decodeRekeyRequest,
  ),
  RekeyResponse: codec(
    arbitrary.rekeyResponse,
    (value) => body(messages.encodeRekeyResponse(value)),
    (bytes) => messages.decodeRekeyResponse(bytes, 48),
  ),
  RekeyFinish: codec(
    arbitrary.rekeyFinish,
    (value) => body(messages.encodeRekeyFinish(value)),
    (bytes) => messages.decodeRekeyFinish(bytes, 48),
  ),
  QkdKeyReference: codec(arbitrary.keyReference, messages.encodeQkdKeyReference, messages.decodeQkdKeyReference),
  QkdPskContext: codec(arbitrary.pskContext, messages.encodeQkdPskContext, messages.decodeQkdPskContext),
};

/** Truncated before its extensions, a hello looks like one of TLS 1.2 and gets that alert; the rest is malformed. */
function expectRejected(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (error instanceof DecodeError) return;
    if (error instanceof TlsError && error.code === 'ERR_TLS_PROTOCOL_VERSION') return;
    throw error;
  }
  throw new Error('decoded without complaint');
}

describe('message codecs', () => {
  for (const [name, { values, encode, decode }] of Object.entries(codecs)) {
    describe(name, () => {
      it('decodes what it encoded', () => {
        fc.assert(
          fc.property(values, (value) => {
            expect(withoutReceivedFields(decode(encode(value)))).to.deep.equal(withoutReceivedFields(value));
          }),
        );
      });

      it('rejects every truncation', () => {
        fc.assert(
          fc.property(values, (value) => {
            const whole = encode(value);
            for (let length = 0; length < whole.length; length++) {
              expectRejected(() => decode(whole.slice(0, length)));
            }
          }),
          { numRuns: 20 },
        );
      });

      it('rejects a trailing byte', () => {
        fc.assert(
          fc.property(values, (value) => {
            expectRejected(() => decode(Uint8Array.of(...encode(value), 0)));
          }),
        );
      });

      it('answers random changes with a value or a typed error', () => {
        fc.assert(
          fc.property(
            values,
            fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
            (value, edits) => {
              const altered = encode(value).slice();
              for (const [at, byte] of edits) altered[at % altered.length] = byte;
              try {
                decode(altered);
              } catch (error) {
                if (!(error instanceof DecodeError || error instanceof TlsError)) throw error;
              }
            },
          ),
        );
      });
    });
  }
});
