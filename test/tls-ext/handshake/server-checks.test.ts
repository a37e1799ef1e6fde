/** What a server must not accept from a client, each with its alert. */
import { expect } from 'chai';
import { Alert, type PskDecision } from '../../../tls-ext/index.ts';
import {
  type ClientHello,
  ExtensionType,
  encodeCertificate,
  encodeFinished,
  encodeHandshake,
  encodeNewSessionTicket,
  HandshakeType,
} from '../../../tls-ext/messages/index.ts';
import { MAX_SKIPPED_EARLY_DATA_BYTES } from '../../../tls-ext/tls-endpoint.ts';
import { clientIdentity, expectConnected, expectFailure, qkdPsk } from '../engine/engine-pair.ts';
import { againstClient, changeClientHello, on, type Tamper, unchanged } from './misbehaving-peer.ts';

type Options = NonNullable<Parameters<typeof againstClient>[1]>;
type Expected = readonly [string, number];
type Extensions = ClientHello['extensions'];

const illegal = ['ERR_TLS_ILLEGAL_PARAMETER', Alert.illegalParameter] as const;
const unexpected = ['ERR_TLS_UNEXPECTED_MESSAGE', Alert.unexpectedMessage] as const;
const missing = ['ERR_TLS_MISSING_EXTENSION', Alert.missingExtension] as const;
const decode = ['ERR_TLS_DECODE', Alert.decodeError] as const;
const decrypt = ['ERR_TLS_DECRYPT', Alert.decryptError] as const;

const continueWithout: PskDecision = { action: 'continue', result: 'unavailable' };
const retry = (): Options => ({ client: { groups: [29, 23] }, server: { groups: [23] } });
const retryWithCookie = (): Options => ({
  client: { groups: [29, 23] },
  server: { groups: [23], cookieKey: new Uint8Array(32).fill(1) },
});
const psk = (): Options => ({
  client: { psk: qkdPsk(), qkdOffer: { offer: 'key' }, identity: clientIdentity },
  server: { qkd: true },
  serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
});
const mutual = (): Options => ({ client: { identity: clientIdentity }, server: { requestClientCertificate: true } });

function expectRejected(tamper: Tamper, [code, alert]: Expected, options: Options = {}): void {
  const pair = againstClient(tamper, options).run();
  expect(pair.server.error?.code, pair.server.error?.message ?? 'the server did not fail').to.equal(code);
  expect(pair.server.error?.alert).to.equal(alert);
  expect(pair.client.error, 'the client learnt of it').not.to.equal(undefined);
  expect(pair.server.summary).to.equal(undefined);
}

function change(edit: (extensions: Extensions) => Extensions, only?: number): Tamper {
  return changeClientHello((hello) => ({ ...hello, extensions: edit(hello.extensions) }), only);
}

function without(...fields: readonly (keyof Extensions)[]): Tamper {
  return change((extensions) => {
    const kept: Record<string, unknown> = { ...extensions };
    for (const field of fields) delete kept[field];
    return kept as Extensions;
  });
}

describe('a server and the client it distrusts', () => {
  it('connects when nothing is changed', () => {
    for (const options of [{}, retry(), retryWithCookie(), psk(), mutual()]) {
      expectConnected(againstClient(unchanged, options).run());
    }
  });

  const helloCases: Readonly<Record<string, readonly [Tamper, Expected, (() => Options)?]>> = {
    'without supported_versions': [without('supportedVersions'), ['ERR_TLS_PROTOCOL_VERSION', Alert.protocolVersion]],
    'without TLS 1.3 in it': [
      change((e) => ({ ...e, supportedVersions: [0x0303, 0x0302] })),
      ['ERR_TLS_PROTOCOL_VERSION', Alert.protocolVersion],
    ],
    'without supported_groups': [without('supportedGroups'), missing],
    'without key_share': [without('keyShare'), missing],
    'without signature_algorithms': [without('signatureAlgorithms'), missing],
    'with a share for a group it does not name': [change((e) => ({ ...e, supportedGroups: [23] })), illegal],
    'with a share of the wrong length': [
      change((e) => ({ ...e, keyShare: [{ group: 29, keyExchange: new Uint8Array(31) }] })),
      illegal,
      () => ({ client: { groups: [29] } }),
    ],
    'with a share of small order': [
      change((e) => ({ ...e, keyShare: [{ group: 29, keyExchange: new Uint8Array(32) }] })),
      illegal,
      () => ({ client: { groups: [29] } }),
    ],
    'with an ML-KEM key that fails the check of FIPS 203': [
      change((e) => ({ ...e, keyShare: [{ group: 0x11ec, keyExchange: new Uint8Array(1216).fill(0xff) }] })),
      illegal,
    ],
    'with a cookie out of nowhere': [change((e) => ({ ...e, cookie: Uint8Array.of(1) })), illegal],
    'with an extension of another message': [
      change((e) => ({ ...e, opaque: [{ type: ExtensionType.oidFilters, data: new Uint8Array(0) }] })),
      illegal,
    ],
    'with early data but no PSK': [change((e) => ({ ...e, earlyData: true })), illegal],
    'with a PSK but no psk_key_exchange_modes': [without('pskKeyExchangeModes'), missing, psk],
    'with extension 33 but without psk_dhe_ke': [change((e) => ({ ...e, pskKeyExchangeModes: [0] })), missing, psk],
    'with extension 33 beside early data': [change((e) => ({ ...e, earlyData: true })), illegal, psk],
    'with extension 33 but no PSK': [without('preSharedKey', 'qkdPsk'), missing, psk],
    'whose qkd_psk says key and has none': [
      change((e) => ({ ...e, qkdPsk: { features: 0, offer: { offer: 'key' } } })),
      illegal,
      () => ({ server: { qkd: true } }),
    ],
    'whose qkd_psk says none and has a key': [
      change((e) => ({ ...e, qkdPsk: { features: 0, offer: { offer: 'none', reason: 'budget' } } })),
      illegal,
      psk,
    ],
    'whose qkd_psk says ticket and has none': [
      change((e) => ({ ...e, qkdPsk: { features: 0, offer: { offer: 'ticket' } } })),
      illegal,
      () => ({ server: { qkd: true } }),
    ],
    'whose binder is over other bytes': [
      change((e) => ({ ...e, serverName: 'other.example' })),
      ['ERR_TLS_BAD_BINDER', Alert.illegalParameter],
      psk,
    ],
  };
  describe('ClientHello', () => {
    for (const [name, [tamper, expected, options]] of Object.entries(helloCases)) {
      it(name, () => expectRejected(tamper, expected, options?.()));
    }

    it('with a PSK in mode psk_ke only is as if it had none', () => {
      const tamper = change(({ certWithExternPsk: _, qkdPsk: __, ...e }) => ({ ...e, pskKeyExchangeModes: [0] }));
      const pair = againstClient(tamper, { ...psk(), serverAnswers: { psk: () => continueWithout } }).run();
      expect(pair.server.event('psk-required')?.offered).to.deep.equal([]);
    });

    it('has only its first four identities looked at', () => {
      const stranger = { identity: Uint8Array.of(1, 2, 3), obfuscatedTicketAge: 0 };
      const tamper = change((e) => ({
        ...e,
        preSharedKey: {
          identities: [stranger, stranger, stranger, stranger, ...(e.preSharedKey?.identities ?? [])],
          binders: Array.from({ length: 6 }, () => new Uint8Array(48)),
        },
      }));
      const answers: PskDecision[] = [{ action: 'use', psk: qkdPsk() }, continueWithout];
      const pair = againstClient(tamper, { ...psk(), serverAnswers: { psk: () => answers.shift() } }).run();
      expect(pair.server.event('psk-required')?.offered).to.have.length(4);
      expect(answers).to.have.length(0);
    });
  });

  describe('the second ClientHello', () => {
    const cases: Readonly<Record<string, () => Tamper>> = {
      'with another server name': () => change((e) => ({ ...e, serverName: 'other.example' }), 1),
      'with other suites': () => changeClientHello((hello) => ({ ...hello, cipherSuites: [0x1301] }), 1),
      'with another random': () => changeClientHello((hello) => ({ ...hello, random: new Uint8Array(32) }), 1),
      'with an extension more': () => change((e) => ({ ...e, opaque: [{ type: 0x7777, data: new Uint8Array(0) }] }), 1),
      'with early data': () => change((e) => ({ ...e, earlyData: true }), 1),
      'without the share that was asked for': () => change((e) => ({ ...e, keyShare: [] }), 1),
      'with two shares': () =>
        change(
          (e) => ({ ...e, keyShare: [...(e.keyShare ?? []), { group: 29, keyExchange: new Uint8Array(32).fill(9) }] }),
          1,
        ),
    };
    for (const [name, tamper] of Object.entries(cases)) {
      it(name, () => expectRejected(tamper(), illegal, retry()));
      it(`${name}, the server holding nothing`, () => expectRejected(tamper(), illegal, retryWithCookie()));
    }

    it('with a cookie that was not given', () => {
      expectRejected(
        change((e) => ({ ...e, cookie: Uint8Array.of(1) }), 1),
        illegal,
        retry(),
      );
    });

    it('without the cookie, or with another', () => {
      const dropped = change(({ cookie: _, ...e }) => e, 1);
      expectRejected(dropped, illegal, retryWithCookie());
      for (const at of [0, 5, 100]) {
        const forged = change((e) => {
          const cookie = Uint8Array.from(e.cookie ?? []);
          cookie[at] = (cookie[at] ?? 0) ^ 1;
          return { ...e, cookie };
        }, 1);
        expectRejected(forged, illegal, retryWithCookie());
      }
      expectRejected(
        change((e) => ({ ...e, cookie: Uint8Array.of(1) }), 1),
        illegal,
        retryWithCookie(),
      );
    });
  });

  describe('early data that we do not accept', () => {
    const offersEarlyData = change(({ certWithExternPsk: _, qkdPsk: __, ...e }) => ({ ...e, earlyData: true }));
    /** What a record of early data looks like to us: sealed under keys that we don't have. */
    const earlyRecord = (lengthBytes: number) =>
      Uint8Array.of(23, 3, 3, lengthBytes >> 8, lengthBytes & 0xff, ...new Uint8Array(lengthBytes).fill(7));

    function serverWithEarlyData(groups: readonly number[]) {
      const answers = { psk: () => continueWithout };
      const pair = againstClient(offersEarlyData, { ...psk(), server: { qkd: true, groups }, serverAnswers: answers });
      pair.server.take(pair.server.engine.start());
      pair.client.take(pair.client.engine.start());
      for (const bytes of pair.client.outbox.splice(0)) pair.server.take(pair.server.engine.receive(bytes));
      return pair.server;
    }

    for (const [name, groups] of [
      ['under keys', [0x11ec]],
      ['before a second ClientHello', [23]],
    ] as const) {
      it(`is skipped ${name}, up to a bound`, () => {
        const server = serverWithEarlyData(groups);
        let skipped = 0;
        while (server.error === undefined && skipped < 2 * MAX_SKIPPED_EARLY_DATA_BYTES) {
          server.take(server.engine.receive(earlyRecord(1000)));
          skipped += 1000;
        }
        expect(server.error?.code).to.equal('ERR_TLS_UNEXPECTED_MESSAGE');
        expect(skipped).to.be.within(MAX_SKIPPED_EARLY_DATA_BYTES, MAX_SKIPPED_EARLY_DATA_BYTES + 1000);
      });
    }

    it('is an error where it was not announced', () => {
      const pair = againstClient(unchanged, { server: { groups: [23] } });
      pair.server.take(pair.server.engine.start());
      pair.client.take(pair.client.engine.start());
      for (const bytes of pair.client.outbox.splice(0)) pair.server.take(pair.server.engine.receive(bytes));
      pair.server.take(pair.server.engine.receive(earlyRecord(100)));
      expect(pair.server.error?.alert).to.equal(Alert.unexpectedMessage);
    });
  });

  describe('the rest of the handshake', () => {
    const cases: Readonly<Record<string, readonly [Tamper, Expected, (() => Options)?]>> = {
      'no Certificate': [on(HandshakeType.certificate, () => []), unexpected, mutual],
      'no CertificateVerify': [on(HandshakeType.certificateVerify, () => []), unexpected, mutual],
      'Finished alone': [
        (message) =>
          message[0] === HandshakeType.clientHello || message[0] === HandshakeType.finished ? [message] : [],
        unexpected,
        mutual,
      ],
      'an empty Certificate': [
        on(HandshakeType.certificate, () => [
          encodeCertificate({ certificateRequestContext: new Uint8Array(0), certificateList: [] }),
        ]),
        ['ERR_TLS_CERTIFICATE_REQUIRED', Alert.certificateRequired],
        mutual,
      ],
      'a staple that was not asked for': [
        on(HandshakeType.certificate, () => [
          encodeCertificate({
            certificateRequestContext: new Uint8Array(0),
            certificateList: [{ certData: Uint8Array.of(1), extensions: { statusRequest: Uint8Array.of(1) } }],
          }),
        ]),
        ['ERR_TLS_UNSUPPORTED_EXTENSION', Alert.unsupportedExtension],
        mutual,
      ],
      'a Certificate that was not asked for': [
        on(HandshakeType.finished, (message) => [
          encodeCertificate({ certificateRequestContext: new Uint8Array(0), certificateList: [] }),
          message,
        ]),
        unexpected,
      ],
      'a wrong Finished': [
        on(HandshakeType.finished, (message) => [Uint8Array.from(message, (byte, i) => (i > 3 ? byte ^ 1 : byte))]),
        decrypt,
      ],
      'a Finished of another length': [on(HandshakeType.finished, () => [encodeFinished(new Uint8Array(32))]), decode],
      EndOfEarlyData: [
        on(HandshakeType.finished, (message) => [encodeHandshake(HandshakeType.endOfEarlyData, () => {}), message]),
        unexpected,
      ],
      'a second ClientHello': [on(HandshakeType.clientHello, (message) => [message, message]), unexpected],
    };
    for (const [name, [tamper, expected, options]] of Object.entries(cases)) {
      it(name, () => {
        const pair = againstClient(tamper, options?.()).run();
        expect(pair.server.error?.code, pair.server.error?.message ?? 'the server did not fail').to.equal(expected[0]);
        expect(pair.server.error?.alert).to.equal(expected[1]);
      });
    }

    it('a ticket from a client', () => {
      const pair = againstClient(unchanged).run();
      pair.peer.wire().send(
        encodeNewSessionTicket({
          ticketLifetimeSeconds: 1,
          ticketAgeAdd: 1,
          ticketNonce: Uint8Array.of(0),
          ticket: Uint8Array.of(1),
          extensions: {},
        }),
      );
      pair.client.take(pair.client.engine.send(new Uint8Array(0)));
      expectFailure(pair.deliver(), 'server', ...unexpected);
    });
  });
});
