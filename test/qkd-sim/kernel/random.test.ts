import { expect } from 'chai';
import { publicStream, RandomStream, seededSource, systemSource, xoshiro128 } from '../../../qkd-sim/kernel/random.ts';

const take = (stream: RandomStream, count: number) => Array.from({ length: count }, () => stream.u32());

describe('random streams', () => {
  it("gives the reference implementation's words", () => {
    const words = new Uint32Array(10);
    xoshiro128(Uint32Array.of(1, 2, 3, 4))(words);
    // From xoshiro128starstar.c 1.1 with the same state.
    expect([...words]).to.deep.equal([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
  });

  it('refuses the state that never moves', () => {
    expect(() => xoshiro128(new Uint32Array(4))).to.throw(RangeError);
  });

  it('repeats for the same seed and name, and for no other', () => {
    const words = (seed: string | bigint, name: string) => take(seededSource(seed)(name), 20);
    expect(words('s', 'alice')).to.deep.equal(words('s', 'alice'));
    expect(words('s', 'alice')).to.not.deep.equal(words('s', 'bob'));
    expect(words('s', 'alice')).to.not.deep.equal(words('t', 'alice'));
    expect(words('1', 'alice')).to.not.deep.equal(words(1n, 'alice'));
  });

  it('crosses its buffer without a seam', () => {
    const bulk = new Uint32Array(10_000);
    xoshiro128(Uint32Array.of(9, 8, 7, 6))(bulk);
    expect(take(publicStream(Uint32Array.of(9, 8, 7, 6)), 10_000)).to.deep.equal([...bulk]);
  });

  it('takes the extremes of a word to the inside of (0, 1) and below the bound', () => {
    const constant = (word: number) => new RandomStream((words) => void words.fill(word));
    expect(constant(0).fraction()).to.be.above(0);
    expect(constant(0xffff_ffff).fraction()).to.be.below(1);
    expect(constant(0).below(10)).to.equal(0);
    expect(constant(0xffff_ffff).below(10)).to.equal(9);
  });

  it('without a seed never repeats', () => {
    expect(take(systemSource('x'), 8)).to.not.deep.equal(take(systemSource('x'), 8));
  });
});
