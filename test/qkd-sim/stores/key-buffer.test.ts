import { expect } from 'chai';
import fc from 'fast-check';
import { KeyBuffer } from '../../../qkd-sim/stores/index.ts';

const numbered = (from: number, length: number) => Uint8Array.from({ length }, (_, i) => (from + i) & 0xff);

describe('qkd-sim: key buffer', () => {
  it('gives each position once, whatever the order and the sizes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 8 }),
        fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 1, max: 60 })), { maxLength: 40 }),
        (deposits, takes) => {
          const buffer = new KeyBuffer();
          let end = 0;
          for (const length of deposits) {
            buffer.append(numbered(end, length), end);
            end += length;
          }
          const gone = new Set<number>();
          for (const [position, length] of takes) {
            const positions = Array.from({ length }, (_, i) => position + i);
            const possible = positions.every((p) => p < end && !gone.has(p));
            const taken = buffer.take(position, length);
            expect(taken !== undefined).to.equal(possible);
            if (taken === undefined) continue;
            expect([...taken.key.expose()]).to.deep.equal(positions.map((p) => p & 0xff));
            for (const p of positions) gone.add(p);
          }
          expect(buffer.heldBytes).to.equal(end - gone.size);
          expect(buffer.endPosition).to.equal(end);
        },
      ),
    );
  });

  it('says how old the oldest byte of a key is', () => {
    const buffer = new KeyBuffer();
    buffer.append(numbered(0, 10), 100);
    buffer.append(numbered(10, 10), 200);
    expect(buffer.take(5, 10)?.depositedAtMs).to.equal(100);
    expect(buffer.take(15, 5)?.depositedAtMs).to.equal(200);
  });

  it('keeps its own copy, and forgets what is below a position without touching the rest', () => {
    const buffer = new KeyBuffer();
    const deposited = numbered(0, 30);
    buffer.append(deposited, 0);
    deposited.fill(0xff);
    buffer.discardBelow(12);
    expect(buffer.heldBytes).to.equal(18);
    expect(buffer.take(11, 2)).to.equal(undefined);
    expect([...(buffer.take(12, 2)?.key.expose() ?? [])]).to.deep.equal([12, 13]);
  });

  it('continues with fresh positions after it was cleared', () => {
    const buffer = new KeyBuffer();
    buffer.append(numbered(0, 16), 0);
    buffer.clear();
    buffer.append(numbered(16, 16), 0);
    expect(buffer.take(0, 16)).to.equal(undefined);
    expect(buffer.take(16, 16)).to.not.equal(undefined);
    expect(buffer.heldBytes).to.equal(0);
  });

  it('refuses an empty or negative length', () => {
    const buffer = new KeyBuffer();
    buffer.append(numbered(0, 16), 0);
    expect(buffer.take(0, 0)).to.equal(undefined);
    expect(buffer.take(4, -1)).to.equal(undefined);
  });
});
