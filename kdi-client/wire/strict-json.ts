/**
 * JSON from the other side (RFC 8259), bounded before anything is built from
 * it: how deep it nests, how many values it has, and each object's names only
 * once (RFC 7493), since of two fields with one name two readers take different ones.
 */
import { DecodeError, fromUtf8 } from '../../tls-ext/bytes/index.ts';

/** Deepest nesting: GS QKD 014 needs four levels, extensions may have more. */
export const MAX_JSON_DEPTH = 16;
/** Most values, names not counted: a container of 1,024 keys with extensions has some 10,000. */
export const MAX_JSON_VALUES = 65_536;

/** Throws `DecodeError`, which never quotes the text: it may be a key. */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = fromUtf8(bytes);
  } catch {
    throw new DecodeError('not UTF-8');
  }
  expectBounded(text);
  try {
    return JSON.parse(text);
  } catch {
    throw new DecodeError('not JSON');
  }
}

/** What is open: for an object its names so far, for an array nothing. */
type Level = { readonly names: Set<string> | undefined; expectsName: boolean };

/** Exact for whatever is JSON; the rest is left to `JSON.parse` to refuse. */
function expectBounded(text: string): void {
  const levels: Level[] = [];
  let values = 1;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = endOfString(text, at);
        const level = levels.at(-1);
        if (level?.expectsName) expectNewName(text.slice(at, end), level);
        at = end - 1;
        break;
      }
      case '{':
      case '[': {
        const isObject = text[at] === '{';
        if (levels.push({ names: isObject ? new Set() : undefined, expectsName: isObject }) > MAX_JSON_DEPTH) {
          throw new DecodeError(`JSON nested deeper than ${MAX_JSON_DEPTH}`);
        }
        values++;
        break;
      }
      case '}':
      case ']':
        levels.pop();
        break;
      case ',': {
        const level = levels.at(-1);
        if (level?.names !== undefined) level.expectsName = true;
        values++;
        break;
      }
    }
    if (values > MAX_JSON_VALUES) throw new DecodeError(`JSON of more than ${MAX_JSON_VALUES} values`);
  }
}

/** The position after the string that starts at `at`. */
function endOfString(text: string, at: number): number {
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === '\\') end++;
    else if (text[end] === '"') return end + 1;
  }
  return text.length;
}

function expectNewName(quoted: string, level: Level): void {
  let name = quoted;
  if (quoted.includes('\\')) {
    try {
      name = JSON.stringify(JSON.parse(quoted));
    } catch {
      throw new DecodeError('not JSON');
    }
  }
  level.expectsName = false;
  if (level.names?.has(name)) throw new DecodeError('JSON with a name twice in one object');
  level.names?.add(name);
}
