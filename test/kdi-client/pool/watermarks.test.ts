import { expect } from 'chai';
import { KdiMisuseError } from '../../../kdi-client/index.ts';
import { DepthPolicy } from '../../../kdi-client/pool/depth.ts';
import { type WatermarkOptions, Watermarks } from '../../../kdi-client/pool/watermarks.ts';

const marksOf = (options: WatermarkOptions, depth = new DepthPolicy()) => new Watermarks(options, depth);
const both = ({ low, high }: Watermarks) => ({ low, high });

describe('kdi-client/pool/watermarks', () => {
  it('are 3 and 4 by default, and the low one follows the high one', () => {
    expect(both(marksOf({}))).to.deep.equal({ low: 3, high: 4 });
    expect(both(marksOf({ highWatermark: 10 }))).to.deep.equal({ low: 9, high: 10 });
    expect(both(marksOf({ highWatermark: 10, lowWatermark: 2 }))).to.deep.equal({ low: 2, high: 10 });
  });

  it('once drawing has begun it goes on to the high mark, and then rests down to the low one', () => {
    const marks = marksOf({ lowWatermark: 2, highWatermark: 5 });
    const wants = (...ahead: number[]) => ahead.map((keys) => marks.wantsMore(keys));
    expect(wants(3), 'a pool that is just made fills up').to.deep.equal([true]);
    expect(wants(0, 4, 5, 4, 3, 2, 3, 4, 5)).to.deep.equal([
      ...[true, true, false, false, false],
      ...[true, true, true, false],
    ]);
  });

  for (const [low, high] of [
    [-1, 4],
    [4, 4],
    [5, 4],
    [0.5, 4],
    [1, 4.5],
    [0, Number.NaN],
    [0, Number.POSITIVE_INFINITY],
  ] as const) {
    it(`refuses ${low} and ${high}, at first and later, and keeps those it had`, () => {
      expect(() => marksOf({ lowWatermark: low, highWatermark: high })).to.throw(KdiMisuseError, /0 ≤ low < high/);
      const marks = marksOf({});
      expect(() => marks.set(low, high)).to.throw(KdiMisuseError);
      expect(both(marks)).to.deep.equal({ low: 3, high: 4 });
    });
  }

  it('take 0 and 1', () => {
    expect(both(marksOf({ lowWatermark: 0, highWatermark: 1 }))).to.deep.equal({ low: 0, high: 1 });
  });

  it('follow demand where they are to, from when they are to, until they are set', () => {
    const depth = new DepthPolicy({ minAhead: 8 });
    const fixed = marksOf({}, depth);
    fixed.adapt(0);
    expect(both(fixed)).to.deep.equal({ low: 3, high: 4 });
    fixed.follow(depth);
    fixed.adapt(0);
    expect(both(fixed)).to.deep.equal({ low: 6, high: 8 });
    fixed.set(1, 2);
    fixed.adapt(0);
    expect(both(fixed)).to.deep.equal({ low: 1, high: 2 });
    const adaptive = marksOf({ adaptiveDepth: {} }, depth);
    adaptive.adapt(0);
    expect(both(adaptive)).to.deep.equal({ low: 6, high: 8 });
  });
});
