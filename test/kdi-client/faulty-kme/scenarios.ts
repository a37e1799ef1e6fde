/** Every way to fail, for each API and each side, and what the client must call it. */
import { type KdiErrorCode as Code, KdiErrorCode as E } from '../../../kdi-client/index.ts';
import { utf8 } from '../../../tls-ext/bytes/index.ts';
import type { FaultyCalls, KmeFault } from './faults.ts';
import type { Api } from './two-sites.ts';

export interface Scenario {
  readonly name: string;
  readonly fault: KmeFault;
  readonly calls?: FaultyCalls;
  readonly apis?: readonly Api[];
  readonly sides?: readonly ('a' | 'b')[];
  /** One of these is what is reported; empty: nothing is, since it's survived. */
  readonly codes: readonly Code[];
  /** One of the few that run in every test run; the others are in the long one. */
  readonly quick?: boolean;
  /** Keys may be given up although the key manager holds them: it was caught giving wrong ones. */
  readonly condemns?: boolean;
}

const HTTP = ['etsi014', 'skip'] as const;
const header = (length: number): Uint8Array => Uint8Array.of(2, 1, 1, 5, ...u32(length));
function u32(value: number): readonly number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}
/** The reply with another payload length in its header. */
const withLength = (by: number) => (reply: Uint8Array) => {
  const changed = Buffer.from(reply);
  changed.writeUInt32BE(changed.readUInt32BE(4) + by, 4);
  return Uint8Array.from(changed);
};
const withContentLength = (by: number) => (reply: Uint8Array) =>
  Buffer.from(
    Buffer.from(reply)
      .toString('latin1')
      .replace(/content-length: (\d+)/, (_all, digits: string) => `content-length: ${Number(digits) + by}`),
    'latin1',
  );
const id = '00000000-0000-4000-8000-000000000000';
const key = Buffer.alloc(32).toString('base64');

export const WIRE_SCENARIOS: readonly Scenario[] = [
  { quick: true, name: 'hangs', fault: { fault: 'hang' }, codes: [E.timeout] },
  { quick: true, name: 'is a second late', fault: { fault: 'delay', ms: 1_000 }, codes: [] },
  { name: 'is a minute late', fault: { fault: 'delay', ms: 60_000 }, codes: [E.timeout] },
  { name: 'resets before the reply', fault: { fault: 'reset', afterBytes: 0 }, codes: [E.closed] },
  {
    quick: true,
    name: 'resets in the middle of the reply',
    fault: { fault: 'reset', afterBytes: 30 },
    codes: [E.closed],
  },
  { name: 'closes before the reply', fault: { fault: 'end', afterBytes: 0 }, codes: [E.closed] },
  { name: 'closes in the middle of the reply', fault: { fault: 'end', afterBytes: 30 }, codes: [E.closed] },
  { name: 'falls silent in the middle of the reply', fault: { fault: 'stall', afterBytes: 30 }, codes: [E.timeout] },
  { quick: true, name: 'drips, a byte each second', fault: { fault: 'drip', everyMs: 1_000 }, codes: [E.timeout] },
  { name: 'drips, but in time', fault: { fault: 'drip', everyMs: 1 }, codes: [] },
  { name: 'closes every connection', fault: { fault: 'slam' }, codes: [E.closed] },
  { quick: true, name: 'never answers to TLS', fault: { fault: 'mute' }, codes: [E.timeout] },
  {
    quick: true,
    name: 'answers garbage',
    fault: { fault: 'instead', bytes: utf8('SSH-2.0-OpenSSH_9.2\r\n\r\n') },
    codes: [E.malformed],
  },
  {
    name: 'answers in HTTP',
    apis: ['etsi004'],
    fault: { fault: 'instead', bytes: utf8('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n') },
    codes: [E.malformed],
  },
  {
    name: 'gives a length that is too short',
    apis: ['etsi004'],
    fault: { fault: 'rewrite', rewrite: withLength(-1) },
    codes: [E.malformed],
  },
  {
    name: 'gives a length that is too long',
    apis: ['etsi004'],
    fault: { fault: 'rewrite', rewrite: withLength(1) },
    codes: [E.closed],
  },
  {
    name: 'gives a length that is too short',
    apis: HTTP,
    fault: { fault: 'rewrite', rewrite: withContentLength(-1) },
    codes: [E.malformed],
  },
  {
    name: 'gives a length that is too long',
    apis: HTTP,
    fault: { fault: 'rewrite', rewrite: withContentLength(1) },
    codes: [E.closed, E.malformed],
  },
  {
    name: 'announces 4 GB',
    apis: ['etsi004'],
    fault: { fault: 'endless', head: header(0xffff_ffff) },
    codes: [E.malformed],
  },
  {
    name: 'sends a megabyte more than a chunk, without end',
    apis: ['etsi004'],
    fault: { fault: 'endless', head: header(0x11_0000) },
    codes: [E.malformed, E.dialect],
  },
  {
    quick: true,
    name: 'sends 100 MB',
    apis: HTTP,
    fault: { fault: 'endless', head: utf8('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n') },
    codes: [E.malformed],
  },
  {
    name: 'sends chunks without end',
    apis: HTTP,
    fault: { fault: 'endless', head: utf8('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n') },
    codes: [E.malformed],
  },
  {
    name: 'sends headers without end',
    apis: HTTP,
    fault: { fault: 'endless', head: utf8('HTTP/1.1 200 OK\r\nx: ') },
    codes: [E.malformed],
  },
];

export const SPOKEN_SCENARIOS: readonly Scenario[] = [
  ...([1, 2, 3, 4, 6] as const).map((status) => ({
    name: `answers status ${status}`,
    apis: ['etsi004'] as const,
    fault: { fault: 'status', status } as const,
    codes: [E.peerNotConnected, E.insufficientKey, E.noQkdConnection, E.kmeTimeout],
  })),
  ...([5, 7, 8, 77] as const).map((status) => ({
    name: `answers status ${status}`,
    apis: ['etsi004'] as const,
    fault: { fault: 'status', status } as const,
    codes: [E.ksidInUse, E.qosNotMet, E.metadataTooLarge, E.unknownStatus],
  })),
  {
    quick: true,
    name: 'answers 503',
    apis: HTTP,
    fault: { fault: 'status', status: 503 },
    codes: [E.insufficientKey, E.http],
  },
  { name: 'answers 500', apis: HTTP, fault: { fault: 'status', status: 500 }, codes: [E.http] },
  { name: 'answers 429', apis: HTTP, fault: { fault: 'status', status: 429 }, codes: [E.http] },
  { name: 'answers 204', apis: HTTP, fault: { fault: 'status', status: 204 }, codes: [E.http] },
  { name: 'answers 200 without a body', apis: HTTP, fault: { fault: 'status', status: 200 }, codes: [E.malformed] },
  {
    quick: true,
    name: 'repeats what it gave last',
    fault: { fault: 'repeat' },
    codes: [E.duplicateKey, E.malformed, E.keyNotFound],
    condemns: true,
  },
  {
    name: 'gives a key of another name',
    sides: ['b'],
    fault: { fault: 'other-id' },
    codes: [E.malformed, E.keyNotFound, E.insufficientKey],
  },
  {
    quick: true,
    name: 'gives keys that are a byte short',
    fault: { fault: 'length', bytes: 31 },
    codes: [E.malformed],
  },
  { name: 'gives keys that are a byte long', fault: { fault: 'length', bytes: 33 }, codes: [E.malformed] },
  { name: 'gives empty keys', fault: { fault: 'length', bytes: 0 }, codes: [E.malformed] },
  {
    name: 'gives a key twice in a reply',
    apis: ['etsi014'],
    sides: ['a'],
    fault: { fault: 'twice' },
    codes: [E.duplicateKey, E.malformed],
  },
  {
    name: 'gives more keys than it was asked for',
    apis: ['etsi014'],
    sides: ['a'],
    fault: { fault: 'surplus' },
    codes: [E.malformed],
  },
  {
    quick: true,
    name: 'gives other bits than the other side',
    sides: ['b'],
    fault: { fault: 'other-bits' },
    codes: [],
    condemns: true,
  },
  {
    quick: true,
    name: 'has 2 KB of metadata for each key',
    apis: ['etsi004'],
    fault: { fault: 'big-metadata', bytes: 2_000 },
    codes: [],
  },
  {
    name: 'has 1 MB of metadata for each key',
    apis: ['etsi004'],
    fault: { fault: 'big-metadata', bytes: 0x10_0000 },
    codes: [E.metadataTooLarge],
  },
  ...(
    [
      ['deep nesting', '['.repeat(30_000)],
      ['a huge array', `{"keys":[${'0,'.repeat(30_000)}0]}`],
      ['a huge number', `{"keys":[{"key_ID":"${id}","key":${'9'.repeat(50_000)}}],"keyId":1e999,"key":1}`],
      [
        'a name twice',
        `{"keys":[{"key_ID":"${id}","key":"${key}","key":"${key}"}],"keyId":"00","keyId":"11","key":"00"}`,
      ],
      ['a string that never ends', `{"keys":"${'x'.repeat(60_000)}`],
      ['no UTF-8', '"\ud800"'],
      ['null', 'null'],
    ] as const
  ).map(([name, body]) => ({
    name: `answers JSON with ${name}`,
    apis: HTTP,
    fault: { fault: 'body', body } as const,
    codes: [E.malformed],
  })),
];

/** What fails already while a stream is opened or the status is asked for. */
export const OPENING_SCENARIOS: readonly Scenario[] = [
  { name: 'hangs', calls: 'open', fault: { fault: 'hang' }, codes: [E.timeout] },
  { name: 'resets', calls: 'open', fault: { fault: 'reset', afterBytes: 20 }, codes: [E.closed] },
  {
    name: 'answers garbage',
    calls: 'open',
    fault: { fault: 'instead', bytes: utf8('220 smtp ready\r\n\r\n') },
    codes: [E.malformed],
  },
  { name: 'never answers to TLS', calls: 'open', fault: { fault: 'mute' }, codes: [E.timeout] },
  {
    name: 'refuses with status 4',
    calls: 'open',
    apis: ['etsi004'],
    fault: { fault: 'status', status: 4 },
    codes: [E.noQkdConnection],
  },
  {
    name: 'refuses with status 5',
    calls: 'open',
    apis: ['etsi004'],
    fault: { fault: 'status', status: 5 },
    codes: [E.ksidInUse],
  },
  {
    name: 'refuses with 401',
    calls: 'open',
    apis: HTTP,
    sides: ['a'],
    fault: { fault: 'status', status: 401 },
    codes: [E.unauthorized],
  },
  {
    name: 'answers deep nesting',
    calls: 'open',
    apis: HTTP,
    sides: ['a'],
    fault: { fault: 'body', body: '{"a":'.repeat(12_000) },
    codes: [E.malformed],
  },
];
