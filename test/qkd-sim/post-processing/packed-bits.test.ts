import { expect } from 'chai';
import fc from 'fast-check';
import { PackedBits, wordsFor } from '../../../qkd-sim/post-processing/packed-bits.ts';

const bitArrays = fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 300 });
const packed = (bits: readonly number[]) => {
  const result = new PackedBits(bits.length);
  bits.forEach((bit, i) => {
    if (bit === 1) result.flip(i);
  });
  return result;
};
const unpacked = (bits: PackedBits) => Array.from({ length: bits.length }, (_, i) => bits.get(i));

describe('PackedBits', () => {
  it('reads, slices, weighs and sums like an array of bits', () => {
    fc.assert(
      fc.property(bitArrays, fc.nat(300), fc.nat(300), (bits, x, y) => {
        const [start, end] = [Math.min(x, y, bits.length), Math.min(Math.max(x, y), bits.length)];
        const whole = packed(bits);
        const part = bits.slice(start, end);
        expect(unpacked(whole)).to.deep.equal(bits);
        expect(unpacked(whole.slice(start, end))).to.deep.equal(part);
        expect(whole.weight()).to.equal(bits.filter((bit) => bit === 1).length);
        expect(whole.parity(start, end)).to.equal(part.filter((bit) => bit === 1).length % 2);
      }),
    );
  });

  it('gives whole bytes, lowest bit first, and leaves a remainder out', () => {
    fc.assert(
      fc.property(bitArrays, fc.nat(40), (bits, from) => {
        const start = Math.min(from, bits.length);
        const bytes = packed(bits).toBytes(start);
        expect(bytes.length).to.equal(Math.floor((bits.length - start) / 8));
        bytes.forEach((byte, i) => {
          for (let b = 0; b < 8; b++) expect((byte >>> b) & 1).to.equal(bits[start + 8 * i + b]);
        });
      }),
    );
  });

  it('keeps bits beyond the length at 0', () => {
    expect([...new PackedBits(33, Uint32Array.of(0xffff_ffff, 0xffff_ffff)).words]).to.deep.equal([0xffff_ffff, 1]);
  });

  it('refuses words that do not fit the length', () => {
    expect(() => new PackedBits(64, new Uint32Array(wordsFor(64) + 1))).to.throw(RangeError);
  });
});
