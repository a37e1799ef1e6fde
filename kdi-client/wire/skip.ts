/**
 * JSON messages of SKIP, draft-cisco-skip-02 (2025-09-03), with the draft's own
 * field names. `parseX` throws `DecodeError`.
 */
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import { expectArray, expectBoolean, expectCount, expectObject, expectString } from './json-fields.ts';

/** Longest key ID and key, in bytes. */
export const MAX_SKIP_KEY_ID_BYTES = 64;
export const MAX_SKIP_KEY_BYTES = 4096;
/** Longest system ID, and most patterns of them. */
export const MAX_SYSTEM_ID_CHARS = 256;
export const MAX_REMOTE_SYSTEMS = 1024;

export interface SkipCapabilities {
  readonly entropy: boolean;
  readonly key: boolean;
  readonly algorithm: string;
  readonly localSystemID: string;
  /** May be globs: see `matchesSystemId`. */
  readonly remoteSystemID: readonly string[];
}

/** Both in hex. */
export interface SkipKey {
  readonly keyId: string;
  readonly key: string;
}

export interface SkipEntropy {
  /** Hex. */
  readonly randomStr: string;
  /** Bits. */
  readonly minentropy: number;
}

export function parseSkipCapabilities(value: unknown): SkipCapabilities {
  const capabilities = expectObject(value, 'capabilities');
  return {
    entropy: expectBoolean(capabilities.entropy, 'entropy'),
    key: expectBoolean(capabilities.key, 'key'),
    algorithm: expectString(capabilities.algorithm, 'algorithm', 128),
    localSystemID: expectString(capabilities.localSystemID, 'localSystemID', MAX_SYSTEM_ID_CHARS),
    remoteSystemID: expectArray(capabilities.remoteSystemID, 'remoteSystemID', MAX_REMOTE_SYSTEMS).map((id) =>
      expectString(id, 'remoteSystemID', MAX_SYSTEM_ID_CHARS),
    ),
  };
}

export function parseSkipKey(value: unknown): SkipKey {
  const key = expectObject(value, 'key object');
  return {
    keyId: expectHex(key.keyId, 'keyId', MAX_SKIP_KEY_ID_BYTES),
    key: expectHex(key.key, 'key', MAX_SKIP_KEY_BYTES),
  };
}

export function parseSkipEntropy(value: unknown): SkipEntropy {
  const entropy = expectObject(value, 'entropy object');
  return {
    randomStr: expectHex(entropy.randomStr, 'randomStr', MAX_SKIP_KEY_BYTES),
    minentropy: expectCount(entropy.minentropy, 'minentropy'),
  };
}

/**
 * Whether `id` matches one of the patterns: `*` any characters, `?` one,
 * `[abc]`, `[a-z]` one of these, `[!abc]` one of none of these. Linear in time:
 * the patterns come from the other side.
 */
export function matchesSystemId(patterns: readonly string[], id: string): boolean {
  return patterns.some((pattern) => matchesGlob(pattern, id));
}

type Token = 'any' | ((character: string) => boolean);

function matchesGlob(pattern: string, text: string): boolean {
  const tokens = tokensOf(pattern);
  // Backtracks to the last `*` only, which is enough for globs.
  let token = 0;
  let at = 0;
  let star = -1;
  let starAt = 0;
  while (at < text.length) {
    const current = tokens[token];
    if (current === 'any') {
      star = token++;
      starAt = at;
    } else if (current?.(text[at] as string)) {
      token++;
      at++;
    } else if (star >= 0) {
      token = star + 1;
      at = ++starAt;
    } else return false;
  }
  while (tokens[token] === 'any') token++;
  return token === tokens.length;
}

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i] as string;
    const end = character === '[' ? pattern.indexOf(']', i + (pattern[i + 1] === '!' ? 3 : 2)) : -1;
    if (character === '*') tokens.push('any');
    else if (character === '?') tokens.push(() => true);
    else if (end > 0) {
      tokens.push(setOf(pattern.slice(i + 1, end)));
      i = end;
    } else tokens.push((other) => other === character);
  }
  return tokens;
}

function setOf(body: string): (character: string) => boolean {
  const negated = body.startsWith('!');
  const members = negated ? body.slice(1) : body;
  const ranges: (readonly [string, string])[] = [];
  for (let i = 0; i < members.length; i++) {
    const from = members[i] as string;
    if (members[i + 1] === '-' && i + 2 < members.length) {
      ranges.push([from, members[i + 2] as string]);
      i += 2;
    } else ranges.push([from, from]);
  }
  return (character) => ranges.some(([from, to]) => character >= from && character <= to) !== negated;
}

function expectHex(value: unknown, field: string, maxBytes: number): string {
  const text = expectString(value, field, 2 * maxBytes);
  if (text === '' || !/^(?:[0-9a-f]{2})+$/i.test(text)) throw new DecodeError(`${field} is not hex`);
  return text;
}
