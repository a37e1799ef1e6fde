/** What the drawer remembers, and what it takes for one batch. */
import { hexOf } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import type { CheckValues } from './check-value.ts';
import { KeyChannelError, KeyChannelErrorCode, KeyChannelMisuseError } from './errors.ts';
import type { KeyResult } from './messages.ts';
import { ksidOf, referenceId } from './reference-id.ts';
import type { AnnouncedKey, KeyStreamQos } from './types.ts';

/** A key from its announcement until it is used, dropped or withdrawn. */
export interface Key {
  readonly reference: QkdKeyReference;
  readonly id: string;
  readonly group: Group;
  readonly checks: CheckValues;
  readonly ttlEndsAtMs: number;
  /** Whether the present answerer instance may know of it. */
  sent: boolean;
  /** What the answerer has said of it since it was announced last. */
  heard: 'nothing' | 'pending' | 'result';
  acked: boolean;
  ended: boolean;
}

/** Keys that share a fate when one of them does not match: a stream's (004) or a batch's (014, SKIP). */
export interface Group {
  readonly ksid?: Uint8Array;
  readonly keys: Set<Key>;
}

export interface Stream extends Group {
  readonly ksid: Uint8Array;
  readonly qos: KeyStreamQos;
  state: 'opening' | 'open' | 'ending';
  /** Whether the present answerer instance may know of it. */
  sent: boolean;
}

/**
 * Throws `KeyChannelError` on results that their batch does not allow: each key that lives gets at most one
 * `pending`, and then one other. Checked for the whole message before any of it has an effect.
 */
export function expectLegalResults(keys: readonly Key[], results: readonly KeyResult[]): void {
  const heard = new Map<Key, Key['heard']>();
  for (const { position, status } of results) {
    const key = keys[position];
    if (key === undefined) {
      throw new KeyChannelError(KeyChannelErrorCode.unknownBatch, `result for key ${position} of ${keys.length}`);
    }
    if (key.ended) continue;
    const before = heard.get(key) ?? key.heard;
    if (before === 'result' || (before === 'pending' && status === 'pending')) {
      throw new KeyChannelError(KeyChannelErrorCode.unexpectedMessage, `${status}, of a key that was answered before`);
    }
    heard.set(key, status === 'pending' ? 'pending' : 'result');
  }
}

/**
 * The IDs of a batch's keys, in their order. Throws `KeyChannelMisuseError`
 * unless these are different keys of ours, all of `stream` (004) or all of none (014, SKIP).
 */
export function expectOneBatch(
  keys: readonly AnnouncedKey[],
  ownSae: string,
  stream: Stream | undefined,
): readonly string[] {
  if (stream !== undefined && stream.state !== 'open') {
    throw new KeyChannelMisuseError(`keys announced on a stream that is ${stream.state}`);
  }
  const ksid = stream === undefined ? undefined : hexOf(stream.ksid);
  for (const { reference } of keys) {
    if (reference.drawer !== ownSae) throw new KeyChannelMisuseError('we are not the drawer of this key');
    if (ksidOf(reference) !== ksid) throw new KeyChannelMisuseError('a batch is of one stream');
  }
  const ids = keys.map(({ reference }) => referenceId(reference));
  if (new Set(ids).size !== keys.length) throw new KeyChannelMisuseError('a key stands once in a batch');
  return ids;
}
