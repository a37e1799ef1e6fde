/**
 * HMAC (RFC 2104) out of one-shot hashes. For the short messages of a key
 * schedule that is a third cheaper than `createHmac` with a `KeyObject` made
 * for one use; and of the key only our own bytes are left, which are wiped.
 */
import { hash as oneShot } from 'node:crypto';
import { SecretBytes } from '../bytes/index.ts';
import { type HashName, hashLengthBytes } from './hash.ts';
import { plainBytes } from './plain-bytes.ts';

/** B of RFC 2104: the block length of the hash in bytes. */
const blockBytes: Readonly<Record<HashName, number>> = { sha256: 64, sha384: 128 };
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;
/** Longer messages get memory of their own. */
const MAX_SHARED_MESSAGE_BYTES = 1_024;

interface Scratch {
  /** ipad, then the message; opad, then the inner hash. Between two uses the pads hold no key. */
  readonly inner: Uint8Array;
  readonly outer: Buffer;
}

function makeScratch(name: HashName): Scratch {
  return {
    inner: new Uint8Array(blockBytes[name] + MAX_SHARED_MESSAGE_BYTES).fill(INNER_PAD),
    outer: Buffer.allocUnsafeSlow(blockBytes[name] + hashLengthBytes[name]).fill(OUTER_PAD),
  };
}

/** Shared by all connections, since each use is over before the call returns. */
const scratches: Readonly<Record<HashName, Scratch>> = { sha256: makeScratch('sha256'), sha384: makeScratch('sha384') };

/** HMAC of the concatenation of `parts`. The key stays the caller's. */
export function hmac(name: HashName, key: SecretBytes | Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const block = blockBytes[name];
  const keyBytes = key instanceof SecretBytes ? key.expose() : key;
  if (keyBytes.length > block) return hmac(name, plainBytes(oneShot(name, keyBytes, 'buffer')), ...parts);

  const messageBytes = parts.reduce((sum, part) => sum + part.length, 0);
  const { inner: shared, outer } = scratches[name];
  const inner =
    messageBytes <= MAX_SHARED_MESSAGE_BYTES ? shared : new Uint8Array(block + messageBytes).fill(INNER_PAD, 0, block);
  for (let i = 0; i < keyBytes.length; i++) {
    inner[i] = (keyBytes[i] as number) ^ INNER_PAD;
    outer[i] = (keyBytes[i] as number) ^ OUTER_PAD;
  }
  let at = block;
  for (const part of parts) {
    inner.set(part, at);
    at += part.length;
  }
  // A string costs half of a buffer. It can't be wiped, but without the key the inner hash is no secret.
  outer.write(oneShot(name, inner.subarray(0, at), 'binary'), block, 'latin1');
  const mac = plainBytes(oneShot(name, outer, 'buffer'));
  // So few bytes are cheaper one by one than by `fill`.
  for (let i = 0; i < keyBytes.length; i++) {
    inner[i] = INNER_PAD;
    outer[i] = OUTER_PAD;
  }
  for (let i = block; i < at; i++) inner[i] = 0;
  for (let i = block; i < outer.length; i++) outer[i] = 0;
  return mac;
}
