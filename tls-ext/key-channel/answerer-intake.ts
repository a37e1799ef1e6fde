/** Which announced keys the answerer takes, which it refuses, and what ends the connection. */
import { hexOf } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import type { Connection, Instance, Key, Stream } from './answerer-records.ts';
import { KeyChannelError, KeyChannelErrorCode } from './errors.ts';
import type { KeysMessage } from './messages.ts';
import { ksidOf, referenceId } from './reference-id.ts';

/**
 * The IDs of a batch's keys, in their order. Throws `KeyChannelError` on what
 * ends the connection: checked for the whole message before any of it has an effect.
 */
export function expectLegalBatch(
  { batch, keys }: KeysMessage,
  connection: Connection,
  known: ReadonlyMap<string, Key>,
  peerSae: string,
): readonly string[] {
  if (batch !== connection.nextBatch) {
    throw new KeyChannelError(KeyChannelErrorCode.unknownBatch, `batch ${batch}, ${connection.nextBatch} was next`);
  }
  const instance = connection.instance as Instance;
  const first = (keys[0] as { reference: QkdKeyReference }).reference;
  const seen = new Set<string>();
  for (const { reference } of keys) {
    if (reference.drawer !== peerSae) {
      throw new KeyChannelError(KeyChannelErrorCode.wrongDrawer, 'a key of another drawer than the peer');
    }
    const id = referenceId(reference);
    if (seen.has(id) || known.get(id)?.connection === connection) {
      throw new KeyChannelError(KeyChannelErrorCode.duplicateReference, 'a key announced twice');
    }
    seen.add(id);
    if (reference.api !== first.api || ksidOf(reference) !== ksidOf(first)) {
      throw new KeyChannelError(KeyChannelErrorCode.unexpectedMessage, 'a batch of keys of several streams');
    }
    const stream = streamOf(instance, reference);
    if (stream !== undefined && stream.keyChunkSizeBytes === undefined) {
      throw new KeyChannelError(KeyChannelErrorCode.unexpectedMessage, 'keys of a stream that is not open');
    }
  }
  return [...seen];
}

/**
 * Why a key that we don't know is not fetched, or `undefined`. Keys of an
 * unknown stream may have been under way when it ended, so they are refused
 * and no more.
 */
export function refusalOf(
  instance: Instance,
  id: string,
  reference: QkdKeyReference,
): 'unavailable' | 'over_quota' | 'mismatch' | undefined {
  if (instance.mismatched.has(ksidOf(reference) ?? id)) return 'mismatch';
  if (reference.api === 'etsi004') {
    const stream = streamOf(instance, reference);
    if (stream === undefined) return 'unavailable';
    const { index, slice } = reference;
    const { last } = stream;
    // It had its turn: used, withdrawn or expired here.
    if (last !== undefined && (index < last.index || (index === last.index && slice <= last.slice))) {
      return 'unavailable';
    }
    stream.last = { index, slice };
  } else if (instance.endedKeys.has(id)) {
    return 'unavailable';
  }
  return instance.keys.size >= instance.quota ? 'over_quota' : undefined;
}

/** The stream of a 004 key, if this instance has it. */
export function streamOf(instance: Instance, reference: QkdKeyReference): Stream | undefined {
  return reference.api === 'etsi004' ? instance.streams.get(hexOf(reference.ksid)) : undefined;
}
