/** The metadata of a 004 key as it came: what a lenient reader forgives. */
import { DecodeError, fromUtf8 } from '../../tls-ext/bytes/index.ts';
import { parseMetadata } from '../wire/index.ts';
import type { Provenance } from './provenance.ts';

const MAX_U32 = 0xffff_ffff;

export interface ReadMetadata {
  readonly provenance: Provenance;
  readonly deviations: readonly string[];
  /** Why the client could not use it. */
  readonly problem?: string;
}

export function readMetadata(bytes: Uint8Array): ReadMetadata {
  if (bytes.length === 0) {
    return { provenance: {}, deviations: ['application/json was granted, and no metadata comes (survived)'] };
  }
  let provenance: Provenance;
  try {
    provenance = parseMetadata(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { provenance: {}, deviations: [], problem: `${error.message}, though its type is application/json` };
  }
  const deviations: string[] = [];
  if (bytes.at(-1) === 0) deviations.push('the JSON ends with a NUL (survived)');
  const { age, hops } = fieldsOf(bytes);
  if (typeof age === 'number' && age > MAX_U32) {
    deviations.push(`age ${age} does not fit in 32 bits: a time since 1970, not an age (survived: it is dropped)`);
  } else if (age !== undefined && provenance.ageMs === undefined)
    deviations.push('age is no u32 (survived: it is dropped)');
  if (hops !== undefined && provenance.hops === undefined) deviations.push('hops is no u32 (survived: it is dropped)');
  return { provenance, deviations };
}

function fieldsOf(bytes: Uint8Array): Record<string, unknown> {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return JSON.parse(fromUtf8(bytes.subarray(0, end)) || '{}');
}
