/** What each end of the key channel must make of a peer: section 8 of the draft, rule by rule. */
import { expect } from 'chai';
import { deriveCheckValues, encodeMessage, type KeyChannelMessage } from '../../../tls-ext/key-channel/index.ts';
import {
  altered,
  anotherVersion,
  type ChannelCases,
  type ChannelOutcome,
  type ChannelRole,
  casesAgainst,
  decodeError,
  duplicateReference,
  framed,
  hello,
  keysMessage,
  peerAbort,
  selfConnection,
  type Turn,
  unexpectedMessage,
  unknownBatch,
  unknownMessage,
  wrongDrawer,
} from './case.ts';
import { keyOf, ksidOf, qos, reference004, reference014 } from './fixtures.ts';

const k = ksidOf(1);
const [fromDrawer, fromAnswerer] = [hello(0xd1), hello(0xa1)];
const stream: KeyChannelMessage = { type: 'stream', ksid: k, qos };
const opened: KeyChannelMessage = { type: 'opened', ksid: k, keyChunkSizeBytes: 32 };
const failed: KeyChannelMessage = { type: 'failed', ksid: k, reason: 'kme_unreachable', retrying: true };
const dropped: KeyChannelMessage = { type: 'dropped', reason: 'mismatch', references: [reference014(1)] };
const closeStream: KeyChannelMessage = { type: 'close_stream', ksid: k, reason: 'mismatch' };
const state: KeyChannelMessage = { type: 'state', kmeReachable: true, kmeName: 'k', poolKeys: 5, reasons: [] };
const results = (...list: Extract<KeyChannelMessage, { type: 'results' }>['results']): KeyChannelMessage => ({
  type: 'results',
  batch: 0,
  results: list,
});
const result = (status: 'pending' | 'mismatch' | 'unavailable' | 'over_quota', position = 0) => ({ position, status });
const acked = { position: 0, status: 'acked', check: deriveCheckValues(reference014(1), keyOf(1)).answerer } as const;

/** The KME of the answerer has opened the stream. */
const streamOpened: Turn = ({ answerer }) => answerer.streamOpened(k, 32);
const announced: Turn = ({ drawer }) => drawer.announce([{ reference: reference014(1), secret: keyOf(1) }], 60_000, 0);
const asked: Turn = ({ drawer }) => drawer.openStream(k, qos);

const answers =
  (...said: readonly KeyChannelMessage[]) =>
  (outcome: ChannelOutcome) =>
    expect(outcome.said).to.deep.equal(said);
const hears =
  (...events: readonly string[]) =>
  (outcome: ChannelOutcome) =>
    expect(outcome.events.filter((line) => line !== 'write')).to.deep.equal(events);

/** What binds both ends alike; each has the other's hello. */
function eitherEnd(role: ChannelRole): ChannelCases {
  const [its, own] = role === 'answerer' ? [fromDrawer, fromAnswerer] : [fromAnswerer, fromDrawer];
  const oneService: KeyChannelMessage = { ...its, services: [{ service: 'a', require: 'qkd' }] };
  const ready = role === 'answerer' ? 'ready new' : 'ready first';
  return {
    'a message before hello': [[state], unexpectedMessage],
    'a second hello': [[its, its], unexpectedMessage],
    'its own instance': [[own], selfConnection],
    'hello of another version, whatever follows it': [[framed(1, '0002ff')], anotherVersion],
    'hello with a quota of 0': [[altered(its, '00000064', '00000000')], decodeError],
    'hello with a quota of 16,385': [[altered(its, '00000064', '00004001')], decodeError],
    'hello with 65 services': [[altered(its, '000000640000', `0000006400c3${'016101'.repeat(65)}`)], decodeError],
    'hello with an unknown policy': [[altered(oneService, '016102', '016109')], decodeError],
    'hello with a service without a name': [[altered(oneService, '0003016102', '00020002')], decodeError],
    'hello with a service whose name is not UTF-8': [[altered(oneService, '016102', '01ff02')], decodeError],
    'state with a flag that is neither 0 nor 1': [[its, altered(state, '01016b', '02016b')], decodeError],
    'state with 17 reasons': [[its, altered(state, '0000000500', `0000000511${'01'.repeat(17)}`)], decodeError],
    'state with the name of a KME that is not UTF-8': [[its, altered(state, '016b', '01ff')], decodeError],
    'state with a reason of a later version, which is skipped': [
      [its, altered(state, '0000000500', '000000050201fe')],
      'open',
      hears(ready, 'peer-state'),
    ],
    'a message of an unknown type': [[its, framed(0x63, '')], unknownMessage],
    'a body beyond its bound, of which nothing has come yet': [[its, Uint8Array.of(2, 0x01, 0x40, 0x01)], decodeError],
    'a body with a byte behind it': [[its, framed(2, '01016b0000000500ff')], decodeError],
    'a body cut short': [[its, framed(2, '01016b00000005')], decodeError],
    'an empty body': [[its, framed(2, '')], decodeError],
    'a fault behind a message, which has had its effect': [
      [its, Uint8Array.of(...encodeMessage(state), ...framed(0x63, ''))],
      unknownMessage,
      hears(ready, 'peer-state', 'failed ERR_KEYCHANNEL_UNKNOWN_MESSAGE'),
    ],
    'an abort': [[its, { type: 'abort', reason: 'limit' }], peerAbort],
    'an abort for an unknown reason': [[its, framed(3, 'fe')], peerAbort],
    'an abort before hello': [[{ type: 'abort', reason: 'version' }], peerAbort],
    'an abort with a byte behind the reason': [[its, framed(3, '0800')], decodeError],
  };
}

const oneKey = keysMessage(0, reference014(1));
const keyField = (hex: string) => altered(oneKey, '02057369746541', hex);

const answererCases = casesAgainst('answerer', {
  ...eitherEnd('answerer'),
  "the answerer's own opened": [[fromDrawer, opened], unexpectedMessage],
  "the answerer's own failed": [[fromDrawer, failed], unexpectedMessage],
  "the answerer's own results": [[fromDrawer, results(result('pending'))], unexpectedMessage],

  'stream with chunks that hold no key': [
    [fromDrawer, altered(stream, '0000002000009c40', '0000001f00009c40')],
    decodeError,
  ],
  'stream with a control character in the mimetype': [[fromDrawer, altered(stream, '106170', '100770')], decodeError],
  'stream again, which is answered again and opened once': [
    [fromDrawer, stream, streamOpened, stream],
    'open',
    (outcome) => {
      answers(opened, opened)(outcome);
      hears('ready new', 'stream-requested 01')(outcome);
    },
  ],
  'stream that has ended, which is never opened again': [
    [fromDrawer, stream, streamOpened, { ...closeStream, reason: 'finished' }, stream],
    'open',
    answers(opened, { ...failed, reason: 'lost', retrying: false }),
  ],
  'nine streams, of which eight are opened': [
    [fromDrawer, ...Array.from({ length: 9 }, (_, i): KeyChannelMessage => ({ ...stream, ksid: ksidOf(i + 1) }))],
    'open',
    answers({ type: 'failed', ksid: ksidOf(9), reason: 'limit', retrying: false }),
  ],

  'keys of another drawer': [[fromDrawer, keysMessage(0, { ...reference014(1), drawer: 'siteC' })], wrongDrawer],
  'keys of its own SAE as drawer (Selfie)': [
    [fromDrawer, keysMessage(0, { ...reference014(1), drawer: 'siteB' })],
    wrongDrawer,
  ],
  'keys with one of another drawer, of which none has an effect': [
    [fromDrawer, keysMessage(0, reference014(1), { ...reference014(2), drawer: 'siteC' })],
    wrongDrawer,
    hears('ready new', 'failed ERR_KEYCHANNEL_WRONG_DRAWER'),
  ],
  'a key twice in a batch': [[fromDrawer, keysMessage(0, reference014(1), reference014(1))], duplicateReference],
  'a key twice on a connection': [[fromDrawer, oneKey, keysMessage(1, reference014(1))], duplicateReference],
  'a batch left out': [[fromDrawer, keysMessage(1, reference014(1))], unknownBatch],
  'a batch twice': [[fromDrawer, oneKey, keysMessage(0, reference014(2))], unknownBatch],
  'a batch of two streams': [
    [fromDrawer, stream, streamOpened, keysMessage(0, reference004(k, 0), reference004(ksidOf(2), 0))],
    unexpectedMessage,
  ],
  'a batch of two APIs': [
    [fromDrawer, stream, streamOpened, keysMessage(0, reference004(k, 0), reference014(1))],
    unexpectedMessage,
  ],
  'keys of a stream that is not open yet': [
    [fromDrawer, stream, keysMessage(0, reference004(k, 0))],
    unexpectedMessage,
  ],
  'keys without a key': [[fromDrawer, framed(17, '0000000000000001000000')], decodeError],
  'keys with 129 keys': [
    [fromDrawer, framed(17, `0000000000000001${(129 * 41).toString(16).padStart(6, '0')}${oneEntry().repeat(129)}`)],
    decodeError,
  ],
  'keys without time to live': [[fromDrawer, altered(oneKey, '000000000000003c', '0000000000000000')], decodeError],
  'keys that live for more than a day': [
    [fromDrawer, altered(oneKey, '000000000000003c', '0000000000015181')],
    decodeError,
  ],
  'keys of an unknown API': [[fromDrawer, keyField('09057369746541')], decodeError],
  'keys of a drawer that is not UTF-8': [[fromDrawer, keyField('0205ff69746541')], decodeError],
  'keys of a drawer without a name': [
    [fromDrawer, framed(17, `00000000000000010000${'24'}0012${'0200'}${'01'.repeat(16)}${'00'.repeat(16)}`)],
    decodeError,
  ],
  'keys of a stream that was never asked for': [
    [fromDrawer, keysMessage(0, reference004(k, 0))],
    'open',
    answers(results(result('unavailable'))),
  ],
  'keys of a stream that has ended meanwhile': [
    [
      fromDrawer,
      stream,
      streamOpened,
      ({ answerer }) => answerer.streamFailed(k, 'lost', false),
      keysMessage(0, reference004(k, 0)),
    ],
    'open',
    (outcome) => expect(outcome.said.at(-1)).to.deep.equal(results(result('unavailable'))),
  ],
  'an index that goes back': [
    [
      fromDrawer,
      stream,
      streamOpened,
      keysMessage(0, reference004(k, 5, 1)),
      keysMessage(1, reference004(k, 5, 0), reference004(k, 5, 2)),
    ],
    'open',
    (outcome) => {
      answers(opened, { ...results(result('unavailable')), batch: 1 } as KeyChannelMessage)(outcome);
      expect(outcome.events.at(-1)).to.equal('keys-announced 01/5/2');
    },
  ],
  'a 014 key that has ended': [
    [fromDrawer, oneKey, dropped, keysMessage(1, reference014(1))],
    'open',
    (outcome) => expect(outcome.said.at(-1)).to.include({ type: 'results', batch: 1 }),
  ],
  'more keys than the quota of the peer, of which the last is not kept': [
    [{ ...fromDrawer, quota: 1 }, keysMessage(0, reference014(1), reference014(2))],
    'open',
    (outcome) => {
      answers(results(result('over_quota', 1)))(outcome);
      hears('ready new', 'keys-announced 01')(outcome);
    },
  ],
  'a check value that is not that of the key': [
    [fromDrawer, oneKey, ({ answerer }) => answerer.provideKey(reference014(1), keyOf(2))],
    'open',
    (outcome) => {
      answers(results(result('mismatch')))(outcome);
      hears('ready new', 'keys-announced 01', 'mismatch', 'key-withdrawn 01 mismatch not-accepted')(outcome);
    },
  ],

  'dropped for an unknown reason': [[fromDrawer, altered(dropped, '02000019', '09000019')], decodeError],
  'dropped without a key': [[fromDrawer, framed(18, '01000000')], decodeError],
  'dropped with 129 keys': [
    [fromDrawer, framed(18, `01${(129 * 25).toString(16).padStart(6, '0')}${oneReference().repeat(129)}`)],
    decodeError,
  ],
  'dropped with a reference that does not decode': [
    [fromDrawer, altered(dropped, '0017020573', '0017090573')],
    decodeError,
  ],
  'dropped of a key that it does not know': [[fromDrawer, dropped], 'open', hears('ready new')],
  'close_stream for an unknown reason': [[fromDrawer, framed(19, `${'01'.repeat(16)}09`)], decodeError],
  'close_stream for a mismatch that the drawer has found, which ends keys that were acked': [
    [
      fromDrawer,
      stream,
      streamOpened,
      keysMessage(0, reference004(k, 0), reference004(k, 1)),
      ({ answerer }) => answerer.provideKey(reference004(k, 0), keyOf(1)),
      closeStream,
    ],
    'open',
    hears(
      'ready new',
      'stream-requested 01',
      'keys-announced 01/0/0 01/1/0',
      'key-accepted 01/0/0',
      'mismatch',
      'key-withdrawn 01/0/0 mismatch accepted',
      'key-withdrawn 01/1/0 mismatch not-accepted',
      'stream-ended 01 mismatch',
    ),
  ],
  'close_stream of a stream that it does not know': [[fromDrawer, closeStream], 'open', hears('ready new')],
});

const drawerCases = casesAgainst('drawer', {
  ...eitherEnd('drawer'),
  "the drawer's own stream": [[fromAnswerer, stream], unexpectedMessage],
  "the drawer's own keys": [[fromAnswerer, oneKey], unexpectedMessage],
  "the drawer's own dropped": [[fromAnswerer, dropped], unexpectedMessage],
  "the drawer's own close_stream": [[fromAnswerer, closeStream], unexpectedMessage],

  'opened with chunks that hold no key': [[fromAnswerer, asked, altered(opened, '00000020', '0000001f')], decodeError],
  'opened of a stream that it does not know': [[fromAnswerer, opened], 'open', hears('ready first')],
  'opened again': [[fromAnswerer, asked, opened, opened], 'open', hears('ready first', 'stream-opened 01')],
  'failed for a reason of a later version, which is read as other': [
    [fromAnswerer, asked, framed(33, `${'01'.repeat(16)}fe01`)],
    'open',
    hears('ready first', 'stream-delayed 01 other'),
  ],
  'failed with a flag that is neither 0 nor 1': [
    [fromAnswerer, asked, framed(33, `${'01'.repeat(16)}0102`)],
    decodeError,
  ],
  'failed of a stream that it does not know': [[fromAnswerer, failed], 'open', hears('ready first')],
  'failed of an open stream, which is over whatever it says of retrying': [
    [fromAnswerer, asked, opened, failed],
    'open',
    hears('ready first', 'stream-opened 01', 'stream-ended 01 failed', 'fresh-start failed 1000'),
  ],

  'results of a batch that never was': [[fromAnswerer, results(result('pending'))], unknownBatch],
  'a result for a place beyond the batch': [[fromAnswerer, announced, results(result('pending', 1))], unknownBatch],
  'a result for a place beyond the batch, behind one of which nothing has an effect': [
    [fromAnswerer, announced, results(acked, result('pending', 1))],
    unknownBatch,
    hears('ready first', 'failed ERR_KEYCHANNEL_UNKNOWN_BATCH'),
  ],
  'results without a result': [[fromAnswerer, announced, framed(34, '00000000000000')], decodeError],
  'results with 129 of them': [
    [fromAnswerer, announced, framed(34, `00000000000102${'0002'.repeat(129)}`)],
    decodeError,
  ],
  'a result for place 128': [[fromAnswerer, announced, framed(34, '000000000000028002')], decodeError],
  'a result of an unknown status': [[fromAnswerer, announced, framed(34, '000000000000020009')], decodeError],
  'two that are pending': [
    [fromAnswerer, announced, results(result('pending')), results(result('pending'))],
    unexpectedMessage,
  ],
  'two acks': [[fromAnswerer, announced, results(acked), results(acked)], unexpectedMessage],
  'two acks in one message, of which nothing has an effect': [
    [fromAnswerer, announced, results(acked, acked)],
    unexpectedMessage,
    hears('ready first', 'failed ERR_KEYCHANNEL_UNEXPECTED_MESSAGE'),
  ],
  'pending after the ack': [
    [fromAnswerer, announced, results(result('pending')), results(acked), results(result('pending'))],
    unexpectedMessage,
  ],
  'unavailable after the ack': [
    [fromAnswerer, announced, results(acked), results(result('unavailable'))],
    unexpectedMessage,
  ],
  'an ack of a key that has ended': [
    [fromAnswerer, announced, ({ drawer }) => drawer.keyDropped(reference014(1)), results(acked), results(acked)],
    'open',
    hears('ready first'),
  ],
  'an ack with a check value that is not that of the key: its own, sent back': [
    [fromAnswerer, announced, results({ ...acked, check: deriveCheckValues(reference014(1), keyOf(1)).drawer })],
    'open',
    (outcome) => {
      hears('ready first', 'mismatch', 'key-withdrawn 01 mismatch', 'fresh-start mismatch 1000')(outcome);
      expect(outcome.said.at(-1)).to.deep.equal({ ...dropped });
    },
  ],
  'a key that the answerer has no room for': [
    [fromAnswerer, announced, results(result('over_quota'))],
    'open',
    hears('ready first', 'key-withdrawn 01 over-quota'),
  ],
  'a key that the answerer will not have': [
    [fromAnswerer, announced, results(result('pending')), results(result('unavailable'))],
    'open',
    hears('ready first', 'key-withdrawn 01 unavailable'),
  ],
  'an ack with the check value of the key': [
    [fromAnswerer, announced, results(result('pending')), results(acked)],
    'open',
    hears('ready first', 'key-offerable 01'),
  ],
});

/** A reference as it stands in `dropped`: 25 bytes. */
function oneReference(): string {
  return `001702057369746541${'09'.repeat(16)}`;
}

/** A key as it stands in `keys`: 41 bytes. */
function oneEntry(): string {
  return oneReference() + '00'.repeat(16);
}

export const channelCases = [...answererCases, ...drawerCases];
