import { expect } from 'chai';
import { expectedBlock } from '../../../qkd-sim/physics/expected-block.ts';
import { presets } from '../../../qkd-sim/physics/presets.ts';

/** km, QBER %, sifted b/s, SKR b/s: computed twice, independently. */
const metroTable: [number, number, number, number][] = [
  [0, 1.905, 31574, 8702],
  [10, 1.917, 24360, 6625],
  [20, 1.935, 17886, 4803],
  [25, 1.948, 15077, 4021],
  [30, 1.964, 12589, 3331],
  [50, 2.084, 5698, 1434],
  [75, 2.507, 1935, 406],
  [100, 3.8, 642, 61],
  [120, 6.42, 273, 0],
];

describe('expected block of the metro preset', () => {
  for (const [lengthKm, qberPercent, sifted, skr] of metroTable) {
    it(`gives the table's digits at ${lengthKm} km`, () => {
      const block = expectedBlock(presets.metro, lengthKm, { afterpulse: 'lim' });
      expect(100 * block.qber).to.be.closeTo(qberPercent, 1e-3);
      expect(block.siftedBitsPerSecond).to.be.closeTo(sifted, 0.5);
      expect(block.skrBitsPerSecond).to.be.closeTo(skr, 0.6);
    });
  }

  it('yields more under the physical afterpulse model, by the known share', () => {
    const anchors: [number, number][] = [
      [0, 7.8],
      [25, 8.3],
      [50, 8.8],
    ];
    for (const [lengthKm, percent] of anchors) {
      const lim = expectedBlock(presets.metro, lengthKm, { afterpulse: 'lim' });
      const physical = expectedBlock(presets.metro, lengthKm, { afterpulse: 'physical' });
      expect(100 * (physical.skrBitsPerSecond / lim.skrBitsPerSecond - 1), `${lengthKm} km`).to.be.closeTo(
        percent,
        0.05,
      );
    }
  });

  it('an intercept-resend attack shows, and 8% of the pulses stop the key at 25 km', () => {
    const attacked = (interceptFraction: number) =>
      expectedBlock(presets.metro, 25, { afterpulse: 'lim', interceptFraction });
    expect(100 * attacked(1).qber).to.be.closeTo(26, 0.05);
    expect(100 * attacked(0.08).qber).to.be.closeTo(3.9, 0.05);
    expect(attacked(0.07).skrBitsPerSecond).to.be.above(0);
    expect(attacked(0.08).skrBitsPerSecond).to.equal(0);
  });

  it('never yields a key from blocks of 1e5 bits', () => {
    for (const lengthKm of [0, 25, 50]) {
      const block = expectedBlock(presets.metro, lengthKm, { afterpulse: 'physical', blockSizeBits: 1e5 });
      expect(block.bound.lengthBits).to.be.below(0);
      expect(block.skrBitsPerSecond).to.equal(0);
    }
  });

  it('gives the published class of rate at 25 km with the presets made for it', () => {
    const rates: [keyof typeof presets, number][] = [
      ['ghz-ingaas-like', 687e3],
      ['ghz-snspd-like', 3.3e6],
      ['80mhz-spd-like', 10e3],
    ];
    for (const [name, skr] of rates) {
      const block = expectedBlock(presets[name], 25, { afterpulse: 'lim' });
      expect(block.skrBitsPerSecond / skr, name).to.be.closeTo(1, 0.01);
    }
  });

  it('says where every figure of a preset comes from', () => {
    for (const preset of Object.values(presets)) {
      const { title, provenance, ...figures } = preset;
      expect(title).to.be.a('string');
      expect(Object.keys(provenance).sort()).to.deep.equal(Object.keys(figures).sort());
    }
  });
});
