/** What a peer of the key channel may say, picked from small pools, so that what is named is often really there. */
import type { QkdKeyReference } from '../../../tls-ext/engine-types.ts';
import {
  type CheckValues,
  deriveCheckValues,
  encodeMessage,
  type KeyChannelMessage,
  MAX_KEYS_PER_BATCH,
  referenceId,
} from '../../../tls-ext/key-channel/index.ts';
import { anyMessage } from '../../tls-ext/key-channel/any-message.ts';
import { bytesOf, keyOf, ksidOf, qos, reference004, reference014 } from '../../tls-ext/key-channel/fixtures.ts';
import { spliceMended } from '../mutate.ts';
import type { Operation } from '../program.ts';
import { samples } from './codec.ts';

export const Say = {
  hello: 0,
  state: 1,
  stream: 2,
  keys: 3,
  dropped: 4,
  close: 5,
  opened: 6,
  failed: 7,
  results: 8,
} as const;
const SAID = 9;
/** What else may happen; most of it is the API of one end or the other. */
export const Do = {
  raw: 9,
  altered: 10,
  any: 11,
  tick: 12,
  reconnect: 13,
  secondConnection: 14,
  setState: 15,
  stream: 16,
  streamFailed: 17,
  key: 18,
  wrongKey: 19,
  pending: 20,
  notFound: 21,
  ended: 22,
  dropped: 23,
} as const;
export const KINDS = 24;

const skip = (fill: number): QkdKeyReference => ({
  api: 'skip',
  drawer: 'siteA',
  keyId: bytesOf(1 + (fill % 32), fill),
});

/** 16 references of each kind: two streams, 014, SKIP, and one of a stranger. */
export function referenceOf(code: number): QkdKeyReference {
  const n = code & 15;
  switch ((code >> 4) % 8) {
    case 0:
    case 1:
      return reference004(ksidOf(1), n >> 1, n & 1);
    case 2:
      return reference004(ksidOf(2), n);
    case 3:
    case 4:
      return reference014(n);
    case 5:
      return skip(n);
    case 6:
      return reference004(ksidOf(3), 0xffff_ffff - n, 0xffff);
    default:
      return { ...reference014(n), drawer: 'somebody' };
  }
}

export const right = 1;
export const wrong = 2;
const checkValues = new Map<string, CheckValues>();

function checksOf(reference: QkdKeyReference, fill: number): CheckValues {
  const id = `${fill} ${referenceId(reference)}`;
  const known = checkValues.get(id) ?? deriveCheckValues(reference, keyOf(fill));
  checkValues.set(id, known);
  return known;
}

const anyMessages = samples(anyMessage, 64);

/** The message that an operation says; `batch` is the number that would be right for `keys`. */
function messageOf({ kind, argument, payload }: Operation, batch: number): KeyChannelMessage {
  const references = [...payload.subarray(0, MAX_KEYS_PER_BATCH)].map(referenceOf);
  const ksid = ksidOf(1 + (argument % 3));
  switch (kind % SAID) {
    case Say.hello:
      return { type: 'hello', instance: bytesOf(16, argument), quota: 1 + (payload[0] ?? 99), services: [] };
    case Say.state:
      return { type: 'state', kmeReachable: argument % 2 === 0, kmeName: 'k', poolKeys: payload.length, reasons: [] };
    case Say.stream:
      return { type: 'stream', ksid: ksidOf(1 + (argument % 12)), qos: { ...qos, ttlSeconds: payload[0] ?? 600 } };
    case Say.keys: {
      const check = (one: QkdKeyReference) => checksOf(one, argument % 8 === 7 ? wrong : right).drawer;
      const named = references.length > 0 ? references : [referenceOf(argument)];
      return {
        type: 'keys',
        batch: batch + (argument >> 6 === 3 ? 1 : 0),
        ttlSeconds: 60 + argument,
        keys: named.map((reference) => ({ reference, check: check(reference) })),
      };
    }
    case Say.dropped:
      return {
        type: 'dropped',
        reason: argument % 2 === 0 ? 'unused' : 'mismatch',
        references: references.length > 0 ? references : [referenceOf(argument)],
      };
    case Say.close:
      return { type: 'close_stream', ksid, reason: argument > 127 ? 'mismatch' : 'finished' };
    case Say.opened:
      return { type: 'opened', ksid, keyChunkSizeBytes: Math.max(payload[0] ?? 0, 32) };
    case Say.failed:
      return { type: 'failed', ksid, reason: 'lost', retrying: argument > 127 };
    default: {
      const statuses = ['acked', 'acked', 'pending', 'mismatch', 'unavailable', 'over_quota'] as const;
      const results = [...payload.subarray(0, MAX_KEYS_PER_BATCH)].map((code, i) => {
        const status = statuses[code % statuses.length] as (typeof statuses)[number];
        const position = (i + (code >> 6)) % MAX_KEYS_PER_BATCH;
        if (status !== 'acked') return { position, status } as const;
        return {
          position,
          status,
          check: checksOf(referenceOf(argument), code > 200 ? wrong : right).answerer,
        } as const;
      });
      if (results.length === 0)
        return { type: 'results', batch: argument % 4, results: [{ position: 0, status: 'pending' }] };
      return { type: 'results', batch: argument % 4, results };
    }
  }
}

/** The bytes that an operation of the peer delivers, or `undefined` if it is not one. */
export function bytesSaid(one: Operation, batch: number): Uint8Array | undefined {
  const { kind, argument, payload } = one;
  if (kind < SAID) return encodeMessage(messageOf(one, batch));
  if (kind === Do.raw) return payload;
  if (kind === Do.any) return encodeMessage(anyMessages[argument % anyMessages.length] as KeyChannelMessage);
  if (kind !== Do.altered) return undefined;
  const whole = encodeMessage(messageOf({ ...one, kind: argument % SAID }, batch));
  const at = (payload[0] ?? 0) % (whole.length + 1);
  return spliceMended(whole, at, Math.min(payload[1] ?? 0, whole.length - at), payload.subarray(2));
}
