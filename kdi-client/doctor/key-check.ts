/** Whether two ends hold the same key, without either key going anywhere. */
import { createHmac } from 'node:crypto';
import { constantTimeEqual, type SecretBytes, utf8 } from '../../tls-ext/bytes/index.ts';

const CHECK_BYTES = 16;

/** A value that is equal exactly for equal keys (but for 2^-128) and says nothing of the key. `reference` binds it to the key's ID. */
export function checkValue(key: SecretBytes, reference: string): Uint8Array {
  const mac = createHmac('sha256', key.expose())
    .update(utf8(`qstunnel doctor check, ${reference}`))
    .digest();
  return Uint8Array.from(mac.subarray(0, CHECK_BYTES));
}

/** Compares by check value, and wipes both keys. */
export function sameKey(a: SecretBytes, b: SecretBytes, reference: string): boolean {
  try {
    return a.length === b.length && constantTimeEqual(checkValue(a, reference), checkValue(b, reference));
  } finally {
    a.wipe();
    b.wipe();
  }
}
