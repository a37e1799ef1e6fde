import { hexOf } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import { encodeQkdKeyReference } from '../messages/key-reference.ts';

/** A string that is equal exactly for equal references: its wire form in hex, for use as a key of a map. */
export function referenceId(reference: QkdKeyReference): string {
  return hexOf(encodeQkdKeyReference(reference));
}

/** The stream of a 004 key, in hex. */
export function ksidOf(reference: QkdKeyReference): string | undefined {
  return reference.api === 'etsi004' ? hexOf(reference.ksid) : undefined;
}
