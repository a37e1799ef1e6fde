/**
 * Watches every HMAC of a run, so that the vectors show what the engine
 * computed and not what somebody computed again beside it. HKDF is nothing but
 * HMACs: the labels in their inputs say which secret each one is.
 *
 * The engine makes its HMACs out of one-shot hashes (RFC 2104, 2:
 * H(K xor opad || H(K xor ipad || text))), so pairs of those are looked for.
 */
import nodeCrypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { bytesEqual } from '../../../tls-ext/bytes/index.ts';

export interface TracedHmac {
  /** Padded with zeros to a block of the hash, as HMAC has it. */
  readonly paddedKey: Uint8Array;
  readonly data: Uint8Array;
  readonly output: Uint8Array;
}

interface TracedHash {
  readonly algorithm: string;
  readonly data: Uint8Array;
  readonly output: Uint8Array;
}

const blockBytes: Readonly<Record<string, number>> = { sha256: 64, sha384: 128 };
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/** Runs `run` and returns its result and its HMACs in their order. Synchronous only. */
export function traceHmacs<T>(run: () => T): { readonly result: T; readonly hmacs: readonly TracedHmac[] } {
  const hmacs: TracedHmac[] = [];
  let before: TracedHash | undefined;
  const original = nodeCrypto.hash;
  const traced = (algorithm: string, data: Uint8Array, encoding: 'buffer' | 'binary') => {
    const output = original(algorithm, data, encoding);
    const bytes = typeof output === 'string' ? Buffer.from(output, 'latin1') : output;
    const now: TracedHash = { algorithm, data: Uint8Array.from(data), output: Uint8Array.from(bytes) };
    const hmac = before && hmacOf(before, now);
    if (hmac !== undefined) hmacs.push(hmac);
    before = now;
    return output;
  };
  nodeCrypto.hash = traced as typeof nodeCrypto.hash;
  syncBuiltinESMExports();
  try {
    return { result: run(), hmacs };
  } finally {
    nodeCrypto.hash = original;
    syncBuiltinESMExports();
  }
}

/** The HMAC that two hashes in a row make, if they do. */
function hmacOf(inner: TracedHash, outer: TracedHash): TracedHmac | undefined {
  const block = blockBytes[outer.algorithm];
  if (block === undefined || inner.algorithm !== outer.algorithm || inner.data.length < block) return undefined;
  const paddedKey = inner.data.slice(0, block).map((byte) => byte ^ INNER_PAD);
  const outerKey = outer.data.slice(0, block).map((byte) => byte ^ OUTER_PAD);
  if (!bytesEqual(paddedKey, outerKey) || !bytesEqual(outer.data.subarray(block), inner.output)) return undefined;
  return { paddedKey, data: inner.data.slice(block), output: outer.output };
}
