import { expect } from 'chai';
import { execute, fuzzTarget, type Target } from './fuzz.ts';
import { targets } from './targets.ts';

/** Reads a vector of one length byte and believes the length, when the first byte is right. */
const planted: Target = {
  name: 'planted',
  seeds: () => [Uint8Array.of(1, 2, 0, 0)],
  run: (input) => {
    if (input[0] === 1 && (input[1] as number) > input.length + 100) throw new RangeError('out of bounds');
  },
};

describe('the fuzzer', () => {
  it('finds a planted bug, and the same input again with the same seed', () => {
    const once = fuzzTarget(planted, 7, { goOn: (executions) => executions < 20_000 });
    const again = fuzzTarget(planted, 7, { goOn: (executions) => executions < 20_000 });
    expect(once.finding?.error).to.be.instanceOf(RangeError);
    expect(again.finding?.input).to.deep.equal(once.finding?.input);
  });

  it('reports nothing where nothing is wrong', () => {
    const sound: Target = { ...planted, run: () => {} };
    expect(fuzzTarget(sound, 7, { goOn: (executions) => executions < 500 }).finding).to.equal(undefined);
  });

  for (const target of targets) {
    it(`${target.name}: its seeds and a few hundred changes of them are handled`, () => {
      for (const seed of target.seeds()) expect(execute(target, seed)?.error).to.equal(undefined);
      const { finding } = fuzzTarget(target, 1, { goOn: (executions) => executions < 200 });
      expect(finding?.error).to.equal(undefined);
    });
  }
});
