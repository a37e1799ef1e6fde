/** Targets of decoders: what they throw must be typed, and what they take must survive encoding. */
import fc from 'fast-check';
import { CertError } from '../../../certs/index.ts';
import { KdiError } from '../../../kdi-client/index.ts';
import { bytesEqual, DecodeError, utf8 } from '../../../tls-ext/bytes/index.ts';
import { KeyChannelError } from '../../../tls-ext/key-channel/index.ts';
import { TlsError } from '../../../tls-ext/tls-error.ts';
import type { Random } from '../random.ts';
import type { Outcome, Target } from '../target.ts';

const SEEDS = 12;

/** An error of ours, with a code or an alert that somebody gets. */
export function isTyped(error: unknown): error is Error {
  if (error instanceof TlsError) return error.code !== 'ERR_TLS_INTERNAL';
  return (
    error instanceof DecodeError ||
    error instanceof KeyChannelError ||
    error instanceof KdiError ||
    error instanceof CertError
  );
}

export function samples<T>(values: fc.Arbitrary<T>, count = SEEDS, seed = 4): T[] {
  return fc.sample(values, { numRuns: count, seed });
}

export function freshOf<T>(values: fc.Arbitrary<T>, encode: (value: T) => Uint8Array): (random: Random) => Uint8Array {
  return (random) => encode(samples(values, 1, random(2 ** 31))[0] as T);
}

/** Runs a decoder: the outcome is the message of its typed error. */
export function outcomeOf(decode: () => void, expected: (error: unknown) => boolean = isTyped): Outcome {
  try {
    decode();
  } catch (error) {
    if (!expected(error)) throw error;
    return (error as Error).message;
  }
  return 'decoded';
}

/** What decodes must encode, and what was encoded must stay as it is. */
export function codec<T, R extends T>(
  name: string,
  covers: readonly string[],
  values: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => R,
): Target {
  return {
    name,
    covers,
    seeds: () => samples(values).map(encode),
    fresh: freshOf(values, encode),
    run: (input) => {
      let value: R | undefined;
      const outcome = outcomeOf(() => {
        value = decode(input);
      });
      if (value === undefined) return outcome;
      const once = encode(value);
      if (!bytesEqual(encode(decode(once)), once)) throw new Error('decode, encode, decode changed the value');
      return outcome;
    },
  };
}

/** A decoder of which there is no encoder, or not one of the same values. */
export function decoder(
  name: string,
  covers: readonly string[],
  seeds: () => readonly Uint8Array[],
  decode: (bytes: Uint8Array) => void,
  expected?: (error: unknown) => boolean,
): Target {
  return { name, covers, seeds, run: (input) => outcomeOf(() => decode(input), expected) };
}

const KEYWORDS = ['null', 'true', '[]', '{}', '""', '-1', '1e400', '1.5', '"__proto__"', '\\u0000', '\ud800', '\n'];

/** A decoder of text. */
export function text(
  name: string,
  covers: readonly string[],
  seeds: readonly string[],
  parse: (text: string) => unknown,
  expected?: (error: unknown) => boolean,
  keywords: readonly string[] = [],
): Target {
  return {
    name,
    covers,
    seeds: () => seeds.map(utf8),
    dictionary: [...KEYWORDS, ...keywords].map(utf8),
    run: (input) => outcomeOf(() => void parse(Buffer.from(input).toString('utf8')), expected),
  };
}

/** A reader of parsed JSON. Text that is no JSON never reaches it. */
export function json(
  name: string,
  covers: readonly string[],
  seeds: readonly unknown[],
  parse: (value: unknown) => unknown,
): Target {
  const fields = seeds.flatMap((seed) => Object.keys(seed as object)).map((field) => JSON.stringify(field));
  const target = text(
    name,
    covers,
    seeds.map((seed) => JSON.stringify(seed)),
    (source) => {
      let value: unknown;
      try {
        value = JSON.parse(source);
      } catch {
        throw new DecodeError('no JSON');
      }
      parse(value);
    },
    undefined,
    fields,
  );
  return { ...target, mutate: mutateJson };
}

/** Changes a value of the tree for another one, so that it stays JSON. */
function mutateJson(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  let tree: unknown;
  let donor: unknown;
  try {
    tree = JSON.parse(Buffer.from(input).toString('utf8'));
    donor = JSON.parse(Buffer.from(other).toString('utf8'));
  } catch {
    return input;
  }
  const holder = { tree };
  const places = placesOf(holder);
  const donors = placesOf({ donor });
  const [object, key] = places[random(places.length)] as Place;
  const taken = donors[random(donors.length)] as Place;
  const odd = [
    null,
    true,
    false,
    '',
    0,
    -1,
    1.5,
    2 ** 53,
    1e300,
    [],
    {},
    [[]],
    'A'.repeat(5_000),
    '\u0000',
    'ü',
    'AA==',
  ];
  switch (random(5)) {
    case 0:
      object[key] = odd[random(odd.length)];
      break;
    case 1:
      object[key] = taken[0][taken[1]];
      break;
    case 2:
      if (Array.isArray(object)) object.splice(Number(key), 1);
      else delete object[key];
      break;
    case 3:
      object[key] = [object[key], object[key]];
      break;
    default: {
      const value = object[key];
      if (typeof value === 'string') object[key] = value.slice(random(value.length + 1)) + value.slice(0, random(9));
      else if (Array.isArray(value)) object[key] = Array.from({ length: random(3_000) }, () => value[0]);
      else object[key] = { extra: value };
    }
  }
  return utf8(JSON.stringify(holder.tree) ?? 'null');
}

type Place = [Record<string, unknown>, string];

function placesOf(root: object): Place[] {
  const places: Place[] = [];
  const walk = (node: Record<string, unknown>) => {
    for (const key of Object.keys(node)) {
      if (places.length > 500) return;
      places.push([node, key]);
      const value = node[key];
      if (typeof value === 'object' && value !== null) walk(value as Record<string, unknown>);
    }
  };
  walk(root as Record<string, unknown>);
  return places;
}
