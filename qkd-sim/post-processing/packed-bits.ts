/** A bit string packed into 32-bit words: bit i is bit (i mod 32) of word ⌊i/32⌋. Bits beyond the length are 0. */
export class PackedBits {
  readonly words: Uint32Array;
  readonly length: number;

  /** Takes ownership of `words`. */
  constructor(length: number, words: Uint32Array = new Uint32Array(wordsFor(length))) {
    if (words.length !== wordsFor(length)) throw new RangeError(`${words.length} words for ${length} bits`);
    this.length = length;
    this.words = words;
    const used = length & 31;
    if (used !== 0) words[words.length - 1]! &= (1 << used) - 1;
  }

  get(i: number): 0 | 1 {
    return ((this.words[i >>> 5]! >>> (i & 31)) & 1) as 0 | 1;
  }

  flip(i: number): void {
    this.words[i >>> 5]! ^= 1 << (i & 31);
  }

  /** Parity of the bits `start` to `end` − 1. */
  parity(start: number, end: number): 0 | 1 {
    if (start >= end) return 0;
    const words = this.words;
    const first = start >>> 5;
    const last = (end - 1) >>> 5;
    const head = -1 << (start & 31);
    const tail = -1 >>> (31 - ((end - 1) & 31));
    if (first === last) return wordParity(words[first]! & head & tail);
    let sum = words[first]! & head;
    for (let w = first + 1; w < last; w++) sum ^= words[w]!;
    return wordParity(sum ^ (words[last]! & tail));
  }

  /** A copy of the bits `start` to `end` − 1. */
  slice(start: number, end: number): PackedBits {
    const part = new PackedBits(end - start);
    const from = start >>> 5;
    const shift = start & 31;
    for (let w = 0; w < part.words.length; w++) {
      const low = this.words[from + w]! >>> shift;
      part.words[w] = shift === 0 ? low : low | ((this.words[from + w + 1] ?? 0) << (32 - shift));
    }
    return new PackedBits(part.length, part.words);
  }

  /** Number of 1 bits. */
  weight(): number {
    let sum = 0;
    for (const word of this.words) sum += wordWeight(word);
    return sum;
  }

  /** The whole bytes of the bits `start` to `end` − 1, bit 0 lowest; up to 7 bits at the end are left out. */
  toBytes(start = 0, end = this.length): Uint8Array {
    const part = this.slice(start, end);
    const bytes = new Uint8Array((end - start) >>> 3);
    for (let i = 0; i < bytes.length; i++) bytes[i] = part.words[i >>> 2]! >>> (8 * (i & 3));
    part.wipe();
    return bytes;
  }

  wipe(): void {
    this.words.fill(0);
  }
}

export function wordsFor(bits: number): number {
  return (bits + 31) >>> 5;
}

export function wordParity(word: number): 0 | 1 {
  let x = word ^ (word >>> 16);
  x ^= x >>> 8;
  x ^= x >>> 4;
  return ((0x6996 >>> (x & 15)) & 1) as 0 | 1;
}

export function wordWeight(word: number): number {
  let x = word - ((word >>> 1) & 0x5555_5555);
  x = (x & 0x3333_3333) + ((x >>> 2) & 0x3333_3333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
