/** What a client must not accept from a server, each with its alert. */
import { expect } from 'chai';
import { Alert, NamedGroup } from '../../../tls-ext/index.ts';
import {
  ExtensionType,
  encodeCertificate,
  encodeCertificateRequest,
  encodeFinished,
  encodeHandshake,
  encodeKeyUpdate,
  encodeNewSessionTicket,
  HandshakeType,
} from '../../../tls-ext/messages/index.ts';
import {
  clientIdentity,
  expectConnected,
  expectFailure,
  qkdPsk,
  type TestIdentity,
  testIdentity,
} from '../engine/engine-pair.ts';
import {
  againstServer,
  changeEncryptedExtensions,
  changeHelloRetryRequest,
  changeServerHello,
  on,
  type Tamper,
  unchanged,
} from './misbehaving-peer.ts';

const illegal = ['ERR_TLS_ILLEGAL_PARAMETER', Alert.illegalParameter] as const;
const unexpected = ['ERR_TLS_UNEXPECTED_MESSAGE', Alert.unexpectedMessage] as const;
const unsupported = ['ERR_TLS_UNSUPPORTED_EXTENSION', Alert.unsupportedExtension] as const;
const missing = ['ERR_TLS_MISSING_EXTENSION', Alert.missingExtension] as const;
const decode = ['ERR_TLS_DECODE', Alert.decodeError] as const;
const decrypt = ['ERR_TLS_DECRYPT', Alert.decryptError] as const;

const p384 = testIdentity('P-384');
const pretendingP256: TestIdentity = {
  ...p384,
  signatureSchemes: [0x0403],
  sign: (_scheme, content) => p384.sign(0x0503, content),
};

type Options = Parameters<typeof againstServer>[1];
type Expected = readonly [string, number];

/** The client's failure alone: the server may not be able to read the alert, its keys being others by then. */
function expectRejected(tamper: Tamper, [code, alert]: Expected, options: Options = {}): void {
  const pair = againstServer(tamper, options).run();
  expect(pair.client.error?.code, pair.client.error?.message ?? 'the client did not fail').to.equal(code);
  expect(pair.client.error?.alert).to.equal(alert);
  expect(pair.server.error, 'the server learnt of it').not.to.equal(undefined);
  expect(pair.client.summary).to.equal(undefined);
}

const retry: Options = { client: { groups: [29, 23] }, server: { groups: [23] } };
const psk: Options = {
  client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, identity: clientIdentity },
  server: { qkd: true },
  serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
};
/** A new key for every run: engines wipe theirs. */
const withPsk = (): Options => ({ ...psk, client: { ...psk.client, psk: qkdPsk() } });
const withoutKey = (): Options => ({
  ...withPsk(),
  serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
});

describe('a client and the server it distrusts', () => {
  it('connects when nothing is changed', () => {
    expectConnected(againstServer(unchanged).run());
    expectConnected(againstServer(unchanged, retry).run());
    expectConnected(againstServer(unchanged, withPsk()).run());
  });

  describe('ServerHello', () => {
    const cases: Readonly<Record<string, readonly [Tamper, Expected, (() => Options)?]>> = {
      'another session ID': [changeServerHello((h) => ({ ...h, legacySessionIdEcho: new Uint8Array(32) })), illegal],
      'a suite that was not offered': [changeServerHello((h) => ({ ...h, cipherSuite: 0x1304 })), illegal],
      'no key share': [
        changeServerHello(({ extensions: { keyShare: _, ...extensions }, ...h }) => ({ ...h, extensions })),
        missing,
      ],
      'a share of another group': [
        changeServerHello((h) => ({
          ...h,
          extensions: { ...h.extensions, keyShare: { group: 23, keyExchange: new Uint8Array(65) } },
        })),
        illegal,
      ],
      'a share of the wrong length': [
        changeServerHello((h) => ({
          ...h,
          extensions: {
            ...h.extensions,
            keyShare: { group: NamedGroup.x25519MlKem768, keyExchange: new Uint8Array(9) },
          },
        })),
        illegal,
      ],
      'a PSK where none was offered': [
        changeServerHello((h) => ({ ...h, extensions: { ...h.extensions, preSharedKey: 0 } })),
        unsupported,
      ],
      'extension 33 where it was not offered': [
        changeServerHello((h) => ({ ...h, extensions: { ...h.extensions, certWithExternPsk: true } })),
        unsupported,
      ],
      'an unknown extension': [
        changeServerHello((h) => ({
          ...h,
          extensions: { ...h.extensions, opaque: [{ type: 0x7777, data: new Uint8Array(0) }] },
        })),
        unsupported,
      ],
      'the answer to GREASE': [
        changeServerHello((h) => ({
          ...h,
          extensions: { ...h.extensions, opaque: [{ type: 0x0a0a, data: new Uint8Array(0) }] },
        })),
        unsupported,
      ],
      'an extension of another message': [
        changeServerHello((h) => ({
          ...h,
          extensions: { ...h.extensions, opaque: [{ type: ExtensionType.alpn, data: Uint8Array.of(0, 2, 1, 0x61) }] },
        })),
        illegal,
      ],
      'the PSK without extension 33': [
        changeServerHello(({ extensions: { certWithExternPsk: _, ...extensions }, ...h }) => ({ ...h, extensions })),
        ['ERR_TLS_HANDSHAKE_FAILURE', Alert.handshakeFailure],
        withPsk,
      ],
      'extension 33 without the PSK': [
        changeServerHello(({ extensions: { preSharedKey: _, ...extensions }, ...h }) => ({ ...h, extensions })),
        illegal,
        withPsk,
      ],
      'a PSK index out of range': [
        changeServerHello((h) => ({ ...h, extensions: { ...h.extensions, preSharedKey: 2 } })),
        illegal,
        withPsk,
      ],
      'a PSK of another hash than the suite': [
        changeServerHello((h) => ({ ...h, extensions: { ...h.extensions, preSharedKey: 1 } })),
        illegal,
        withPsk,
      ],
      twice: [on(HandshakeType.serverHello, (message) => [message, message]), unexpected],
      'not at all': [on(HandshakeType.serverHello, () => [encodeFinished(new Uint8Array(48))]), unexpected],
    };
    for (const [name, [tamper, expected, options]] of Object.entries(cases)) {
      it(name, () => expectRejected(tamper, expected, options?.()));
    }
  });

  describe('HelloRetryRequest', () => {
    const cases: Readonly<Record<string, readonly [Tamper, Expected]>> = {
      'that changes nothing': [
        changeHelloRetryRequest(({ extensions: { keyShare: _, ...extensions }, ...h }) => ({ ...h, extensions })),
        illegal,
      ],
      'for a group that was not offered': [
        changeHelloRetryRequest((h) => ({ ...h, extensions: { ...h.extensions, keyShare: 24 } })),
        illegal,
      ],
      'for the group of the share': [
        changeHelloRetryRequest((h) => ({ ...h, extensions: { ...h.extensions, keyShare: 29 } })),
        illegal,
      ],
      'a second time': [changeHelloRetryRequest((h) => [h, h]), unexpected],
      'with qkd_psk': [
        changeHelloRetryRequest((h) => ({
          ...h,
          extensions: { ...h.extensions, opaque: [{ type: ExtensionType.qkdPsk, data: Uint8Array.of(0, 1, 0, 1) }] },
        })),
        illegal,
      ],
      'with another suite than ServerHello': [changeHelloRetryRequest((h) => ({ ...h, cipherSuite: 0x1303 })), illegal],
      'with an extension that was not asked for': [
        changeHelloRetryRequest((h) => ({
          ...h,
          extensions: { ...h.extensions, opaque: [{ type: 0x7777, data: new Uint8Array(0) }] },
        })),
        unsupported,
      ],
    };
    for (const [name, [tamper, expected]] of Object.entries(cases)) {
      it(name, () => {
        // The second ClientHello answers to what the server did not send, so it may end the handshake first.
        const pair = againstServer(tamper, retry).run();
        const error = pair.client.error ?? pair.server.error;
        expect(error, 'nobody failed').not.to.equal(undefined);
        if (pair.client.error?.code !== 'ERR_TLS_PEER_ALERT') {
          expect([error?.code, error?.alert]).to.deep.equal(expected);
        }
      });
    }
  });

  describe('EncryptedExtensions', () => {
    const ee = changeEncryptedExtensions;
    const cases: Readonly<Record<string, readonly [Tamper, Expected, (() => Options)?]>> = {
      'a protocol that was not offered': [ee((e) => ({ ...e, alpn: 'evil' })), unsupported],
      'a protocol outside of the list': [
        ee((e) => ({ ...e, alpn: 'evil' })),
        illegal,
        () => ({ client: { alpnProtocols: ['h2'] } }),
      ],
      'early data': [ee((e) => ({ ...e, earlyData: true })), unsupported],
      'qkd_psk that was not asked for': [
        ee((e) => ({ ...e, qkdPsk: { features: 0, result: 'not_offered' } })),
        unsupported,
      ],
      'used although the PSK was not selected': [
        ee((e) => ({ ...e, qkdPsk: { features: 0, result: 'used' } })),
        illegal,
        withoutKey,
      ],
      'not_offered although a key was offered': [
        ee((e) => ({ ...e, qkdPsk: { features: 0, result: 'not_offered' } })),
        illegal,
        withoutKey,
      ],
      'resumed without a ticket': [
        ee((e) => ({ ...e, qkdPsk: { features: 0, result: 'resumed' } })),
        illegal,
        withoutKey,
      ],
      'unavailable although the PSK was selected': [
        ee((e) => ({ ...e, qkdPsk: { features: 0, result: 'unavailable' } })),
        illegal,
        withPsk,
      ],
      'nothing although the PSK was selected': [ee(({ qkdPsk: _, ...e }) => e), illegal, withPsk],
      'features that were not offered': [
        ee((e) => ({ ...e, qkdPsk: { features: 1, result: 'used' } })),
        illegal,
        withPsk,
      ],
      'a record_size_limit beyond the version': [
        ee((e) => ({ ...e, recordSizeLimit: 0x4002 })),
        illegal,
        () => ({ client: { recordSizeLimitBytes: 512 } }),
      ],
      'a key share in it': [
        ee((e) => ({ ...e, opaque: [{ type: ExtensionType.keyShare, data: new Uint8Array(0) }] })),
        illegal,
      ],
      'not at all': [on(HandshakeType.encryptedExtensions, () => []), unexpected],
    };
    for (const [name, [tamper, expected, options]] of Object.entries(cases)) {
      it(name, () => expectRejected(tamper, expected, options?.()));
    }
  });

  describe('authentication', () => {
    const request = (certificateRequestContext: Uint8Array) =>
      encodeCertificateRequest({ certificateRequestContext, extensions: { signatureAlgorithms: [0x0403] } });
    const cases: Readonly<Record<string, readonly [Tamper, Expected, (() => Options)?]>> = {
      'no Certificate': [on(HandshakeType.certificate, () => []), unexpected],
      'no CertificateVerify': [on(HandshakeType.certificateVerify, () => []), unexpected],
      'neither of them': [
        (message) =>
          message[0] === HandshakeType.certificate || message[0] === HandshakeType.certificateVerify ? [] : [message],
        unexpected,
      ],
      'an empty Certificate': [
        on(HandshakeType.certificate, () => [
          encodeCertificate({ certificateRequestContext: new Uint8Array(0), certificateList: [] }),
        ]),
        decode,
      ],
      'a request context in Certificate': [
        on(HandshakeType.certificate, () => [
          encodeCertificate({
            certificateRequestContext: Uint8Array.of(1),
            certificateList: [{ certData: Uint8Array.of(1), extensions: {} }],
          }),
        ]),
        illegal,
      ],
      'a staple that was not asked for': [
        on(HandshakeType.certificate, () => [
          encodeCertificate({
            certificateRequestContext: new Uint8Array(0),
            certificateList: [{ certData: Uint8Array.of(1), extensions: { statusRequest: Uint8Array.of(1) } }],
          }),
        ]),
        unsupported,
      ],
      'a signature over another transcript': [
        (message) => (message[0] === HandshakeType.encryptedExtensions ? [Uint8Array.of(8, 0, 0, 2, 0, 0)] : [message]),
        decrypt,
        () => ({ client: { alpnProtocols: ['a'] }, server: { alpnProtocols: ['a'] } }),
      ],
      // A right signature, by the certificate's key, in a scheme that only the server speaks of.
      'a scheme that was not offered': [
        on(HandshakeType.certificateVerify, (message) => [
          Uint8Array.from(message, (byte, i) => (i === 4 ? 0x05 : i === 5 ? 0x03 : byte)),
        ]),
        illegal,
        () => ({ client: { signatureSchemes: [0x0403] }, server: { identity: pretendingP256 } }),
      ],
      'a context in CertificateRequest': [
        on(HandshakeType.certificate, (message) => [request(Uint8Array.of(1)), message]),
        illegal,
      ],
      'two CertificateRequests': [
        on(HandshakeType.certificate, (message) => [request(new Uint8Array(0)), request(new Uint8Array(0)), message]),
        unexpected,
      ],
      'a wrong Finished': [
        on(HandshakeType.finished, (message) => [Uint8Array.from(message, (byte, i) => (i > 3 ? byte ^ 1 : byte))]),
        decrypt,
      ],
      'a Finished of another length': [on(HandshakeType.finished, () => [encodeFinished(new Uint8Array(32))]), decode],
      'a message across the change of keys': [
        on(HandshakeType.finished, (message) => [message, Uint8Array.of(4, 0, 0)]),
        unexpected,
      ],
      'a ticket before Finished': [on(HandshakeType.finished, (message) => [ticket(), message]), unexpected],
      'an unknown message': [
        on(HandshakeType.certificate, (message) => [Uint8Array.of(99, 0, 0, 0), message]),
        unexpected,
      ],
      'message_hash on the wire': [
        on(HandshakeType.certificate, (message) => [encodeHandshake(HandshakeType.messageHash, () => {}), message]),
        unexpected,
      ],
      'a message of 16 MiB': [
        on(HandshakeType.certificate, () => [Uint8Array.of(HandshakeType.certificate, 0xff, 0xff, 0xff)]),
        ['ERR_TLS_LIMIT', Alert.decodeError],
      ],
    };
    for (const [name, [tamper, expected, options]] of Object.entries(cases)) {
      it(name, () => expectRejected(tamper, expected, options?.()));
    }
  });

  describe('after the handshake', () => {
    /** Sends messages under the application keys of the server. */
    function sendAfterwards(...messages: readonly Uint8Array[]) {
      const pair = againstServer(unchanged).run();
      for (const message of messages) pair.peer.wire().send(message);
      pair.server.take(pair.server.engine.send(new Uint8Array(0)));
      return pair.deliver();
    }

    it('tickets are read and dropped', () => {
      expectConnected(sendAfterwards(ticket(), ticket()));
    });

    it('tickets without end are a limit', () => {
      const pair = sendAfterwards(...Array.from({ length: 33 }, ticket));
      expectFailure(pair, 'client', 'ERR_TLS_LIMIT', Alert.unexpectedMessage);
    });

    it('a malformed ticket is decode_error', () => {
      expectFailure(sendAfterwards(Uint8Array.of(4, 0, 0, 1, 0)), 'client', ...decode);
    });

    it('a request for a certificate was not offered', () => {
      const request = encodeCertificateRequest({
        certificateRequestContext: Uint8Array.of(1),
        extensions: { signatureAlgorithms: [0x0403] },
      });
      expectFailure(sendAfterwards(request), 'client', ...unexpected);
    });

    it('a second ServerHello is out of place', () => {
      expectFailure(sendAfterwards(encodeHandshake(HandshakeType.serverHello, () => {})), 'client', ...unexpected);
    });

    it('a KeyUpdate that asks for neither is illegal', () => {
      expectFailure(sendAfterwards(Uint8Array.of(HandshakeType.keyUpdate, 0, 0, 1, 2)), 'client', ...illegal);
    });

    it('a KeyUpdate that shares its record with another message crosses the change of keys', () => {
      expectFailure(sendAfterwards(encodeKeyUpdate(0), ticket()), 'client', ...unexpected);
    });
  });
});

function ticket(): Uint8Array {
  return encodeNewSessionTicket({
    ticketLifetimeSeconds: 7200,
    ticketAgeAdd: 1,
    ticketNonce: Uint8Array.of(0),
    ticket: new Uint8Array(64),
    extensions: {},
  });
}
