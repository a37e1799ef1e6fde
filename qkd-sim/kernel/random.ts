/**
 * Random numbers for the simulator: independent named streams, either all from
 * one seed (reproducible) or all from the operating system (for keys that
 * anyone is going to use).
 */
import { createHash, randomFillSync } from 'node:crypto';

/** Fills the array with uniform 32-bit words. */
export type WordGenerator = (words: Uint32Array) => void;

const BUFFER_WORDS = 4096;
const TWO_POW_32 = 2 ** 32;

/** A buffered stream of uniform words. */
export class RandomStream {
  readonly #generate: WordGenerator;
  readonly #buffer = new Uint32Array(BUFFER_WORDS);
  #next = BUFFER_WORDS;

  constructor(generate: WordGenerator) {
    this.#generate = generate;
  }

  /** Uniform on 0 to 2^32 − 1. */
  u32(): number {
    if (this.#next === BUFFER_WORDS) {
      this.#generate(this.#buffer);
      this.#next = 0;
    }
    const word = this.#buffer[this.#next] as number;
    // A word is used once; nothing of a key stays behind.
    this.#buffer[this.#next++] = 0;
    return word;
  }

  /** Uniform on the open interval (0, 1), in steps of 2^−32. */
  fraction(): number {
    return (this.u32() + 0.5) / TWO_POW_32;
  }

  /** Uniform on 0 to `bound` − 1, for bounds up to 2^21 (beyond, the product is not exact). */
  below(bound: number): number {
    return Math.floor((this.u32() * bound) / TWO_POW_32);
  }

  /** `count` fresh words, owned by the caller. */
  words(count: number): Uint32Array {
    const words = new Uint32Array(count);
    this.#generate(words);
    return words;
  }
}

/** Hands out a stream for each name; the same name twice gives two streams with the same content when seeded. */
export type RandomSource = (name: string) => RandomStream;

/** Reproducible streams: xoshiro128**, each with a state derived from seed and name by SHA-256. Not for real keys. */
export function seededSource(seed: string | bigint): RandomSource {
  return (name) => {
    const digest = createHash('sha256')
      .update(`${typeof seed}:${seed}\0${name}`)
      .digest();
    return new RandomStream(
      xoshiro128(new Uint32Array(digest.buffer.slice(digest.byteOffset, digest.byteOffset + 16))),
    );
  };
}

/** Streams from the operating system's cryptographic generator. */
export const systemSource: RandomSource = () => new RandomStream((words) => void randomFillSync(words));

/** A stream expanded from public words, for choices that both ends must make alike (shuffles). */
export function publicStream(seed: Uint32Array): RandomStream {
  return new RandomStream(xoshiro128(seed));
}

/**
 * xoshiro128** 1.1 (Blackman and Vigna, "Scrambled Linear Pseudorandom Number
 * Generators", ACM TOMS 47, 2021): 128 bits of state, which must not be all 0.
 */
export function xoshiro128(state: Uint32Array): WordGenerator {
  let [a, b, c, d] = [state[0]! | 0, state[1]! | 0, state[2]! | 0, state[3]! | 0];
  if ((a | b | c | d) === 0) throw new RangeError('xoshiro128** can not start from an all-zero state');
  return (words) => {
    for (let i = 0; i < words.length; i++) {
      const r = Math.imul(b, 5);
      words[i] = Math.imul((r << 7) | (r >>> 25), 9);
      const t = b << 9;
      c ^= a;
      d ^= b;
      b ^= c;
      a ^= d;
      c ^= t;
      d = (d << 11) | (d >>> 21);
    }
  };
}
