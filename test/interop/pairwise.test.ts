import { expect } from 'chai';
import fc from 'fast-check';
import { combinationsOf, coveringArray, product } from './pairwise.ts';

const axes = {
  group: ['x25519', 'secp256r1', 'secp384r1'],
  suite: ['AES', 'ChaCha'],
  signature: ['none', 'ed25519', 'rsa'],
  feature: ['psk', 'certificate', 'hrr'],
};
type Row = { readonly [N in keyof typeof axes]: string };
const isPossible = ({ signature, feature }: Row) => (signature === 'none') === (feature === 'psk');

describe('interop: covering arrays', () => {
  it('make the whole product, less what is impossible', () => {
    expect(product<Row>(axes)).to.have.length(3 * 2 * 3 * 3);
    const rows = product<Row>(axes, isPossible);
    expect(rows).to.have.length(3 * 2 * (1 + 2 * 2));
    expect(rows.every(isPossible)).to.equal(true);
  });

  it('name a row by its pairs', () => {
    const row = { a: '1', b: '2', c: '3' };
    expect(combinationsOf(row, 1)).to.deep.equal(['a=1', 'b=2', 'c=3']);
    expect(combinationsOf(row, 2)).to.have.members(['a=1 b=2', 'a=1 c=3', 'b=2 c=3']);
  });

  it('hold every possible combination in any set of rows, with no row too many', () => {
    const anyRows = fc.uniqueArray(
      fc
        .record({ a: fc.nat(3), b: fc.nat(2), c: fc.nat(4) })
        .map(({ a, b, c }) => ({ a: `${a}`, b: `${b}`, c: `${c}` })),
      { selector: (row) => JSON.stringify(row) },
    );
    fc.assert(
      fc.property(anyRows, fc.integer({ min: 1, max: 3 }), (rows, strength) => {
        const chosen = coveringArray(rows, strength);
        const all = (some: typeof rows) => new Set(some.flatMap((row) => combinationsOf(row, strength)));
        expect(all(chosen)).to.deep.equal(all(rows));
        expect(chosen.length).to.be.at.most(all(rows).size);
        expect(coveringArray(rows, strength)).to.deep.equal(chosen);
      }),
    );
  });

  it('are much smaller than the product', () => {
    expect(coveringArray(product<Row>(axes, isPossible), 2).length).to.be.at.most(12);
  });
});
