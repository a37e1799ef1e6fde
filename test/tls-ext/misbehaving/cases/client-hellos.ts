/** What a client must not accept in ServerHello, HelloRetryRequest and EncryptedExtensions. */
import { SecretBytes } from '../../../../tls-ext/bytes/index.ts';
import { decodeClientHello, defaultCodePoints, isGrease } from '../../../../tls-ext/messages/index.ts';
import {
  casesAgainst,
  decodeError,
  handshakeFailure,
  illegalParameter,
  missingExtension,
  protocolVersion,
  unexpectedMessage,
  unsupportedExtension,
} from '../case.ts';
import type { Scenario } from '../handshakes.ts';
import type { ScriptedPeer } from '../scripted-peer.ts';
import {
  addExtension,
  after,
  alter,
  alterBody,
  alterExtensions,
  both,
  cutShort,
  drop,
  type Edit,
  editExtensions,
  extension,
  flip,
  framed,
  insteadOf,
  nothing,
  type RawExtension,
  removeExtension,
  repeat,
  repeatExtension,
  sendMessage,
  sentTwice,
  setByte,
  setExtension,
  swap,
  trailing,
  withBody,
} from '../scripts.ts';

const SH = 'ServerHello';
const HRR = 'HelloRetryRequest';
const EE = 'EncryptedExtensions';
const retry = { retry: true } as const;
const psk = { psk: 'beside-certificates' } as const;
const pskAlone = { psk: 'alone' } as const;
const noKey = { psk: 'unavailable' } as const;

/** SHA-256 is its hash; a new one for each engine, which wipes it. */
const plainPskOfAnotherHash: Scenario['client'] = {
  cipherSuites: [0x1301, 0x1302],
  get psk() {
    return { kind: 'plain', identity: Uint8Array.of(1), secret: new SecretBytes(new Uint8Array(32).fill(1)) } as const;
  },
};

const sessionIdAt = 4 + 2 + 32 + 1;
const suiteAt = sessionIdAt + 32;
const compressionAt = suiteAt + 2;

/** The reserved extension that the client sent, so that servers stay used to unknown ones. */
function greaseOf(peer: ScriptedPeer): number {
  const { extensionList } = decodeClientHello(bodyOf(peer.heard.get('ClientHello')), defaultCodePoints);
  const found = extensionList.find(({ type }) => isGrease(type));
  if (found === undefined) throw new Error('no GREASE in ClientHello');
  return found.type;
}

const bodyOf = (message: Uint8Array | undefined) => (message ?? new Uint8Array(4)).subarray(4);

/** A ServerHello of an older version: no supported_versions, and the mark that RFC 9846 puts into its random. */
function older(mark: readonly number[]): Edit {
  return alter(SH, (message) => {
    const body = editExtensions(message, (list) => list.filter(({ type }) => type !== 43))
      .subarray(4)
      .slice();
    body.set(mark, 2 + 24);
    return withBody(message, body);
  });
}
const downgrade = [0x44, 0x4f, 0x57, 0x4e, 0x47, 0x52, 0x44] as const;

/** Another key_share: of this group, with these bytes. */
const share = (group: number, ...bytes: readonly number[]): Edit =>
  setExtension(SH, 51, group >> 8, group & 0xff, bytes.length >> 8, bytes.length & 0xff, ...bytes);
const zeros = (count: number) => Array.from({ length: count }, () => 0);
const offCurve = [4, ...Array.from({ length: 64 }, () => 1)];

const unknown: RawExtension = extension(0x7777);
const qkdPsk = (features: number, result: number, version = 1) => extension(0xff51, 0, version, features, result);
const setQkdPsk = (features: number, result: number, version = 1): Edit =>
  setExtension(EE, 0xff51, ...qkdPsk(features, result, version).data);

export const clientHelloCases = [
  ...casesAgainst('client', {
    'a handshake without fault': [nothing, 'connected'],
    'a handshake with HelloRetryRequest': [nothing, 'connected', retry],
    'a handshake with a QKD key beside certificates': [nothing, 'connected', psk],
    'a handshake with a QKD key alone': [nothing, 'connected', pskAlone],
    'a QKD key that the server does not have': [nothing, 'connected', noKey],

    'ServerHello with another legacy_version': [setByte(SH, 5, 4), protocolVersion],
    'ServerHello with another session ID': [setByte(SH, sessionIdAt, flip), illegalParameter],
    'ServerHello without the session ID': [
      alterBody(SH, (body) => Uint8Array.of(...body.subarray(0, 34), 0, ...body.subarray(67))),
      illegalParameter,
    ],
    'ServerHello with a suite that was not offered': [setByte(SH, suiteAt + 1, 4), illegalParameter],
    'ServerHello with a compression method': [setByte(SH, compressionAt, 1), illegalParameter],
    'ServerHello without supported_versions': [removeExtension(SH, 43), protocolVersion],
    'ServerHello of TLS 1.2 with the mark of a downgrade': [older([...downgrade, 1]), illegalParameter],
    'ServerHello of TLS 1.1 with the mark of a downgrade': [older([...downgrade, 0]), illegalParameter],
    'ServerHello that selects TLS 1.2 in supported_versions': [setExtension(SH, 43, 3, 3), illegalParameter],
    'ServerHello that selects a version not offered': [setExtension(SH, 43, 3, 5), illegalParameter],
    'ServerHello without key_share': [removeExtension(SH, 51), missingExtension],
    'ServerHello with a PSK but without key_share': [removeExtension(SH, 51), illegalParameter, pskAlone],
    'ServerHello with a share of another group': [share(23, ...offCurve), illegalParameter],
    'ServerHello with an X25519 share of small order': [share(29, ...zeros(32)), illegalParameter],
    'ServerHello with an X25519 share of 31 bytes': [share(29, ...zeros(31)), illegalParameter],
    'ServerHello with a P-256 share that is not on the curve': [share(23, ...offCurve), illegalParameter, retry],
    'ServerHello with the point at infinity': [share(23, 0), illegalParameter, retry],
    'ServerHello with a compressed point': [share(23, 2, ...zeros(32)), illegalParameter, retry],
    'ServerHello with a point in the hybrid form': [share(23, 6, ...zeros(64)), illegalParameter, retry],
    'ServerHello with an empty share': [setExtension(SH, 51, 0, 29, 0, 0), decodeError],
    'ServerHello with a PSK that was not offered': [addExtension(SH, extension(41, 0, 0)), unsupportedExtension],
    'ServerHello with a PSK index out of range': [setExtension(SH, 41, 0, 9), illegalParameter, psk],
    "ServerHello with a PSK of another hash than its suite's": [
      setExtension(SH, 41, 0, 1),
      illegalParameter,
      { ...psk, client: { cipherSuites: [0x1301, 0x1302] } },
    ],
    'ServerHello with the PSK that fits no suite of HelloRetryRequest': [
      both(
        setByte(HRR, suiteAt + 1, 2),
        setByte(SH, suiteAt + 1, 2),
        addExtension(SH, extension(33)),
        addExtension(SH, extension(41, 0, 0)),
      ),
      illegalParameter,
      { ...retry, client: plainPskOfAnotherHash },
    ],
    'ServerHello with the PSK but without extension 33': [removeExtension(SH, 33), handshakeFailure, psk],
    'ServerHello with extension 33 but without the PSK': [removeExtension(SH, 41), illegalParameter, psk],
    'ServerHello with extension 33 that was not offered': [addExtension(SH, extension(33)), unsupportedExtension],
    'ServerHello with a body in extension 33': [setExtension(SH, 33, 0), decodeError, psk],
    'ServerHello without the PSK where nothing else authenticates': [
      removeExtension(SH, 41),
      handshakeFailure,
      pskAlone,
    ],
    'ServerHello with an unknown extension': [addExtension(SH, unknown), unsupportedExtension],
    'ServerHello with an answer to GREASE': [
      alterExtensions(SH, (list, peer) => [...list, { type: greaseOf(peer), data: new Uint8Array(0) }]),
      unsupportedExtension,
      { client: { grease: true } },
    ],
    'ServerHello with ALPN': [addExtension(SH, extension(16, 0, 2, 1, 0x61)), illegalParameter],
    'ServerHello with a cookie': [addExtension(SH, extension(44, 0, 1, 1)), illegalParameter],
    'ServerHello with qkd_psk': [addExtension(SH, qkdPsk(0, 1)), illegalParameter, psk],
    'ServerHello with an extension twice': [repeatExtension(SH, 51), illegalParameter],
    'ServerHello with bytes behind an extension': [setExtension(SH, 43, 3, 4, 0), decodeError],
    'ServerHello cut short': [cutShort(SH), decodeError],
    'ServerHello with bytes behind it': [trailing(SH), decodeError],
    'ServerHello twice': [sentTwice(SH), unexpectedMessage],
    'ServerHello and the next message in one record': [
      framed(SH, (message, peer) => peer.record(22, Uint8Array.of(...message, 8, 0, 0, 2, 0, 0))),
      unexpectedMessage,
    ],
    'EncryptedExtensions before ServerHello': [
      insteadOf(SH, sendMessage(Uint8Array.of(8, 0, 0, 2, 0, 0))),
      unexpectedMessage,
    ],
    'a ClientHello as the answer': [insteadOf(SH, sendMessage(Uint8Array.of(1, 0, 0, 1, 0))), unexpectedMessage],
    'a ServerHello beyond its bound': [
      insteadOf(SH, sendMessage(Uint8Array.of(2, 0xff, 0xff, 0xff))),
      ['ERR_TLS_LIMIT', 50],
    ],

    'HelloRetryRequest with another legacy_version': [setByte(HRR, 5, 1), protocolVersion, retry],
    'HelloRetryRequest with another session ID': [setByte(HRR, sessionIdAt, flip), illegalParameter, retry],
    'HelloRetryRequest with a suite that was not offered': [setByte(HRR, suiteAt + 1, 4), illegalParameter, retry],
    'HelloRetryRequest with a compression method': [setByte(HRR, compressionAt, 1), illegalParameter, retry],
    'HelloRetryRequest without supported_versions': [removeExtension(HRR, 43), protocolVersion, retry],
    'HelloRetryRequest that selects a version not offered': [setExtension(HRR, 43, 3, 5), illegalParameter, retry],
    'HelloRetryRequest that changes nothing': [removeExtension(HRR, 51), illegalParameter, retry],
    'HelloRetryRequest for a group that was not offered': [setExtension(HRR, 51, 0, 24), illegalParameter, retry],
    'HelloRetryRequest for the group of the share': [setExtension(HRR, 51, 0, 29), illegalParameter, retry],
    'HelloRetryRequest with an unknown extension': [addExtension(HRR, unknown), unsupportedExtension, retry],
    'HelloRetryRequest with extension 33': [addExtension(HRR, extension(33)), illegalParameter, retry],
    'HelloRetryRequest with pre_shared_key': [addExtension(HRR, extension(41, 0, 0)), illegalParameter, retry],
    'HelloRetryRequest with qkd_psk': [addExtension(HRR, qkdPsk(0, 1)), illegalParameter, retry],
    'HelloRetryRequest with an extension twice': [repeatExtension(HRR, 51), illegalParameter, retry],
    'HelloRetryRequest with an empty cookie': [addExtension(HRR, extension(44, 0, 0)), decodeError, retry],
    'HelloRetryRequest with a cookie, which is echoed': [
      addExtension(HRR, extension(44, 0, 1, 7)),
      'connected',
      retry,
      ({ peer }) => {
        const hello = peer.heard.get('ClientHello') as Uint8Array;
        let cookie: readonly number[] = [];
        editExtensions(hello, (list) => {
          cookie = [...(list.find(({ type }) => type === 44)?.data ?? [])];
          return list;
        });
        if (cookie.join() !== '0,1,7') throw new Error(`cookie ${cookie.join()}`);
      },
    ],
    'a second HelloRetryRequest': [
      insteadOf(SH, {
        kind: 'send',
        name: HRR,
        make: (peer) => {
          // The first once more, for the group that the share now isn't of.
          const hello = peer.heard.get('ClientHello') as Uint8Array;
          return Uint8Array.of(
            ...[2, 0, 0, 84, 3, 3],
            ...Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex'),
            32,
            ...hello.subarray(39, 71),
            ...[0x13, 1, 0, 0, 12, 0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 29],
          );
        },
      }),
      unexpectedMessage,
      retry,
    ],
    'ServerHello with another suite than HelloRetryRequest': [setByte(SH, suiteAt + 1, 3), illegalParameter, retry],
    'ServerHello with another group than HelloRetryRequest': [share(29, ...zeros(32)), illegalParameter, retry],
    'ServerHello with another version than HelloRetryRequest': [setExtension(SH, 43, 3, 3), illegalParameter, retry],

    'EncryptedExtensions with an unknown extension': [addExtension(EE, unknown), unsupportedExtension],
    'EncryptedExtensions with ALPN that was not offered': [
      addExtension(EE, extension(16, 0, 2, 1, 0x61)),
      unsupportedExtension,
    ],
    'EncryptedExtensions with a protocol outside of the list': [
      addExtension(EE, extension(16, 0, 2, 1, 0x61)),
      illegalParameter,
      { client: { alpnProtocols: ['b'] } },
    ],
    'EncryptedExtensions with two protocols': [
      addExtension(EE, extension(16, 0, 4, 1, 0x61, 1, 0x62)),
      illegalParameter,
      { client: { alpnProtocols: ['a', 'b'] } },
    ],
    'EncryptedExtensions with early_data': [addExtension(EE, extension(42)), unsupportedExtension],
    'EncryptedExtensions with key_share': [addExtension(EE, extension(51, 0, 29)), illegalParameter],
    'EncryptedExtensions with pre_shared_key': [addExtension(EE, extension(41, 0, 0)), illegalParameter, psk],
    'EncryptedExtensions with extension 33': [addExtension(EE, extension(33)), illegalParameter, psk],
    'EncryptedExtensions with supported_versions': [addExtension(EE, extension(43, 3, 4)), illegalParameter],
    'EncryptedExtensions with psk_key_exchange_modes': [addExtension(EE, extension(45, 1, 1)), illegalParameter],
    'EncryptedExtensions with post_handshake_auth': [addExtension(EE, extension(49)), illegalParameter],
    'EncryptedExtensions with oid_filters': [addExtension(EE, extension(48, 0, 0)), illegalParameter],
    'EncryptedExtensions with status_request': [addExtension(EE, extension(5)), illegalParameter],
    'EncryptedExtensions with supported_groups': [addExtension(EE, extension(10, 0, 2, 0, 24)), 'connected'],
    'EncryptedExtensions with a body in server_name': [addExtension(EE, extension(0, 0)), decodeError],
    'EncryptedExtensions with an extension twice': [
      alterExtensions(EE, () => [extension(0), extension(0)]),
      illegalParameter,
    ],
    'EncryptedExtensions with a record_size_limit of 63': [
      addExtension(EE, extension(28, 0, 63)),
      illegalParameter,
      { client: { recordSizeLimitBytes: 512 } },
    ],
    'EncryptedExtensions with a record_size_limit of 2^14 + 2': [
      addExtension(EE, extension(28, 0x40, 2)),
      illegalParameter,
      { client: { recordSizeLimitBytes: 512 } },
    ],
    'EncryptedExtensions cut short': [cutShort(EE), decodeError, psk],
    'EncryptedExtensions with bytes behind it': [trailing(EE), decodeError],
    'EncryptedExtensions left out': [drop(EE), unexpectedMessage],
    'EncryptedExtensions twice': [repeat(EE), unexpectedMessage],
    'EncryptedExtensions after Certificate': [swap(EE, 'Certificate'), unexpectedMessage],
    'EncryptedExtensions without protection': [
      framed(EE, (message, peer) => peer.plaintext(22, message)),
      unexpectedMessage,
    ],
    'EncryptedExtensions without protection, after change_cipher_spec': [
      both(
        after(SH, { kind: 'act', name: 'ccs', act: (peer) => peer.plaintext(20, Uint8Array.of(1)) }),
        framed(EE, (message, peer) => peer.plaintext(22, message)),
      ),
      unexpectedMessage,
    ],

    'qkd_psk that was not asked for': [addExtension(EE, qkdPsk(0, 0)), unsupportedExtension],
    'qkd_psk in another draft version': [setQkdPsk(0, 1, 2), illegalParameter, psk],
    'qkd_psk with an unknown result': [setQkdPsk(0, 9), illegalParameter, psk],
    'qkd_psk that says used without the PSK': [setQkdPsk(0, 1), illegalParameter, noKey],
    'qkd_psk that says resumed without a ticket': [setQkdPsk(0, 2), illegalParameter, noKey],
    'qkd_psk that says not_offered of a key that was': [setQkdPsk(0, 0), illegalParameter, noKey],
    'qkd_psk that says unavailable of the PSK in use': [setQkdPsk(0, 3), illegalParameter, psk],
    'qkd_psk that says policy of the PSK in use': [setQkdPsk(0, 4), illegalParameter, psk],
    'no qkd_psk although the PSK is in use': [removeExtension(EE, 0xff51), illegalParameter, psk],
    'qkd_psk with a feature that was not offered': [setQkdPsk(1, 1), illegalParameter, psk],
    'qkd_psk with bytes behind it': [setExtension(EE, 0xff51, 0, 1, 0, 1, 0), decodeError, psk],
    'qkd_psk cut short': [setExtension(EE, 0xff51, 0, 1, 0), decodeError, psk],
  }),
];
