/** What a server must not accept in ClientHello, and what it must pass over. */
import { expect } from 'chai';
import { hmac } from '../../../../tls-ext/crypto/index.ts';
import {
  badBinderAlone,
  badBinderBesideCertificates,
  type Cases,
  casesAgainst,
  decodeError,
  handshakeFailure,
  illegalParameter,
  missingExtension,
  noApplicationProtocol,
  protocolVersion,
  unexpectedMessage,
} from '../case.ts';
import type { Outcome, Scenario } from '../handshakes.ts';
import {
  act,
  addExtension,
  after,
  alter,
  alterBody,
  alterExtensions,
  both,
  corrupt,
  cutShort,
  type Edit,
  editExtensions,
  extension,
  flip,
  framed,
  insteadOf,
  nothing,
  removeExtension,
  repeatExtension,
  sendMessage,
  sentTwice,
  setByte,
  setExtension,
  trailing,
} from '../scripts.ts';
import { manyPsks } from './lists.ts';

const CH = 'ClientHello';
const CH2 = 'second ClientHello';
const retry = { retry: true } as const;
const cookieKey = new Uint8Array(32).fill(1);
const cookie = { retry: true, server: { cookieKey } } as const;
const psk = { psk: 'beside-certificates' } as const;
const pskAlone = { psk: 'alone' } as const;
const noKey = { psk: 'unavailable' } as const;
const x25519Only = { server: { groups: [29] } } as const;

const ENTRY = (group: number, bytes: readonly number[]) => [
  group >> 8,
  group & 0xff,
  bytes.length >> 8,
  bytes.length & 0xff,
  ...bytes,
];
const shares = (name: string, ...entries: readonly (readonly number[])[]): Edit => {
  const list = entries.flat();
  return setExtension(name, 51, list.length >> 8, list.length & 0xff, ...list);
};
const zeros = (count: number) => Array.from({ length: count }, () => 0);
const offCurve = [4, ...Array.from({ length: 64 }, () => 1)];
const offersGroup = (group: number): Edit => setExtension(CH, 10, 0, 2, group >> 8, group & 0xff);

/** What the second ClientHello must not change. */
const secondClientHellos = (suffix: string, scenario: Scenario): Cases => {
  const edits: Readonly<Record<string, Edit>> = {
    'with another server name': setExtension(CH2, 0, ...hostName(0, 0x61)),
    'with other suites': cipherSuites(CH2, 0x1303),
    'with another random': setByte(CH2, 6, flip),
    'with another session ID': setByte(CH2, 39, flip),
    'with an extension more': addExtension(CH2, extension(0x7777)),
    'with an extension less': removeExtension(CH2, 0),
    'with the old share': shares(CH2, ENTRY(29, zeros(32))),
    'with two shares': shares(CH2, ENTRY(29, zeros(32)), ENTRY(23, offCurve)),
    'with no share': shares(CH2),
  };
  const cases = Object.entries(edits).map(([name, edit]) => [
    `the second ClientHello ${name}${suffix}`,
    [edit, illegalParameter, scenario] as const,
  ]);
  return Object.fromEntries(cases);
};

/** The server's cookie as it would have made it for another suite. */
const cookieFor = (suite: number): Edit =>
  alterExtensions(CH2, (list) =>
    list.map((one) => {
      if (one.type !== 44) return one;
      const content = Uint8Array.of(suite >> 8, suite & 0xff, ...one.data.subarray(4, -32));
      return extension(44, ...one.data.subarray(0, 2), ...content, ...hmac('sha256', cookieKey, content));
    }),
  );

/** What each question for a PSK listed. */
const offeredTo = ({ side }: Outcome) =>
  side.events.flatMap((event) => (event.type === 'psk-required' ? [event.offered] : []));

/** legacy_compression_methods stand behind one suite. */
const compressionMethods = (...methods: readonly number[]): Edit =>
  alterBody(CH, (body) => Uint8Array.of(...body.subarray(0, 71), methods.length, ...methods, ...body.subarray(73)));
const cipherSuites = (name: string, ...suites: readonly number[]): Edit =>
  alterBody(name, (body) =>
    Uint8Array.of(
      ...body.subarray(0, 67),
      0,
      2 * suites.length,
      ...suites.flatMap((suite) => [suite >> 8, suite & 0xff]),
      ...body.subarray(71),
    ),
  );

const hostName = (type: number, ...name: readonly number[]) => [0, name.length + 3, type, 0, name.length, ...name];
const qkdPsk = (...data: readonly number[]): Edit => setExtension(CH, 0xff51, 0, 1, 0, ...data);
/** pre_shared_key, rebuilt from its own identity. */
const pskIdentities = (change: (identity: Uint8Array) => readonly number[]): Edit =>
  alterExtensions(CH, (list) =>
    list.map((one) => {
      if (one.type !== 41) return one;
      const length = ((one.data[2] as number) << 8) | (one.data[3] as number);
      return extension(41, ...change(one.data.subarray(4, 4 + length)));
    }),
  );
const vector16 = (bytes: readonly number[]) => [bytes.length >> 8, bytes.length & 0xff, ...bytes];
const identity = (bytes: Uint8Array | readonly number[], age = 0) => [...vector16([...bytes]), 0, 0, 0, age];
const binder = (length = 32) => [length, ...zeros(length)];

const earlyRecord = act('early data', (peer) => peer.plaintext(23, new Uint8Array(64).fill(7)));
const changeCipherSpec = act('change_cipher_spec', (peer) => peer.plaintext(20, Uint8Array.of(1)));

const times = (count: number, run: () => void) => {
  for (let i = 0; i < count; i++) run();
};
const bothHellos = (edit: (name: string) => Edit): Edit => both(edit(CH), edit(CH2));

export const serverHelloCases = [
  ...casesAgainst('server', {
    'a handshake without fault': [nothing, 'connected'],
    'a handshake with HelloRetryRequest': [nothing, 'connected', retry],
    'a handshake with HelloRetryRequest and cookie': [nothing, 'connected', cookie],
    'a handshake with a QKD key beside certificates': [nothing, 'connected', psk],
    'a handshake with a QKD key alone': [nothing, 'connected', pskAlone],
    'a QKD key that the server does not have': [nothing, 'connected', noKey],

    'ClientHello with another legacy_version': [setByte(CH, 5, 4), protocolVersion],
    'ClientHello without supported_versions': [removeExtension(CH, 43), protocolVersion],
    'ClientHello without extensions': [alterBody(CH, (body) => body.subarray(0, 73)), protocolVersion],
    'ClientHello whose supported_versions lack TLS 1.3': [setExtension(CH, 43, 2, 3, 3), protocolVersion],
    'ClientHello with unknown versions beside TLS 1.3': [setExtension(CH, 43, 6, 0x7a, 0x7a, 3, 4, 3, 5), 'connected'],
    'ClientHello with a compression method': [compressionMethods(1), illegalParameter],
    'ClientHello with two compression methods': [compressionMethods(0, 1), illegalParameter],
    'ClientHello without compression methods': [compressionMethods(), decodeError],
    'ClientHello with unknown suites': [cipherSuites(CH, 0x0a0a, 0xc02f, 0x1301), 'connected'],
    'ClientHello with no suite in common': [cipherSuites(CH, 0x1304), handshakeFailure],
    'ClientHello with no suites': [cipherSuites(CH), decodeError],
    'ClientHello with half a suite': [
      alterBody(CH, (body) => Uint8Array.of(...body.subarray(0, 67), 0, 3, 0x13, 1, 0x13, ...body.subarray(71))),
      decodeError,
    ],
    'ClientHello with a session ID of 33 bytes': [
      alterBody(CH, (body) => Uint8Array.of(...body.subarray(0, 34), 33, 0, ...body.subarray(35))),
      decodeError,
    ],
    'ClientHello without supported_groups': [removeExtension(CH, 10), missingExtension],
    'ClientHello without key_share': [removeExtension(CH, 51), missingExtension],
    'ClientHello without signature_algorithms': [removeExtension(CH, 13), missingExtension],
    'ClientHello with no group in common': [both(offersGroup(24), shares(CH)), handshakeFailure],
    'ClientHello with unknown groups': [setExtension(CH, 10, 0, 6, 0x7a, 0x7a, 0, 29, 0, 23), 'connected'],
    'ClientHello with no signature scheme in common': [setExtension(CH, 13, 0, 2, 0x08, 0x07), handshakeFailure],
    'ClientHello with an unknown signature scheme': [setExtension(CH, 13, 0, 4, 0x7a, 0x7a, 4, 3), 'connected'],
    'ClientHello with SHA-1 schemes only': [setExtension(CH, 13, 0, 4, 2, 1, 2, 3), handshakeFailure],
    'ClientHello with a share outside of supported_groups': [offersGroup(23), illegalParameter],
    'ClientHello with two shares of one group': [
      shares(CH, ENTRY(29, zeros(32)), ENTRY(29, zeros(32))),
      illegalParameter,
    ],
    'ClientHello with an X25519 share of small order': [shares(CH, ENTRY(29, zeros(32))), illegalParameter],
    'ClientHello with an X25519 share of 33 bytes': [shares(CH, ENTRY(29, zeros(33))), illegalParameter],
    'ClientHello with a P-256 share that is not on the curve': [shares(CH, ENTRY(23, offCurve)), illegalParameter],
    'ClientHello with an ML-KEM key that fails the check of FIPS 203': [
      both(
        offersGroup(0x11ec),
        shares(
          CH,
          ENTRY(
            0x11ec,
            Array.from({ length: 1216 }, () => 0xff),
          ),
        ),
      ),
      illegalParameter,
      { server: { groups: [0x11ec] } },
    ],
    'ClientHello with an empty share': [shares(CH, ENTRY(29, [])), decodeError],
    'ClientHello with an unknown extension': [addExtension(CH, extension(0x7777, 1, 2)), 'connected'],
    'ClientHello with status_request_v2': [addExtension(CH, extension(17, 0, 1, 2)), 'connected'],
    'ClientHello with an extension twice': [repeatExtension(CH, 43), illegalParameter],
    'ClientHello with an unknown extension twice': [
      both(addExtension(CH, extension(0x7777)), addExtension(CH, extension(0x7777))),
      illegalParameter,
    ],
    'ClientHello with oid_filters': [addExtension(CH, extension(48, 0, 0)), illegalParameter],
    'ClientHello with bytes behind an extension': [setExtension(CH, 10, 0, 2, 0, 29, 0), decodeError],
    'ClientHello with an odd list of groups': [setExtension(CH, 10, 0, 3, 0, 29, 0), decodeError],
    'ClientHello with a cookie out of nowhere': [addExtension(CH, extension(44, 0, 1, 1)), illegalParameter],
    'ClientHello cut short': [cutShort(CH), decodeError],
    'ClientHello with bytes behind it': [trailing(CH), decodeError],
    'ClientHello twice': [sentTwice(CH), unexpectedMessage],
    'ClientHello and the next message in one record': [
      framed(CH, (message, peer) => peer.record(22, Uint8Array.of(...message, 20, 0, 0, 0))),
      unexpectedMessage,
    ],
    'Finished before ClientHello': [insteadOf(CH, sendMessage(Uint8Array.of(20, 0, 0, 0))), unexpectedMessage],
    'a ClientHello beyond its bound': [
      insteadOf(CH, sendMessage(Uint8Array.of(1, 0xff, 0xff, 0xff))),
      ['ERR_TLS_LIMIT', 50],
    ],

    'server_name that is empty': [setExtension(CH, 0, ...hostName(0)), decodeError],
    'server_name of an unknown type': [setExtension(CH, 0, ...hostName(1, 0x61)), decodeError],
    'server_name with two names': [setExtension(CH, 0, 0, 8, 0, 0, 1, 0x61, 0, 0, 1, 0x62), decodeError],
    'server_name with a control character': [setExtension(CH, 0, ...hostName(0, 0x61, 0)), illegalParameter],
    'ALPN with an empty list': [addExtension(CH, extension(16, 0, 0)), decodeError],
    'ALPN with an empty name': [addExtension(CH, extension(16, 0, 1, 0)), decodeError],
    'ALPN with nothing in common': [
      addExtension(CH, extension(16, 0, 2, 1, 0x61)),
      noApplicationProtocol,
      { server: { alpnProtocols: ['b'] } },
    ],
    'record_size_limit of 63': [addExtension(CH, extension(28, 0, 63)), illegalParameter],

    'pre_shared_key that is not last': [
      alterExtensions(CH, (list) => [...list.slice(-1), ...list.slice(0, -1)]),
      illegalParameter,
      psk,
    ],
    'pre_shared_key without psk_key_exchange_modes': [removeExtension(CH, 45), missingExtension, psk],
    'pre_shared_key with a binder too few': [
      pskIdentities((one) => [...vector16([...identity(one), ...identity(one)]), ...vector16(binder())]),
      illegalParameter,
      psk,
    ],
    'pre_shared_key with a binder of 31 bytes': [
      pskIdentities((one) => [...vector16(identity(one)), ...vector16(binder(31))]),
      decodeError,
      psk,
    ],
    'pre_shared_key with an empty identity': [
      pskIdentities(() => [...vector16(identity([])), ...vector16(binder())]),
      decodeError,
      psk,
    ],
    'pre_shared_key with an age, which is ignored': [
      pskIdentities((one) => [...vector16(identity(one, 99)), ...vector16(binder())]),
      'connected',
      psk,
    ],
    'a binder that does not verify, beside certificates': [setByte(CH, -1, flip), badBinderBesideCertificates, psk],
    'a binder that does not verify, alone': [setByte(CH, -1, flip), badBinderAlone, pskAlone],
    'a binder of 33 bytes': [
      pskIdentities((one) => [...vector16(identity(one)), ...vector16(binder(33))]),
      badBinderBesideCertificates,
      psk,
    ],
    'a binder over another ClientHello': [setByte(CH, 6, flip), badBinderBesideCertificates, psk],
    'a wrong binder of a PSK that is not chosen': [
      corrupt(CH, (message) => {
        const changed = message.slice();
        changed[changed.length - 1] = (changed.at(-1) as number) ^ 1;
        return changed;
      }),
      'connected',
      noKey,
    ],

    'extension 33 without pre_shared_key': [
      both(removeExtension(CH, 41), removeExtension(CH, 0xff51)),
      missingExtension,
      psk,
    ],
    'extension 33 without psk_key_exchange_modes': [removeExtension(CH, 45), missingExtension, psk],
    'extension 33 without psk_dhe_ke': [setExtension(CH, 45, 1, 0), missingExtension, psk],
    'extension 33 without key_share': [removeExtension(CH, 51), missingExtension, psk],
    'extension 33 beside early_data': [addExtension(CH, extension(42)), illegalParameter, psk],
    'extension 33 with a body': [setExtension(CH, 33, 0), decodeError, psk],
    'a PSK in mode psk_ke only, which is not looked at': [
      both(removeExtension(CH, 33), removeExtension(CH, 0xff51), setExtension(CH, 45, 1, 0)),
      'connected',
      noKey,
      (outcome) => expect(offeredTo(outcome)).to.deep.equal([[]]),
    ],
    'six PSKs, of which four are looked at': [
      alterExtensions(CH, (list) => list.map((one) => (one.type === 41 ? manyPsks(6) : one))),
      'connected',
      { ...noKey, server: { qkd: false } },
      (outcome) => expect(offeredTo(outcome).map(({ length }) => length)).to.deep.equal([4]),
    ],
    'a PSK in mode psk_ke only, where nothing else authenticates': [
      both(removeExtension(CH, 33), setExtension(CH, 45, 1, 0)),
      handshakeFailure,
      { ...noKey, server: { auth: 'psk' } },
    ],
    'early_data without pre_shared_key': [addExtension(CH, extension(42)), illegalParameter],
    'early data, which is skipped': [
      both(removeExtension(CH, 33), addExtension(CH, extension(42)), after(CH, earlyRecord, earlyRecord)),
      'connected',
      noKey,
    ],
    'early data before HelloRetryRequest, which is skipped': [
      both(
        bothHellos((name) => removeExtension(name, 33)),
        addExtension(CH, extension(42)),
        after(CH, earlyRecord, earlyRecord),
      ),
      'connected',
      { ...noKey, retry: true },
    ],
    'early data beyond what is skipped': [
      both(
        removeExtension(CH, 33),
        addExtension(CH, extension(42)),
        after(
          CH,
          act('66 records', (peer) => times(66, () => peer.plaintext(23, new Uint8Array(1000).fill(7)))),
        ),
      ),
      unexpectedMessage,
      noKey,
    ],
    'early data before HelloRetryRequest, beyond what is skipped': [
      both(
        bothHellos((name) => removeExtension(name, 33)),
        addExtension(CH, extension(42)),
        after(
          CH,
          act('66 records', (peer) => times(66, () => peer.plaintext(23, new Uint8Array(1000).fill(7)))),
        ),
      ),
      unexpectedMessage,
      { ...noKey, retry: true },
    ],
    'early data that was not announced': [after(CH, earlyRecord), ['ERR_TLS_BAD_RECORD_MAC', 20]],

    'qkd_psk that says key and has none': [
      addExtension(CH, extension(0xff51, 0, 1, 0, 1)),
      illegalParameter,
      { server: { qkd: true } },
    ],
    'qkd_psk that says none and has a key': [qkdPsk(0, 7), illegalParameter, psk],
    'qkd_psk that says ticket and has none': [
      addExtension(CH, extension(0xff51, 0, 1, 0, 2)),
      illegalParameter,
      { server: { qkd: true } },
    ],
    'qkd_psk that contradicts pre_shared_key, where HelloRetryRequest is due': [
      qkdPsk(0, 7),
      illegalParameter,
      { ...psk, retry: true },
    ],
    'qkd_psk that says none and has a key, which is ignored for want of extension 33': [
      both(qkdPsk(0, 7), removeExtension(CH, 33)),
      illegalParameter,
      psk,
    ],
    'qkd_psk with an unknown offer': [qkdPsk(9), illegalParameter, psk],
    'qkd_psk with an unknown reason': [qkdPsk(0, 99), illegalParameter, psk],
    'qkd_psk with bytes behind it': [qkdPsk(1, 0), decodeError, psk],
    'qkd_psk cut short': [setExtension(CH, 0xff51, 0, 1, 0), decodeError, psk],
    'qkd_psk of another draft version, which is ignored': [setExtension(CH, 0xff51, 0, 2, 7, 7), 'connected', noKey],
    'qkd_psk with unknown features, which are ignored': [setExtension(CH, 0xff51, 0, 1, 0xfe, 1), 'connected', psk],

    ...secondClientHellos('', retry),
    ...secondClientHellos(', the server holding nothing', cookie),
    'the second ClientHello with early_data': [
      both(
        bothHellos((name) => removeExtension(name, 33)),
        addExtension(CH2, extension(42)),
      ),
      illegalParameter,
      { ...noKey, retry: true },
    ],
    'the second ClientHello with padding, which is allowed': [
      addExtension(CH2, extension(21, 0, 0)),
      'connected',
      retry,
    ],
    'the second ClientHello with a cookie that was not given': [
      addExtension(CH2, extension(44, 0, 1, 1)),
      illegalParameter,
      retry,
    ],
    'the second ClientHello without the cookie': [removeExtension(CH2, 44), illegalParameter, cookie],
    'the second ClientHello with a forged cookie': [
      alter(CH2, (message) =>
        editExtensions(message, (list) =>
          list.map((one) => (one.type === 44 ? extension(44, ...one.data.map((b, i) => (i === 9 ? b ^ 1 : b))) : one)),
        ),
      ),
      illegalParameter,
      cookie,
    ],
    'the second ClientHello with a cookie of ours for another suite': [cookieFor(0x1303), illegalParameter, cookie],
    'the second ClientHello with a cookie of ours for a suite that we do not speak': [
      cookieFor(0x1399),
      illegalParameter,
      cookie,
    ],
    'the second ClientHello without extension 33': [
      removeExtension(CH2, 33),
      illegalParameter,
      { ...psk, retry: true },
    ],
    'the second ClientHello with extension 33 but without the PSK': [
      removeExtension(CH2, 41),
      missingExtension,
      { ...psk, retry: true },
    ],
    'the second ClientHello with another qkd_psk': [
      setExtension(CH2, 0xff51, 0, 1, 4, 1),
      illegalParameter,
      { ...psk, retry: true },
    ],
    'the second ClientHello with a binder over itself alone': [
      setByte(CH2, -1, flip),
      badBinderBesideCertificates,
      { ...psk, retry: true },
    ],
    'change_cipher_spec between the ClientHellos': [after(CH, changeCipherSpec), 'connected', cookie],
    'Finished instead of the second ClientHello': [
      insteadOf(CH2, sendMessage(Uint8Array.of(20, 0, 0, 0))),
      unexpectedMessage,
      retry,
    ],
    'ServerHello from a client': [insteadOf(CH, sendMessage(Uint8Array.of(2, 0, 0, 0))), unexpectedMessage, x25519Only],
  }),
];
