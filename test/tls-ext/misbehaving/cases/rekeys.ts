/** The rekey of a live connection (draft, "Rekeying a live connection"): what each role must not accept. */
import { expect } from 'chai';
import {
  badRecordMac,
  type Cases,
  casesAgainst,
  decodeError,
  decryptError,
  illegalParameter,
  limit,
  oversized,
  unexpectedMessage,
} from '../case.ts';
import type { Outcome, Scenario } from '../handshakes.ts';
import type { RekeyKind } from '../rekey-steps.ts';
import {
  act,
  after,
  alter,
  alterBody,
  before,
  both,
  corrupt,
  cutShort,
  drop,
  type Edit,
  finally_,
  flip,
  framed,
  insteadOf,
  nothing,
  repeat,
  sendMessage,
  sendRecord,
  setByte,
  trailing,
} from '../scripts.ts';

const REQ = 'rekey_request';
const RSP = 'rekey_response';
const FIN = 'rekey_finish';
const WANT = 'rekey_wanted';
const KEYS = 'keys of the next epoch';

const rekey = (kind: RekeyKind): Scenario => ({ psk: 'beside-certificates', rekey: kind });
const withKey = rekey('with-key');
const withoutKey = rekey('without-key');
const unavailable = rekey('unavailable');
const later = rekey('later');

const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const data = Uint8Array.of(9);
const closeNotify = sendRecord(21, Uint8Array.of(1, 0));
const message = (type: number, ...body: readonly number[]) => Uint8Array.of(type, 0, 0, body.length, ...body);
const wanted = message(0xe3);
const finish = message(0xe2, 0, 0, 0, 1, ...new Uint8Array(32));
const refused = message(0xe1, 0, 0, 0, 1, 0);

/** Positions in the bodies. */
const EPOCH_LOW_BYTE = 4 + 3;
const GROUP_LOW_BYTE = 4 + 5;
const STATUS = 4 + 4;
const RESPONSE_GROUP_LOW_BYTE = 4 + 6;
/** X25519: the whole share is zero, of small order. */
const zeroShare = (name: string, at: number): Edit =>
  corrupt(name, (sent) => sent.map((byte, i) => (i >= at && i < at + 32 ? 0 : byte)));
/** The record goes on behind the message. */
const notAlone = (name: string): Edit =>
  framed(name, (sent, peer) => peer.record(HANDSHAKE, Uint8Array.of(...sent, ...wanted)));
const runsOver = (name: string): Edit =>
  framed(name, (sent, peer) => peer.record(HANDSHAKE, Uint8Array.of(...sent, 24)));

const events = ({ side }: Outcome) =>
  side.events.flatMap((event) => (event.type === 'rekey-refused' ? [event.why] : []));
const refusedFor = (why: string | undefined) => (outcome: Outcome) => {
  expect(events(outcome)).to.deep.equal([why]);
  expect(outcome.side.engine.epoch).to.equal(0);
};
const inEpoch = (epoch: number) => (outcome: Outcome) => {
  expect(outcome.side.engine.epoch).to.equal(epoch);
  expect(outcome.side.error).to.equal(undefined);
};

const againstServer: Cases = {
  'a rekey with a key': [nothing, 'connected', withKey],
  'a rekey without a key': [nothing, 'connected', withoutKey],
  'a rekey for which the server has no key': [nothing, 'connected', unavailable],
  'a rekey without a key, which policy refuses': [
    both(drop(FIN), drop(KEYS)),
    'connected',
    { ...withoutKey, server: { rekeyWithoutKey: 'refuse' } },
  ],
  'data in front of the finish, and behind it': [
    both(before(FIN, sendRecord(APPLICATION_DATA, data)), after(KEYS, sendRecord(APPLICATION_DATA, data))),
    'connected',
    withKey,
    ({ side }) => expect(side.received).to.deep.equal([9, 9]),
  ],

  'a rekey_request for the epoch at hand': [setByte(REQ, EPOCH_LOW_BYTE, 0), illegalParameter, withKey],
  'a rekey_request for the epoch after the next': [setByte(REQ, EPOCH_LOW_BYTE, 2), illegalParameter, withKey],
  'a rekey_request with a share of another group': [setByte(REQ, GROUP_LOW_BYTE, 23), illegalParameter, withKey],
  'a rekey_request with a share of small order': [zeroShare(REQ, 12), illegalParameter, withoutKey],
  'a rekey_request with a share that is too short': [
    alterBody(REQ, (body) => Uint8Array.of(...body.subarray(0, 6), 0, 31, ...body.subarray(8, 39), 0, 0)),
    illegalParameter,
    withoutKey,
  ],
  'a rekey_request cut short': [cutShort(REQ), decodeError, withKey],
  'a rekey_request with bytes behind it': [trailing(REQ), decodeError, withoutKey],
  'a rekey_request with an identity, but no binder': [
    alterBody(REQ, (body) => body.subarray(0, -33)),
    decodeError,
    withKey,
  ],
  'a rekey_request with a binder of 31 bytes': [
    alterBody(REQ, (body) => Uint8Array.of(...body.subarray(0, -33), 31, ...new Uint8Array(31))),
    decodeError,
    withKey,
  ],
  'a rekey_request beyond its bound': [
    alterBody(REQ, (body) => Uint8Array.of(...body, ...new Uint8Array(4_097))),
    oversized,
    withKey,
  ],
  'a rekey_request with a binder that does not verify': [
    both(setByte(REQ, -1, flip), drop(FIN), drop(KEYS)),
    'connected',
    withKey,
    refusedFor('binder'),
  ],
  'a rekey_request whose share was changed under its binder': [
    both(setByte(REQ, 20, flip), drop(FIN), drop(KEYS)),
    'connected',
    withKey,
    refusedFor('binder'),
  ],
  'a rekey_request with an identity that is no imported one': [
    both(
      alterBody(REQ, (body) => Uint8Array.of(...body.subarray(0, 40), 0, 1, 7, 32, ...new Uint8Array(32))),
      drop(FIN),
      drop(KEYS),
    ),
    'connected',
    withKey,
    (outcome) => {
      refusedFor('unavailable')(outcome);
      expect(outcome.side.event('rekey-key-required'), 'a question that nobody can answer').to.equal(undefined);
    },
  ],
  'a rekey_request with the identity of a handshake key': [
    // The purpose in the context: 1 instead of 2.
    both(
      alter(REQ, (request) => {
        const at = Buffer.from(request).indexOf('qkd_psk/1') + 9;
        return request.map((byte, i) => (i === at ? 1 : byte));
      }),
      drop(FIN),
      drop(KEYS),
    ),
    'connected',
    withKey,
    refusedFor('unavailable'),
  ],
  'a rekey_request twice': [
    both(
      after(
        RSP,
        act('again', (peer) => peer.send((peer.heard.get('224') as Uint8Array).slice())),
      ),
      insteadOf(FIN),
    ),
    unexpectedMessage,
    withKey,
  ],
  'a second rekey_request while the server looks for the key': [repeat(REQ), unexpectedMessage, later],
  'a rekey_finish while the server looks for the key': [finally_(sendMessage(finish)), unexpectedMessage, later],
  'data while the server looks for the key': [
    finally_(sendRecord(APPLICATION_DATA, data)),
    'connected',
    later,
    ({ side }) => expect(side.received).to.deep.equal([9]),
  ],
  'a rekey_request and the next message in one record': [notAlone(REQ), unexpectedMessage, withKey],
  'a rekey_request and the beginning of the next message in one record': [runsOver(REQ), unexpectedMessage, withKey],
  'a rekey_finish out of nowhere': [before(REQ, sendMessage(finish)), unexpectedMessage, withKey],
  'a rekey_finish after a refusal': [finally_(sendMessage(finish)), unexpectedMessage, unavailable],
  'a rekey_response from a client': [before(REQ, sendMessage(refused)), unexpectedMessage, withKey],
  'a rekey_response instead of the finish': [insteadOf(FIN, sendMessage(refused)), unexpectedMessage, withKey],
  'a rekey_wanted from a client': [before(REQ, sendMessage(wanted)), unexpectedMessage, withKey],
  'a rekey_finish with a confirmation that does not verify': [setByte(FIN, -1, flip), decryptError, withKey],
  'a rekey_finish without a key, with a confirmation that does not verify': [
    setByte(FIN, -1, flip),
    decryptError,
    withoutKey,
  ],
  'a rekey_finish for another epoch': [setByte(FIN, EPOCH_LOW_BYTE, 2), illegalParameter, withKey],
  'a rekey_finish cut short': [cutShort(FIN), decodeError, withKey],
  'a rekey_finish with bytes behind it': [trailing(FIN), decodeError, withKey],
  'a rekey_finish twice': [
    after(
      KEYS,
      act('again', (peer) => peer.send(peer.heard.get('226') as Uint8Array)),
    ),
    unexpectedMessage,
    withKey,
  ],
  'a rekey_finish and the beginning of the next message in one record': [runsOver(FIN), unexpectedMessage, withKey],
  'data under the old keys behind the finish': [
    both(drop(KEYS), finally_(sendRecord(APPLICATION_DATA, data))),
    badRecordMac,
    withKey,
  ],
  'data under the new keys in front of the finish': [
    (script) => {
      const keys = script.find(({ name }) => name === KEYS);
      return insteadOf(FIN, ...(keys === undefined ? [] : [keys]), sendRecord(APPLICATION_DATA, data))(script);
    },
    badRecordMac,
    withKey,
  ],
  'close_notify instead of the finish': [insteadOf(FIN, closeNotify), unexpectedMessage, withKey],
  'close_notify while the server looks for the key': [finally_(closeNotify), unexpectedMessage, later],
  'close_notify behind the finish': [finally_(closeNotify), 'connected', withKey, inEpoch(1)],
  'KeyUpdate instead of the finish': [insteadOf(FIN, sendMessage(message(24, 0))), unexpectedMessage, withKey],
  'rekey_requests without end': [
    (script) => {
      const request = script.filter(({ name }) => name === REQ);
      const response = script.filter(({ name }) => name === RSP);
      return [...script, ...Array.from({ length: 16 }, () => [...request, ...response]).flat()];
    },
    limit,
    unavailable,
  ],
};

const againstClient: Cases = {
  'a rekey with a key': [nothing, 'connected', withKey],
  'a rekey without a key': [nothing, 'connected', withoutKey],
  'a rekey that the server refuses': [nothing, 'connected', unavailable],
  'data in front of the response, and behind it': [
    both(before(RSP, sendRecord(APPLICATION_DATA, data)), after(KEYS, sendRecord(APPLICATION_DATA, data))),
    'connected',
    withKey,
    ({ side }) => expect(side.received).to.deep.equal([9, 9]),
  ],

  'a second rekey_wanted in an epoch': [before(RSP, sendMessage(wanted)), unexpectedMessage, withKey],
  'a second rekey_wanted in an epoch, after a refusal': [finally_(sendMessage(wanted)), unexpectedMessage, unavailable],
  'a rekey_wanted in the next epoch': [
    finally_(sendMessage(wanted)),
    'connected',
    withKey,
    ({ side }) => expect(side.events.filter(({ type }) => type === 'rekey-wanted')).to.have.length(2),
  ],
  'a rekey_wanted with a body': [trailing(WANT), decodeError, withKey],
  'a rekey_wanted and the beginning of the next message in one record': [runsOver(WANT), unexpectedMessage, withKey],
  'a rekey_request from a server': [
    before(WANT, sendMessage(message(0xe0, 0, 0, 0, 1, 0, 29, 0, 1, 5, 0, 0))),
    unexpectedMessage,
    withKey,
  ],
  'a rekey_finish from a server': [before(WANT, sendMessage(finish)), unexpectedMessage, withKey],
  'a rekey_finish instead of the response': [insteadOf(RSP, sendMessage(finish)), unexpectedMessage, withKey],
  'a rekey_response out of nowhere': [before(WANT, sendMessage(refused)), unexpectedMessage, withKey],
  'a rekey_response twice': [
    finally_(act('again', (peer) => peer.send(peer.heard.get('225') as Uint8Array))),
    unexpectedMessage,
    withKey,
  ],
  'a rekey_response for the epoch at hand': [setByte(RSP, EPOCH_LOW_BYTE, 0), illegalParameter, withKey],
  'a rekey_response for another epoch, confirmed': [
    alter(RSP, (sent) => sent.map((byte, i) => (i === EPOCH_LOW_BYTE ? 2 : byte))),
    illegalParameter,
    withKey,
  ],
  'a refusal for another epoch': [setByte(RSP, EPOCH_LOW_BYTE, 2), illegalParameter, unavailable],
  'a rekey_response with a share of another group': [
    alter(RSP, (sent) => sent.map((byte, i) => (i === RESPONSE_GROUP_LOW_BYTE ? 23 : byte))),
    illegalParameter,
    withKey,
  ],
  'a rekey_response with a share of small order': [zeroShare(RSP, 13), illegalParameter, withKey],
  'a rekey_response that says without_key of a request with one': [setByte(RSP, STATUS, 2), illegalParameter, withKey],
  'a rekey_response that says used of a request without a key': [setByte(RSP, STATUS, 1), illegalParameter, withoutKey],
  'a rekey_response of an unknown status': [setByte(RSP, STATUS, 3), illegalParameter, withKey],
  'a rekey_response cut short': [cutShort(RSP), decodeError, withKey],
  'a rekey_response with bytes behind it': [corrupt(RSP, (sent) => grown(sent)), decodeError, withKey],
  'a refusal with a share': [setByte(RSP, STATUS, 0), decodeError, withKey],
  'a rekey_response with a confirmation that does not verify': [setByte(RSP, -1, flip), decryptError, withKey],
  'a rekey_response without a key, with a confirmation that does not verify': [
    setByte(RSP, -1, flip),
    decryptError,
    withoutKey,
  ],
  'a rekey_response confirmed over another share': [setByte(RSP, 20, flip), decryptError, withoutKey],
  'a rekey_response and the beginning of the next message in one record': [runsOver(RSP), unexpectedMessage, withKey],
  'data under the old keys behind the response': [
    both(drop(KEYS), before(FIN, sendRecord(APPLICATION_DATA, data))),
    badRecordMac,
    withKey,
  ],
  'close_notify instead of the response': [
    insteadOf(RSP, closeNotify),
    'connected',
    withKey,
    (outcome) => {
      refusedFor('closed')(outcome);
      expect(outcome.side.event('closed')).not.to.equal(undefined);
    },
  ],
  'KeyUpdate instead of the response': [insteadOf(RSP, sendMessage(message(24, 0))), unexpectedMessage, withKey],
};

/** One byte more, which the header counts. */
function grown(sent: Uint8Array): Uint8Array {
  const longer = Uint8Array.of(...sent, 0);
  longer[3] = (longer[3] as number) + 1;
  return longer;
}

export const rekeyCases = [...casesAgainst('server', againstServer), ...casesAgainst('client', againstClient)];
