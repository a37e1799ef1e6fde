/** Records, alerts, and what follows the handshake: the same rules for both roles. */
import { expect } from 'chai';
import {
  badRecordMac,
  casesAgainst,
  casesAgainstBoth,
  decodeError,
  illegalParameter,
  limit,
  peerAlert,
  recordOverflow,
  unexpectedMessage,
} from '../case.ts';
import { exchangeData, type Outcome } from '../handshakes.ts';
import type { ScriptedPeer } from '../scripted-peer.ts';
import {
  act,
  addExtension,
  before,
  both,
  extension,
  finally_,
  framed,
  sendMessage,
  sendPlaintext,
  sendRecord,
  setExtension,
} from '../scripts.ts';

const FIN = 'Finished';
const one = Uint8Array.of(1);
const none = new Uint8Array(0);
const message = (type: number, ...body: readonly number[]) => Uint8Array.of(type, 0, 0, body.length, ...body);
const ticket = message(4, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 1, 7, 0, 0);
const keyUpdate = (request: number) => message(24, request);
const does = (run: (peer: ScriptedPeer) => void) => finally_(act('last', run));
const data = Uint8Array.of(9);
const alert = (level: number, description: number) => Uint8Array.of(level, description);

/** Between the halves of the peer's Finished. */
const inside = (run: (peer: ScriptedPeer) => void) =>
  framed(FIN, (sent, peer) => {
    peer.record(22, sent.subarray(0, 9));
    run(peer);
    peer.record(22, sent.subarray(9));
  });
const inHandshake = (run: (peer: ScriptedPeer) => void) => before(FIN, act('in front of Finished', run));
const times = (count: number, run: () => void) => {
  for (let i = 0; i < count; i++) run();
};

const closed = ({ side }: Outcome) => {
  expect(side.event('closed'), 'close_notify was passed on').not.to.equal(undefined);
  expect(side.received, 'data after close_notify').to.deep.equal([]);
};

export const recordCases = casesAgainstBoth({
  'change_cipher_spec in the handshake': [before(FIN, sendPlaintext(20, one)), 'connected'],
  'change_cipher_spec without end': [inHandshake((peer) => times(6, () => peer.plaintext(20, one))), limit],
  'change_cipher_spec of another value': [before(FIN, sendPlaintext(20, Uint8Array.of(2))), unexpectedMessage],
  'change_cipher_spec of two bytes': [before(FIN, sendPlaintext(20, Uint8Array.of(1, 1))), unexpectedMessage],
  'change_cipher_spec of no bytes': [before(FIN, sendPlaintext(20, none)), unexpectedMessage],
  'change_cipher_spec under protection': [before(FIN, sendRecord(20, one)), unexpectedMessage],
  'change_cipher_spec after Finished': [finally_(sendPlaintext(20, one)), unexpectedMessage],

  'change_cipher_spec inside of a handshake message': [inside((peer) => peer.plaintext(20, one)), unexpectedMessage],
  'an alert inside of a handshake message': [inside((peer) => peer.record(21, alert(1, 90))), unexpectedMessage],
  'application data inside of a handshake message': [inside((peer) => peer.record(23, data)), unexpectedMessage],
  'empty application data inside of a handshake message': [inside((peer) => peer.record(23, none)), unexpectedMessage],
  'empty application data before Finished': [before(FIN, sendRecord(23, none, 2)), unexpectedMessage],
  'an empty handshake record': [before(FIN, sendRecord(22, none)), unexpectedMessage],
  'an empty handshake record with padding': [before(FIN, sendRecord(22, none, 7)), unexpectedMessage],
  'an empty alert': [before(FIN, sendRecord(21, none, 3)), unexpectedMessage],
  'a record of padding only': [inHandshake((peer) => peer.seal(new Uint8Array(8))), unexpectedMessage],
  'a protected record of an unknown type': [before(FIN, sendRecord(24, one)), unexpectedMessage],
  'a plaintext record of an unknown type': [before(FIN, sendPlaintext(24, one)), unexpectedMessage],
  'a protected record whose outer type is handshake': [
    inHandshake((peer) => peer.seal(Uint8Array.of(1, 22), 22)),
    unexpectedMessage,
  ],
  'a plaintext handshake record under keys': [framed(FIN, (sent, peer) => peer.plaintext(22, sent)), unexpectedMessage],
  'plaintext application data': [finally_(sendPlaintext(23, new Uint8Array(40))), badRecordMac],
  'a plaintext alert after protected records': [finally_(sendPlaintext(21, alert(1, 0))), unexpectedMessage],
  'a record without room for a tag': [finally_(sendPlaintext(23, new Uint8Array(16))), badRecordMac],
  'a record of 2^14 + 257 bytes': [finally_(sendPlaintext(23, new Uint8Array(16_641))), recordOverflow],
  'a TLSInnerPlaintext of 2^14 + 2 bytes': [does((peer) => peer.record(23, new Uint8Array(16_385))), recordOverflow],
  'a TLSInnerPlaintext of 2^14 + 2 bytes by padding': [does((peer) => peer.record(23, data, 16_384)), recordOverflow],
  'padding up to 2^14 + 1 bytes': [
    does((peer) => peer.record(23, data, 16_383)),
    'connected',
    {},
    ({ side }) => expect(side.received).to.deep.equal([9]),
  ],
  'empty application data': [does((peer) => peer.record(23, none)), 'connected'],
  'empty application data without end': [does((peer) => times(33, () => peer.record(23, none))), unexpectedMessage],
  'a record whose bytes were changed': [
    does((peer) => {
      peer.record(23, data);
      const last = peer.outbox.at(-1) as Uint8Array;
      last[7] = (last[7] as number) ^ 1;
    }),
    badRecordMac,
  ],
  'a record that was repeated': [
    does((peer) => {
      peer.record(22, keyUpdate(0).subarray(0, 2));
      peer.raw((peer.outbox.at(-1) as Uint8Array).slice());
    }),
    badRecordMac,
  ],
  'a record that was left out': [
    does((peer) => {
      peer.record(23, data);
      peer.outbox.pop();
      peer.record(23, data);
    }),
    badRecordMac,
  ],
  'two records in the other order': [
    does((peer) => {
      peer.record(23, data);
      peer.record(23, data);
      peer.outbox.reverse();
    }),
    badRecordMac,
  ],

  'an alert of one byte': [finally_(sendRecord(21, one)), decodeError],
  'two alerts in one record': [finally_(sendRecord(21, Uint8Array.of(1, 0, 1, 0))), decodeError],
  'an alert in two records': [finally_(sendRecord(21, one), sendRecord(21, one)), decodeError],
  'a fatal alert': [finally_(sendRecord(21, alert(2, 40))), peerAlert(40)],
  'an error alert of the level warning': [finally_(sendRecord(21, alert(1, 40))), peerAlert(40)],
  'an unknown alert': [finally_(sendRecord(21, alert(1, 199))), peerAlert(199 as never)],
  'data after an error alert': [finally_(sendRecord(21, alert(2, 80)), sendRecord(23, data)), peerAlert(80)],
  'an error alert in the handshake': [before(FIN, sendRecord(21, alert(1, 42))), peerAlert(42)],
  'close_notify in the handshake': [before(FIN, sendRecord(21, alert(1, 0))), peerAlert(0)],
  'close_notify, then data, which is ignored': [
    finally_(sendRecord(21, alert(1, 0)), sendRecord(23, data)),
    'connected',
    {},
    closed,
  ],
  'close_notify, then nonsense, which is ignored': [
    finally_(
      sendRecord(21, alert(1, 0)),
      act('raw', (peer) => peer.raw(new Uint8Array(300).fill(0xff))),
    ),
    'connected',
    {},
    closed,
  ],
  'user_canceled, then close_notify': [
    finally_(sendRecord(21, alert(1, 90)), sendRecord(21, alert(1, 0))),
    'connected',
    {},
    closed,
  ],
  'close_notify, after which our side still sends': [
    finally_(sendRecord(21, alert(1, 0))),
    'connected',
    {},
    (outcome) => {
      closed(outcome);
      expect(exchangeData(outcome).toPeer).to.deep.equal([1, 2, 3]);
    },
  ],

  'KeyUpdate, then data under the new keys': [
    both(
      finally_(sendMessage(keyUpdate(0))),
      does((peer) => peer.updateSendingKeys()),
    ),
    'connected',
  ],
  'KeyUpdate, then data under the old keys': [finally_(sendMessage(keyUpdate(0)), sendRecord(23, data)), badRecordMac],
  'data under new keys without KeyUpdate': [
    does((peer) => {
      peer.updateSendingKeys();
      peer.record(23, data);
    }),
    badRecordMac,
  ],
  'KeyUpdate that asks for one': [
    does((peer) => {
      peer.send(keyUpdate(1));
      peer.updateSendingKeys();
    }),
    'connected',
    {},
    ({ peer }) => expect(peer.nextMessage(), 'the answer').to.deep.equal(keyUpdate(0)),
  ],
  'KeyUpdate that asks for something else': [finally_(sendMessage(keyUpdate(2))), illegalParameter],
  'KeyUpdate of no bytes': [finally_(sendMessage(message(24))), decodeError],
  'KeyUpdate of two bytes': [finally_(sendMessage(message(24, 0, 0))), decodeError],
  'KeyUpdate and the next message in one record': [
    finally_(sendRecord(22, Uint8Array.of(...keyUpdate(0), ...keyUpdate(0)))),
    unexpectedMessage,
  ],
  'KeyUpdate and the beginning of the next message in one record': [
    finally_(sendRecord(22, Uint8Array.of(...keyUpdate(0), 24))),
    unexpectedMessage,
  ],
  'KeyUpdates without end': [
    does((peer) =>
      times(33, () => {
        peer.send(keyUpdate(0));
        peer.updateSendingKeys();
      }),
    ),
    limit,
  ],
  'KeyUpdate before the handshake has ended': [before(FIN, sendMessage(keyUpdate(1))), unexpectedMessage],
  'Finished after the handshake': [finally_(sendMessage(message(20, ...new Uint8Array(32)))), unexpectedMessage],
  'ClientHello after the handshake': [finally_(sendMessage(message(1, 3, 3))), unexpectedMessage],
  'ServerHello after the handshake': [finally_(sendMessage(message(2, 3, 3))), unexpectedMessage],
  'CertificateRequest after the handshake': [
    finally_(sendMessage(message(13, 1, 9, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3))),
    unexpectedMessage,
  ],
  'Certificate after the handshake': [finally_(sendMessage(message(11, 0, 0, 0, 0))), unexpectedMessage],
  'an unknown message after the handshake': [finally_(sendMessage(message(99))), unexpectedMessage],
  'a rekey message while rekeying is off': [finally_(sendMessage(message(0xe0, 0, 0, 0, 1))), unexpectedMessage],
  'data inside of a message after the handshake': [
    finally_(sendRecord(22, keyUpdate(0).subarray(0, 3)), sendRecord(23, data)),
    unexpectedMessage,
  ],
});

export const ticketCases = [
  ...casesAgainst('client', {
    'a ticket, which is of no use to us': [finally_(sendMessage(ticket)), 'connected'],
    'a ticket with an unknown extension': [
      finally_(sendMessage(message(4, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 1, 7, 0, 4, 0x77, 0x77, 0, 0))),
      'connected',
    ],
    'a ticket of no bytes': [finally_(sendMessage(message(4, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 0, 0))), decodeError],
    'a ticket with key_share': [
      finally_(sendMessage(message(4, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 1, 7, 0, 4, 0, 51, 0, 0))),
      illegalParameter,
    ],
    'a ticket with qkd_psk': [
      finally_(sendMessage(message(4, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 1, 7, 0, 8, 0xff, 0x51, 0, 4, 0, 1, 0, 1))),
      illegalParameter,
    ],
    'a ticket with bytes behind it': [finally_(sendMessage(message(4, ...ticket.subarray(4), 0))), decodeError],
    'tickets without end': [does((peer) => times(33, () => peer.send(ticket))), limit],
    'EndOfEarlyData after the handshake': [finally_(sendMessage(message(5))), unexpectedMessage],
  }),
  ...casesAgainst('server', {
    'a ticket from a client': [finally_(sendMessage(ticket)), unexpectedMessage],
    'EndOfEarlyData after the handshake': [finally_(sendMessage(message(5))), unexpectedMessage],
  }),
];

/** What holds because it was negotiated. */
export const negotiatedCases = [
  ...casesAgainst('client', {
    'a record beyond the limit that we announced': [
      both(
        addExtension('EncryptedExtensions', extension(28, 0x40, 1)),
        does((peer) => peer.record(23, new Uint8Array(512))),
      ),
      recordOverflow,
      { client: { recordSizeLimitBytes: 512 } },
    ],
    'KeyUpdate while rekeying is on': [
      both(setExtension('EncryptedExtensions', 0xff51, 0, 1, 1, 1), finally_(sendMessage(keyUpdate(0)))),
      unexpectedMessage,
      { psk: 'beside-certificates', client: { offerRekey: true } },
    ],
  }),
  ...casesAgainst('server', {
    'a record beyond the limit that we announced': [
      both(
        addExtension('ClientHello', extension(28, 0x40, 1)),
        does((peer) => peer.record(23, new Uint8Array(512))),
      ),
      recordOverflow,
      { server: { recordSizeLimitBytes: 512 } },
    ],
    'KeyUpdate while rekeying is on': [
      both(setExtension('ClientHello', 0xff51, 0, 1, 1, 1), finally_(sendMessage(keyUpdate(0)))),
      unexpectedMessage,
      { psk: 'beside-certificates', server: { offerRekey: true } },
    ],
  }),
];

/** The first record of all. */
export const firstRecordCases = [
  ...casesAgainst('server', {
    'change_cipher_spec before ClientHello': [before('ClientHello', sendPlaintext(20, one)), unexpectedMessage],
    'application data before ClientHello': [before('ClientHello', sendPlaintext(23, one)), unexpectedMessage],
    'an empty record before ClientHello': [before('ClientHello', sendPlaintext(22, none)), unexpectedMessage],
    'a plaintext record of 2^14 + 1 bytes': [
      before('ClientHello', sendPlaintext(22, new Uint8Array(16_385))),
      recordOverflow,
    ],
    'ClientHello in a record of version 0x0301': [
      framed('ClientHello', (sent, peer) => peer.plaintext(22, sent, 0x0301)),
      'connected',
    ],
    'ClientHello in a record of an unknown version': [
      framed('ClientHello', (sent, peer) => peer.plaintext(22, sent, 0x7f1c)),
      'connected',
    ],
    'an alert before ClientHello': [before('ClientHello', sendPlaintext(21, alert(2, 40))), peerAlert(40)],
  }),
  ...casesAgainst('client', {
    'change_cipher_spec before ServerHello': [before('ServerHello', sendPlaintext(20, one)), 'connected'],
    'application data before ServerHello': [before('ServerHello', sendPlaintext(23, one)), unexpectedMessage],
    'a plaintext record of 2^14 + 1 bytes': [
      before('ServerHello', sendPlaintext(22, new Uint8Array(16_385))),
      recordOverflow,
    ],
    'ServerHello in a record of an unknown version': [
      framed('ServerHello', (sent, peer) => peer.plaintext(22, sent, 0x7f1c)),
      'connected',
    ],
    'an alert instead of ServerHello': [before('ServerHello', sendPlaintext(21, alert(2, 40))), peerAlert(40)],
  }),
];
