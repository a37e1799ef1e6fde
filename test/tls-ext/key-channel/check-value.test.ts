import { createHash, createHmac } from 'node:crypto';
import { expect } from 'chai';
import { deriveCheckValues } from '../../../tls-ext/key-channel/index.ts';
import { encodeQkdKeyReference } from '../../../tls-ext/messages/key-reference.ts';
import { bytesOf, keyOf, ksidOf, reference004 } from './fixtures.ts';

/** HKDF-Expand-Label(HKDF-Extract(0, key), label, Hash(reference), 16), straight from RFC 5869 and RFC 8446, 7.1. */
function checkByTheBook(label: string, key: Uint8Array, reference: Uint8Array): string {
  const prk = createHmac('sha256', Buffer.alloc(32)).update(key).digest();
  const context = createHash('sha256').update(reference).digest();
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([
    Buffer.from([0, 16, name.length]),
    name,
    Buffer.from([context.length]),
    context,
    Buffer.from([1]),
  ]);
  return createHmac('sha256', prk).update(info).digest().subarray(0, 16).toString('hex');
}

describe('check values', () => {
  const reference = reference004(ksidOf(3), 7, 1);
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

  it('are what the specification says', () => {
    const checks = deriveCheckValues(reference, keyOf(9));
    const encoded = encodeQkdKeyReference(reference);
    expect(hex(checks.drawer)).to.equal(checkByTheBook('qkd check d', bytesOf(32, 9), encoded));
    expect(hex(checks.answerer)).to.equal(checkByTheBook('qkd check a', bytesOf(32, 9), encoded));
  });

  it('differ with role, key and reference', () => {
    const { drawer, answerer } = deriveCheckValues(reference, keyOf(9));
    const all = [
      drawer,
      answerer,
      deriveCheckValues(reference, keyOf(8)).drawer,
      deriveCheckValues(reference004(ksidOf(3), 7, 2), keyOf(9)).drawer,
    ];
    expect(new Set(all.map(hex)).size).to.equal(4);
  });

  it('leave the secret to its owner', () => {
    const secret = keyOf(9);
    deriveCheckValues(reference, secret);
    expect(hex(secret.expose())).to.equal('09'.repeat(32));
  });
});
