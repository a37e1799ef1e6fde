/**
 * The JSON metadata of a 004 key (clause 6.3): `age` in milliseconds, `hops`
 * (0 = direct link). `simulated` is ours: a simulator's KME sets it, so that
 * its keys are never taken for quantum ones.
 */
import { DecodeError, utf8 } from '../../tls-ext/bytes/index.ts';
import { isU32, MAX_U32 } from './json-fields.ts';
import { parseStrictJson } from './strict-json.ts';

export interface Etsi004Metadata {
  readonly ageMs?: number;
  readonly hops?: number;
  readonly simulated?: boolean;
}

export function encodeMetadata(metadata: Etsi004Metadata): Uint8Array {
  return utf8(
    JSON.stringify({
      ...(metadata.ageMs === undefined ? {} : { age: Math.min(Math.max(0, Math.round(metadata.ageMs)), MAX_U32) }),
      ...(metadata.hops === undefined ? {} : { hops: metadata.hops }),
      ...(metadata.simulated === undefined ? {} : { simulated: metadata.simulated }),
    }),
  );
}

/**
 * Metadata of a delivered key. Empty bytes mean that none was returned. Trailing
 * NULs, which some servers send, are dropped; so is an `age` above u32, which
 * is an epoch time and no age. Throws `DecodeError` if what is left is not a JSON object.
 */
export function parseMetadata(bytes: Uint8Array): Etsi004Metadata {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  if (end === 0) return {};
  let value: unknown;
  try {
    value = parseStrictJson(bytes.subarray(0, end));
  } catch (error) {
    throw new DecodeError(`metadata: ${(error as DecodeError).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DecodeError('metadata is not a JSON object');
  }
  const { age, hops, simulated } = value as Record<string, unknown>;
  return {
    ...(isU32(age) ? { ageMs: age } : {}),
    ...(isU32(hops) ? { hops } : {}),
    ...(typeof simulated === 'boolean' ? { simulated } : {}),
  };
}
