/** Each check of the doctor over 004 that can fail, or deserves to be read: the fault that makes it, and what is said of it. */
import {
  type Etsi004GetKeyResponse,
  type Etsi004OpenConnectResponse,
  type Etsi004Response,
  Etsi004Status,
  isNullKsid,
} from '../../../kdi-client/index.ts';
import type { Etsi004Layer } from '../../../qkd-sim/index.ts';
import { utf8 } from '../../../tls-ext/bytes/index.ts';
import { type Asked, declareFaults, type FaultRow, type Spoil004, spoiling } from './faulty-pair.ts';

const CLAUSE = 'ETSI GS QKD 004 V2.1.1, 6, ';
const OPEN = `${CLAUSE}OPEN_CONNECT`;
const QOS = `${OPEN}: QoS`;
const KSID = `${OPEN}: Key_stream_ID`;
const GET_KEY = `${CLAUSE}GET_KEY`;
const INDEX = `${GET_KEY}: index`;
const METADATA = `${GET_KEY}: Metadata`;
const CLOSE = `${CLAUSE}CLOSE`;

type Stream = NonNullable<Etsi004OpenConnectResponse['stream']>;
type Delivery = NonNullable<Etsi004GetKeyResponse['delivery']>;
type End = Asked['end'];

const opens = (end: End, nth: number, change: (reply: Etsi004OpenConnectResponse) => Etsi004OpenConnectResponse) =>
  spoiling<Etsi004Response>(end, 'open-connect', nth, (reply) => change(reply as Etsi004OpenConnectResponse));
const gets = (end: End, nth: number, change: (reply: Etsi004GetKeyResponse) => Etsi004GetKeyResponse) =>
  spoiling<Etsi004Response>(end, 'get-key', nth, (reply) => change(reply as Etsi004GetKeyResponse));

const openStatus = (end: End, nth: number, status: Etsi004Status) =>
  opens(end, nth, ({ service }) => ({ service, status }));
const getStatus = (end: End, nth: number, status: Etsi004Status) =>
  gets(end, nth, ({ service }) => ({ service, status }));
const stream = (end: End, nth: number, change: Partial<Stream>) =>
  opens(end, nth, (reply) => ({ ...reply, stream: { ...(reply.stream as Stream), ...change } }));
const granted = (end: End, nth: number, change: Partial<Stream['qos']>) =>
  opens(end, nth, (reply) => ({ ...reply, stream: withQos(reply.stream as Stream, change) }));
const withQos = (opened: Stream, change: Partial<Stream['qos']>) => ({ ...opened, qos: { ...opened.qos, ...change } });
const delivered = (end: End, nth: number, change: (delivery: Delivery) => Partial<Delivery>) =>
  gets(end, nth, (reply) => {
    const delivery = reply.delivery as Delivery;
    return { ...reply, delivery: { ...delivery, ...change(delivery) } };
  });
/** Success for the QoS that can't be met, with a stream that nobody opened. */
const promised =
  (change: Partial<Stream['qos']>): Spoil004 =>
  ({ end, what, nth, request }, reply) =>
    end === 'own' && what === 'open-connect' && nth === 2 && request.service === 'open-connect'
      ? {
          service: what,
          status: Etsi004Status.success,
          stream: { ksid: new Uint8Array(16).fill(7), qos: { ...request.qos, ...change } },
        }
      : reply;
const json = (text: string) => delivered('own', 1, () => ({ metadata: utf8(text) }));
const honest: Spoil004 = (_asked, reply) => reply;

const alone = { alone: true };
const chosen = { known: { ksid: 'chosen' } } as const;

const ROWS: readonly FaultRow<Spoil004>[] = [
  [
    'refuses both URIs',
    openStatus('own', 1, 4),
    'bad open',
    OPEN,
    /qkd:\/\/siteA and qkd:\/\/siteB were sent; our certificate names siteA/,
    'sae-uri: SCHEME://HOST/{sae}, in the form that this KME wants',
  ],
  [
    'says that the KSID is in use',
    openStatus('own', 1, 5),
    'bad open',
    OPEN,
    /already in use.*start it again for a fresh one/,
  ],
  [
    'allocates no KSID',
    stream('own', 1, { ksid: new Uint8Array(16) }),
    'bad open',
    KSID,
    /Key_stream_ID 00000000-.*not the one meant/,
  ],
  [
    'answers with another KSID than ours',
    stream('own', 1, { ksid: new Uint8Array(16).fill(7) }),
    'bad open',
    KSID,
    /Key_stream_ID 07070707-.*not the one meant/,
    null,
    chosen,
  ],
  [
    'answers the peer with another KSID',
    stream('peer', 1, { ksid: new Uint8Array(16).fill(7) }),
    'bad peer-open',
    KSID,
    /not the one meant/,
  ],
  [
    'answers the peer with another KSID, ours chosen',
    stream('peer', 1, { ksid: new Uint8Array(16).fill(7) }),
    'bad peer-open',
    KSID,
    /not the one meant/,
    null,
    chosen,
  ],
  ['refuses the peer', openStatus('peer', 1, 2), 'bad peer-open', OPEN, /status 2/],
  [
    'makes KSIDs that are no UUIDs',
    honest,
    'note open',
    KSID,
    /no UUID of version 4/,
    null,
    { pair: { etsi004Layer: version5() } },
  ],
  [
    'imposes less than a key',
    granted('own', 1, { keyChunkSizeBytes: 16 }),
    'bad sizes',
    QOS,
    /chunks of 16 bytes, and a key has 32/,
  ],
  [
    'imposes other chunks',
    honest,
    'note sizes',
    QOS,
    /96 bytes on who asks for 32: 3 keys in each$/,
    'key-chunk-size: 96',
    { pair: { settings: { qos: { onChunkSize: 'impose', minChunkBytes: 96 } } } },
  ],
  [
    'imposes chunks with a rest',
    honest,
    'note sizes',
    QOS,
    /40 bytes on who asks for 32: 1 keys in each, and 8 bytes of each are lost/,
    null,
    { pair: { settings: { qos: { onChunkSize: 'impose', minChunkBytes: 40 } } } },
  ],
  [
    'proposes other chunks',
    honest,
    'note qos',
    QOS,
    /this is proposed and taken: chunks of 64 bytes/,
    'key-chunk-size: 64',
    { pair: { settings: { qos: { minChunkBytes: 64 } } } },
  ],
  [
    'refuses what it proposed',
    openStatus('own', 2, 7),
    'bad open',
    OPEN,
    /status 7/,
    null,
    { pair: { settings: { qos: { minChunkBytes: 64 } } } },
  ],
  [
    'waits for the peer in OPEN_CONNECT',
    openStatus('own', 1, 6),
    'bad open',
    OPEN,
    /waits for the peer, which can't know the KSID/,
    'ksid: chosen',
    alone,
  ],
  [
    'gives no key to one end alone',
    honest,
    'note draw',
    GET_KEY,
    /status 3.*with --peer and --peer-cert a key is drawn/,
    null,
    alone,
  ],
  [
    'gives no key, as the peer was refused',
    honest,
    'note draw',
    GET_KEY,
    /status 3.*as it should be$/,
    null,
    { pair: { etsi004Layer: refusesPeer() }, also: ['peer-open'] },
  ],
  ['knows no such stream', getStatus('own', 1, 4), 'bad draw', GET_KEY, /status 4/],
  [
    'gives half a chunk',
    delivered('own', 1, () => ({ key: new Uint8Array(16) })),
    'bad draw',
    GET_KEY,
    /a chunk of 16 bytes on a stream of 32$/,
  ],
  [
    'counts chunks in bits',
    delivered('own', 1, () => ({ key: new Uint8Array(4) })),
    'bad draw',
    GET_KEY,
    /a chunk of 4 bytes on a stream of 32: it counts Key_chunk_size in bits/,
  ],
  [
    'grants no metadata',
    granted('own', 1, { metadataMimetype: '' }),
    'note metadata',
    METADATA,
    /none is granted, though each KME must/,
  ],
  ['sends no metadata', json(''), 'note metadata', METADATA, /no metadata comes/],
  ['sends other metadata than JSON', json('age=1'), 'bad metadata', METADATA, /though its type is application\/json/],
  ['ends metadata with a NUL', json('{"age":1}\0'), 'note metadata', METADATA, /ends with a NUL/],
  [
    'sends an age since 1970',
    json('{"age":1790000000000}'),
    'note metadata',
    METADATA,
    /age 1790000000000 does not fit in 32 bits/,
  ],
  ['sends an age in words', json('{"age":"1"}'), 'note metadata', METADATA, /age is no u32/],
  ['sends hops in words', json('{"hops":"1"}'), 'note metadata', METADATA, /hops is no u32/],
  ['says nothing of age and hops', json('{}'), 'note provenance', METADATA, /says nothing of age and hops/],
  [
    'says age and hops',
    json('{"age":700000,"hops":2}'),
    'good provenance',
    METADATA,
    /^age 12 min, 2 trusted nodes in between$/,
  ],
  ['says that it simulates', honest, 'note provenance', METADATA, /keys of a simulator/],
  [
    'does not have the chunk at the other end',
    getStatus('peer', 1, 4),
    'bad lookup',
    GET_KEY,
    /index 0, which .* gave out, is not there/,
  ],
  [
    'gives another index at the other end',
    delivered('peer', 1, ({ index }) => ({ index: index + 1 })),
    'bad lookup',
    INDEX,
    /index 0 was asked for, 1 came/,
  ],
  [
    'gives another key at the other end',
    delivered('peer', 1, () => ({ key: new Uint8Array(32) })),
    'bad keys-equal',
    GET_KEY,
    /different keys at index 0/,
  ],
  [
    'gives another second key at the other end',
    delivered('peer', 2, () => ({ key: new Uint8Array(32) })),
    'bad keys-equal',
    GET_KEY,
    /different keys at index 2/,
  ],
  [
    'does not have the second chunk there',
    getStatus('peer', 2, 4),
    'bad lookup',
    GET_KEY,
    /index 2, which .* is not there/,
  ],
  [
    'has one key for all',
    (_asked, reply) =>
      reply.service === 'get-key' && reply.delivery !== undefined
        ? { ...reply, delivery: { ...reply.delivery, key: new Uint8Array(32).fill(5) } }
        : reply,
    'bad keys-distinct',
    GET_KEY,
    /key at index 2 is one that was given out before, under another ID/,
  ],
  ['refuses to leave an index out', getStatus('own', 2, 4), 'note index', INDEX, /index 2, after 0, is refused/],
  [
    'serves its own index',
    honest,
    'note index',
    INDEX,
    /index 2 was asked for, 1 came/,
    null,
    { pair: { settings: { quirks: { etsi004: { servesNextIndex: true } } } } },
  ],
  [
    'cuts metadata down',
    gets('own', 3, ({ service }) => ({
      service,
      status: 0,
      delivery: { index: 3, key: new Uint8Array(32), metadata: utf8('{') },
    })),
    'note metadata-buffer',
    METADATA,
    /the key comes, without metadata; status 8 was due/,
  ],
  [
    'sends more metadata than there is room for',
    gets('own', 3, ({ service }) => ({
      service,
      status: 0,
      delivery: { index: 3, key: new Uint8Array(32), metadata: utf8('{}') },
    })),
    'note metadata-buffer',
    METADATA,
    /the key comes, 2 bytes of metadata all the same; status 8 was due/,
  ],
  [
    'answers too little room with another status',
    getStatus('own', 3, 4),
    'note metadata-buffer',
    METADATA,
    /with room for 1 byte of metadata: .*; status 8 was due$/,
  ],
  [
    'loses the key over too little room',
    getStatus('own', 4, 4),
    'note metadata-buffer',
    METADATA,
    /status 8 for too little room has spent the key: status 4/,
  ],
  [
    'refuses too much with another status',
    openStatus('own', 2, 4),
    'note qos-refusal',
    QOS,
    /answered with status 4 instead of 7/,
  ],
  [
    'grants less than too much',
    promised({ keyChunkSizeBytes: 64 }),
    'note qos-refusal',
    QOS,
    /opens a stream with another one \(chunks of 64 bytes, Min_bps 4294967295\) instead of status 7/,
  ],
  ['grants too much, but slowly', promised({ minBps: 8 }), 'note qos-refusal', QOS, /Min_bps 8\) instead of status 7/],
  ['grants anything', promised({}), 'note qos-refusal', QOS, /are promised: its QoS means nothing/],
  [
    'opens a stream by refusing',
    honest,
    'note qos-refusal',
    QOS,
    /status 7 opens a stream all the same/,
    null,
    { pair: { settings: { quirks: { etsi004: { allocatesOnQosNotMet: true } } } } },
  ],
  ['allows one stream only', openStatus('own', 3, 4), 'note second-stream', KSID, /a second stream .* is refused/],
  [
    'gives the same KSID again',
    honest,
    'note second-stream',
    KSID,
    /after a restart it would be the old stream/,
    'ksid: chosen',
    { pair: { settings: { quirks: { etsi004: { reusesKsid: true } } } } },
  ],
  [
    'gives our own KSID back',
    opens('own', 3, (reply) => ({
      ...reply,
      stream: { ...(reply.stream as Stream), ksid: Uint8Array.from(chosenKsid) },
    })),
    'good second-stream',
    KSID,
    /; ksid: chosen copes$/,
    null,
    { ...chosen, change: (options) => ({ ...options, random: () => Uint8Array.from(chosenKsid) }) },
  ],
  [
    'knows no stream to close',
    spoiling('own', 'close', 2, ({ service }) => ({ service, status: 4 }) as Etsi004Response),
    'note close',
    CLOSE,
    /the TTL will end it/,
  ],
  [
    'knows no stream to close at the other end',
    spoiling('peer', 'close', 1, ({ service }) => ({ service, status: 4 }) as Etsi004Response),
    'note peer-close',
    CLOSE,
    /the TTL will end it/,
  ],
  ['refuses the client', openStatus('own', 4, 5), 'bad rate', null, /already in use/],
  [
    'gives the client another key there',
    delivered('peer', 4, () => ({ key: new Uint8Array(32) })),
    'bad keys-equal',
    null,
    /the two KMEs differ in 1 of 8 keys: /,
  ],
];

/** A UUID of version 4. */
const chosenKsid = Uint8Array.from({ length: 16 }, (_, i) => (i === 6 ? 0x4a : i === 8 ? 0x8a : 0xaa));

declareFaults('etsi004', ROWS);

function refusesPeer(): Etsi004Layer {
  return (saeId, handle) => async (request, dialect, signal) =>
    saeId === 'siteB' && request.service === 'open-connect'
      ? { service: 'open-connect', status: Etsi004Status.noQkdConnection }
      : handle(request, dialect, signal);
}

/** KSIDs of version 5 for whoever asks, of version 4 inside. */
function version5(): Etsi004Layer {
  const other = (ksid: Uint8Array) => {
    const changed = Uint8Array.from(ksid);
    if (!isNullKsid(ksid)) changed[6] = (changed[6] as number) ^ 0x10;
    return changed;
  };
  return (_saeId, handle) => async (request, dialect, signal) => {
    const reply = await handle({ ...request, ksid: other(request.ksid) }, dialect, signal);
    if (reply.service !== 'open-connect' || reply.stream === undefined) return reply;
    return { ...reply, stream: { ...reply.stream, ksid: other(reply.stream.ksid) } };
  };
}
