/** Seeded changes to byte strings, aware of what wire formats are made of: lengths, code points, repeated pieces. */
import { concatBytes } from '../../tls-ext/bytes/index.ts';
import { pick, type Random } from './random.ts';

/** Longest input that mutation makes; limits of the decoders lie on both sides of it. */
export const MAX_INPUT_BYTES = 70_000;
const MAX_SLICE_BYTES = 64;
const INTERESTING_BYTES = [0, 1, 2, 0x20, 0x7f, 0x80, 0xfe, 0xff] as const;
const INTERESTING_U16 = [
  0, 1, 0x20, 0x7f, 0xff, 0x100, 0x3fff, 0x4000, 0x4001, 0x4101, 0x7fff, 0x8000, 0xffff,
] as const;

interface Material {
  readonly random: Random;
  /** Another input, to take pieces from. */
  readonly other: Uint8Array;
  readonly dictionary: readonly Uint8Array[];
}

type Mutation = (bytes: Uint8Array, material: Material) => Uint8Array;

/** `removed` bytes at `at` replaced by others. */
export function splice(bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array {
  return concatBytes(bytes.subarray(0, at), added, bytes.subarray(at + removed));
}

function slice(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random(bytes.length + 1);
  return bytes.subarray(at, at + random(Math.min(MAX_SLICE_BYTES, bytes.length - at) + 1));
}

/** The same with the lengths around it mended, of 1, 2 and 3 bytes, so that the change gets past the framing. */
export function spliceMended(bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array {
  const result = splice(bytes, at, removed, added);
  const delta = added.length - removed;
  if (delta === 0) return result;
  for (const width of [1, 2, 3]) {
    for (let i = 0; i + width <= at; i++) {
      let length = 0;
      for (let j = 0; j < width; j++) length = length * 256 + (bytes[i + j] as number);
      const end = i + width + length;
      // A vector that holds the whole of what was replaced. One byte is too often one by chance: only near ones count.
      if (length === 0 || end < at + removed || end > bytes.length || (width === 1 && end - i > 256)) continue;
      if (width === 1 && at - i > MAX_SLICE_BYTES) continue;
      let mended = length + delta;
      if (mended < 0) continue;
      for (let j = width - 1; j >= 0; j--) {
        result[i + j] = mended % 256;
        mended = Math.floor(mended / 256);
      }
    }
  }
  return result;
}

function setByte(bytes: Uint8Array, random: Random, value: (old: number) => number): Uint8Array {
  const result = bytes.slice();
  if (result.length > 0) {
    const at = random(result.length);
    result[at] = value(result[at] as number);
  }
  return result;
}

const mutations: readonly Mutation[] = [
  (bytes, { random }) => setByte(bytes, random, () => random(256)),
  (bytes, { random }) => setByte(bytes, random, () => pick(random, INTERESTING_BYTES)),
  (bytes, { random }) => setByte(bytes, random, (old) => old + (random(2) === 0 ? 1 : -1)),
  (bytes, { random }) => setByte(bytes, random, (old) => old ^ (1 << random(8))),
  (bytes, { random }) => {
    if (bytes.length < 2) return bytes;
    const value = pick(random, INTERESTING_U16);
    return splice(bytes, random(bytes.length - 1), 2, Uint8Array.of(value >> 8, value));
  },
  (bytes, { random }) => bytes.slice(0, random(bytes.length + 1)),
  (bytes, { random }) => {
    const at = random(bytes.length + 1);
    return splice(bytes, at, random(Math.min(16, bytes.length - at) + 1), new Uint8Array(0));
  },
  (bytes, { random, other }) => splice(bytes, random(bytes.length + 1), 0, slice(other, random)),
  (bytes, { random }) => splice(bytes, random(bytes.length + 1), 0, slice(bytes, random)),
  (bytes, { random, other }) => spliceMended(bytes, random(bytes.length + 1), 0, slice(other, random)),
  (bytes, { random }) => {
    const at = random(bytes.length + 1);
    return spliceMended(bytes, at, random(Math.min(16, bytes.length - at) + 1), new Uint8Array(0));
  },
  // A long run of one byte: what a bound is for.
  (bytes, { random }) => {
    if (random(8) > 0) return bytes;
    const run = new Uint8Array(1 << random(17)).fill(random(256));
    return spliceMended(bytes, random(bytes.length + 1), 0, run);
  },
  (bytes, { random, dictionary }) => {
    if (dictionary.length === 0) return bytes;
    const at = random(bytes.length + 1);
    return splice(bytes, at, random(Math.min(8, bytes.length - at) + 1), pick(random, dictionary));
  },
  (bytes, { random, dictionary }) => {
    if (dictionary.length === 0) return bytes;
    return spliceMended(bytes, random(bytes.length + 1), 0, pick(random, dictionary));
  },
];

/** One to four changes; `other` is another input, to take pieces from. */
export function mutate(
  bytes: Uint8Array,
  random: Random,
  other: Uint8Array,
  dictionary: readonly Uint8Array[] = [],
): Uint8Array {
  let result = bytes;
  for (let left = 1 + random(4); left > 0; left--) {
    result = pick(random, mutations)(result, { random, other, dictionary });
  }
  return result.slice(0, MAX_INPUT_BYTES);
}
