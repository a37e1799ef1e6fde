import { expect } from 'chai';
import fc from 'fast-check';
import { seededSource } from '../../../qkd-sim/kernel/random.ts';
import { Fft } from '../../../qkd-sim/post-processing/fft.ts';
import { PackedBits, wordsFor } from '../../../qkd-sim/post-processing/packed-bits.ts';
import { toeplitzDirect, toeplitzHash, toeplitzSeedBits } from '../../../qkd-sim/post-processing/toeplitz.ts';

const random = seededSource('toeplitz')('bits');
const randomBits = (length: number) => new PackedBits(length, random.words(wordsFor(length)));

/** The definition: row r, column c of the matrix is seed bit r − c + n − 1. */
function byDefinition(input: PackedBits, seed: PackedBits, outputBits: number): PackedBits {
  const output = new PackedBits(outputBits);
  for (let r = 0; r < outputBits; r++) {
    let sum = 0;
    for (let c = 0; c < input.length; c++) sum ^= input.get(c) & seed.get(r - c + input.length - 1);
    if (sum === 1) output.flip(r);
  }
  return output;
}

describe('Toeplitz hashing', () => {
  it('by words and by FFT both give what the definition gives', () => {
    const sizes = fc.integer({ min: 1, max: 400 });
    fc.assert(
      fc.property(sizes, sizes, fc.constantFrom(2, 4, 8, 32, 64, 512), (n, m, piece) => {
        const input = randomBits(n);
        const seed = randomBits(toeplitzSeedBits(n, m));
        const expected = [...byDefinition(input, seed, m).words];
        expect([...toeplitzDirect(input, seed, m).words]).to.deep.equal(expected);
        expect([...toeplitzHash(input, seed, m, piece).words]).to.deep.equal(expected);
      }),
    );
  });

  it('is exact where sums and transforms are largest: all ones, full pieces', () => {
    const [n, m] = [300_000, 70_000];
    const ones = (length: number) => new PackedBits(length, new Uint32Array(wordsFor(length)).fill(0xffff_ffff));
    expect(toeplitzHash(ones(n - 1), ones(n + m - 2), m).weight(), 'n odd').to.equal(m);
    expect(toeplitzHash(ones(n), ones(n + m - 1), m).weight(), 'n even').to.equal(0);
  });

  it('agrees with the word-by-word product at a real size', () => {
    const [n, m] = [200_000, 5000];
    const input = randomBits(n);
    const seed = randomBits(toeplitzSeedBits(n, m));
    expect([...toeplitzHash(input, seed, m).words]).to.deep.equal([...toeplitzDirect(input, seed, m).words]);
  });

  it('refuses a seed of the wrong length', () => {
    expect(() => toeplitzHash(randomBits(100), randomBits(100), 10)).to.throw(RangeError);
    expect(() => toeplitzDirect(randomBits(100), randomBits(110), 10)).to.throw(RangeError);
  });
});

describe('FFT', () => {
  for (const size of [4, 8, 16, 64, 128]) {
    it(`transforms and inverts ${size} points`, () => {
      const re = Float64Array.from({ length: size }, () => random.fraction());
      const im = Float64Array.from({ length: size }, () => random.fraction());
      const [a, b] = [re.slice(), im.slice()];
      const fft = new Fft(size);
      fft.forward(a, b);
      const bits = Math.log2(size);
      for (let place = 0; place < size; place++) {
        let k = 0;
        for (let bit = 0; bit < bits; bit++) k |= ((place >>> bit) & 1) << (bits - 1 - bit);
        let [x, y] = [0, 0];
        for (let t = 0; t < size; t++) {
          const angle = (-2 * Math.PI * k * t) / size;
          x += re[t]! * Math.cos(angle) - im[t]! * Math.sin(angle);
          y += re[t]! * Math.sin(angle) + im[t]! * Math.cos(angle);
        }
        expect(a[place]).to.be.closeTo(x, 1e-9);
        expect(b[place]).to.be.closeTo(y, 1e-9);
      }
      fft.inverse(a, b);
      for (let t = 0; t < size; t++) {
        expect(a[t]).to.be.closeTo(re[t]!, 1e-12);
        expect(b[t]).to.be.closeTo(im[t]!, 1e-12);
      }
    });
  }

  it('wants a power of two', () => {
    expect(() => new Fft(12)).to.throw(RangeError);
  });
});
