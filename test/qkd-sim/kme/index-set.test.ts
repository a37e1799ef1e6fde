import { expect } from 'chai';
import fc from 'fast-check';
import { IndexSet } from '../../../qkd-sim/kme/index-set.ts';

describe('qkd-sim: index set', () => {
  it('holds what was added, and nothing else, in as few ranges as there are gaps', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40)), (indices) => {
        const set = new IndexSet();
        const expected = new Set<number>();
        for (const index of indices) {
          set.add(index);
          expected.add(index);
          for (let i = 0; i <= 42; i++) expect(set.has(i), `${i}`).to.equal(expected.has(i));
          expect(set.rangeCount).to.equal([...expected].filter((i) => !expected.has(i + 1)).length);
        }
      }),
    );
  });

  it('takes the ends of u32', () => {
    const set = new IndexSet();
    for (const index of [0xffff_ffff, 0, 0xffff_fffe]) set.add(index);
    expect([set.has(0), set.has(1), set.has(0xffff_fffe), set.has(0xffff_ffff)]).to.deep.equal([
      true,
      false,
      true,
      true,
    ]);
    expect(set.rangeCount).to.equal(2);
  });
});
