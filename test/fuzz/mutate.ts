/** Seeded changes to byte strings, aware of what wire formats are made of: lengths, code points, repeated pieces. */

/** A small seeded generator (mulberry32): a fuzzing run is the same wherever its seed is the same. */
export type Random = (below: number) => number;

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Longest input that mutation makes; limits of the decoders lie on both sides of it. */
export const MAX_INPUT_BYTES = 70_000;
const INTERESTING = [0, 1, 2, 0x20, 0x7f, 0x80, 0xfe, 0xff] as const;

type Mutation = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const splice = (bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array => {
  const result = new Uint8Array(bytes.length - removed + added.length);
  result.set(bytes.subarray(0, at));
  result.set(added, at);
  result.set(bytes.subarray(at + removed), at + added.length);
  return result;
};

const slice = (bytes: Uint8Array, random: Random) => {
  const at = random(bytes.length + 1);
  return bytes.subarray(at, at + random(Math.min(64, bytes.length - at) + 1));
};

/** Adds `delta` to every 16-bit length that plainly frames what follows it and encloses `at`. */
function adjustLengths(bytes: Uint8Array, at: number, delta: number): void {
  for (let i = 0; i + 2 <= at; i++) {
    const length = ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
    const end = i + 2 + length;
    if (length < 2 || end <= at || end > bytes.length - delta) continue;
    bytes[i] = (length + delta) >> 8;
    bytes[i + 1] = length + delta;
  }
}

const mutations: readonly Mutation[] = [
  (bytes, random) => {
    const result = bytes.slice();
    if (result.length > 0) result[random(result.length)] = random(256);
    return result;
  },
  (bytes, random) => {
    const result = bytes.slice();
    if (result.length > 0) result[random(result.length)] = INTERESTING[random(INTERESTING.length)] as number;
    return result;
  },
  (bytes, random) => {
    const result = bytes.slice();
    if (result.length > 0) {
      const at = random(result.length);
      result[at] = (result[at] as number) + (random(2) === 0 ? 1 : -1);
    }
    return result;
  },
  (bytes, random) => bytes.slice(0, random(bytes.length + 1)),
  (bytes, random) => {
    const at = random(bytes.length + 1);
    return splice(bytes, at, random(Math.min(16, bytes.length - at) + 1), new Uint8Array(0));
  },
  (bytes, random, other) => splice(bytes, random(bytes.length + 1), 0, slice(other, random)),
  (bytes, random) => splice(bytes, random(bytes.length + 1), 0, slice(bytes, random)),
  // The same with the lengths around it mended, so that the change gets past the framing.
  (bytes, random, other) => {
    const at = random(bytes.length + 1);
    const added = slice(other, random);
    const result = splice(bytes, at, 0, added);
    adjustLengths(result, at, added.length);
    return result;
  },
];

/** One to four changes; `other` is another input, to take pieces from. */
export function mutate(bytes: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  let result = bytes;
  for (let left = 1 + random(4); left > 0; left--) {
    result = (mutations[random(mutations.length)] as Mutation)(result, random, other);
  }
  return result.slice(0, MAX_INPUT_BYTES);
}
