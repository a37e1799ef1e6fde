import { expect } from 'chai';
import fc from 'fast-check';
import { binaryEntropy } from '../../../qkd-sim/physics/binary-entropy.ts';
import { type IntensitySetting, lim2014, rusca2018, tomamichel2012 } from '../../../qkd-sim/physics/finite-key.ts';

const security = { epsilonSecrecy: 1e-9, epsilonCorrectness: 1e-15 };
const oneDecoy: IntensitySetting = { intensities: [0.5, 0.1], probabilities: [0.7, 0.3] };
const key = { detections: [9e5, 1e5], errors: [9000, 1200] };
const check = { detections: [9e4, 1e4], errors: [900, 120] };
const leak = 1.16 * 1e6 * binaryEntropy(0.0102);

describe('finite-key lengths', () => {
  it('one decoy: gives the anchor case', () => {
    const bound = rusca2018(oneDecoy, key, check, leak, security);
    expect(leak).to.be.closeTo(95_254.69, 0.01);
    expect(bound.singlePhotonEvents).to.be.closeTo(748_722.8, 0.05);
    expect(bound.phaseErrorRate).to.be.closeTo(0.0298432, 5e-8);
    expect(bound.lengthBits).to.be.closeTo(508_256.1, 0.05);
  });

  it('true single photons: gives the anchor cases', () => {
    const anchors: [number, number][] = [
      [0.01, 739_221],
      [0.025, 569_348],
      [0.03, 518_676],
    ];
    for (const [tolerance, expected] of anchors) {
      const bits = tomamichel2012(1e6, 1e5, tolerance, 1.1e6 * binaryEntropy(tolerance), security);
      expect(bits, `${tolerance}`).to.be.closeTo(expected, 0.5);
    }
  });

  it('two decoys: bounds the true number of single-photon clicks from below, and closely for long blocks', () => {
    const setting = { intensities: [0.5, 0.1, 2e-4], probabilities: [0.6, 0.3, 0.1] };
    // A quiet channel of transmittance 1%: clicks by intensity are known exactly.
    const clicks = setting.intensities.map((k, i) => setting.probabilities[i]! * (1e-6 + 0.01 * k));
    const scale = 1e10 / clicks.reduce((sum, c) => sum + c, 0);
    const basis = { detections: clicks.map((c) => c * scale), errors: clicks.map((c) => 0.01 * c * scale) };
    const singles = setting.intensities.reduce(
      (sum, k, i) => sum + setting.probabilities[i]! * Math.exp(-k) * k * (0.01 + 1e-6) * scale,
      0,
    );
    const bound = lim2014(setting, basis, basis, 0, security);
    expect(bound.singlePhotonEvents).to.be.at.most(singles);
    expect(bound.singlePhotonEvents).to.be.above(0.95 * singles);
    expect(bound.phaseErrorRate).to.be.within(0.01, 0.02);
  });

  it('each leaked bit costs one bit, each error never adds any', () => {
    fc.assert(
      fc.property(fc.nat(500_000), fc.nat(20_000), fc.nat(2000), (leakBits, keyErrors, checkErrors) => {
        const more = { ...key, errors: [9000 + keyErrors, 1200 + keyErrors / 8] };
        const moreChecked = { ...check, errors: [900 + checkErrors, 120] };
        const plain = rusca2018(oneDecoy, key, check, leakBits, security).lengthBits;
        expect(rusca2018(oneDecoy, key, check, leakBits + 1, security).lengthBits).to.be.closeTo(plain - 1, 1e-6);
        expect(rusca2018(oneDecoy, more, check, leakBits, security).lengthBits).to.be.at.most(plain);
        expect(rusca2018(oneDecoy, key, moreChecked, leakBits, security).lengthBits).to.be.at.most(plain);
      }),
    );
  });

  it('knows nothing about single photons from a handful of clicks', () => {
    const few = { detections: [90, 10], errors: [1, 0] };
    expect(rusca2018(oneDecoy, few, few, 0, security).lengthBits).to.equal(Number.NEGATIVE_INFINITY);
  });

  it('refuses counts that do not fit the intensities', () => {
    expect(() => rusca2018(oneDecoy, { detections: [1], errors: [1] }, check, 0, security)).to.throw(RangeError);
  });
});
