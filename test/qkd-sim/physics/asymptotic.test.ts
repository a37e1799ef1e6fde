import { expect } from 'chai';
import {
  gllpRate,
  infiniteDecoyValues,
  observe,
  optimalSignalIntensity,
  vacuumWeakBounds,
} from '../../../qkd-sim/physics/asymptotic.ts';
import { binaryEntropy } from '../../../qkd-sim/physics/binary-entropy.ts';
import { type ChannelModel, errorRate, transmittance } from '../../../qkd-sim/physics/channel.ts';

// The experiment of Gobby, Yuan, Shields (2004) as Ma et al. 2005 use it.
const gys = (lengthKm: number): ChannelModel => ({
  transmittance: transmittance(0.045, 0.21, lengthKm),
  backgroundYield: 1.7e-6,
  misalignment: 0.033,
});
const [mu, nu, f] = [0.48, 0.05, 1.22];

function rate(lengthKm: number, bounds: 'vacuum+weak' | 'infinite'): number {
  const seen = observe(gys(lengthKm), mu, nu);
  const single = bounds === 'infinite' ? infiniteDecoyValues(gys(lengthKm)) : vacuumWeakBounds(seen);
  return gllpRate(seen, single, 0.5, f);
}

function reachKm(bounds: 'vacuum+weak' | 'infinite'): number {
  let [low, high] = [100, 200];
  while (high - low > 1e-3) {
    const middle = (low + high) / 2;
    if (rate(middle, bounds) > 0) low = middle;
    else high = middle;
  }
  return low;
}

describe('asymptotic decoy-state rates (GYS anchors of Ma et al. 2005)', () => {
  it('gives the key rate with vacuum and weak decoy at every distance', () => {
    const anchors: [number, number][] = [
      [0, 2.414e-3],
      [25, 7.113e-4],
      [50, 2.096e-4],
      [100, 1.602e-5],
      [140, 7.38e-8],
    ];
    for (const [lengthKm, expected] of anchors) {
      expect(rate(lengthKm, 'vacuum+weak') / expected, `${lengthKm} km`).to.be.closeTo(1, 5e-4);
    }
  });

  it('gives the error rate of the signal state', () => {
    const anchors: [number, number][] = [
      [0, 3.304],
      [50, 3.341],
      [100, 3.758],
      [140, 6.296],
    ];
    for (const [lengthKm, percent] of anchors) {
      expect(100 * errorRate(gys(lengthKm), mu), `${lengthKm} km`).to.be.closeTo(percent, 5e-4);
    }
  });

  it('reaches as far as published', () => {
    expect(reachKm('infinite')).to.be.closeTo(142.05, 0.1);
    expect(reachKm('vacuum+weak')).to.be.closeTo(140.55, 0.1);
  });

  it('finds the published optimal intensity', () => {
    expect(optimalSignalIntensity(0.033, 1.22)).to.be.closeTo(0.479, 5e-4);
    expect(optimalSignalIntensity(0.033, 1)).to.be.closeTo(0.544, 5e-4);
  });

  it('bounds the single-photon yield from below and its error rate from above', () => {
    for (const lengthKm of [0, 50, 100, 140]) {
      const estimated = vacuumWeakBounds(observe(gys(lengthKm), mu, nu));
      const exact = infiniteDecoyValues(gys(lengthKm));
      expect(estimated.yield).to.be.at.most(exact.yield);
      expect(estimated.errorRate).to.be.at.least(exact.errorRate);
    }
  });

  it('gives no key under photon-number splitting, which leaves the error rate as it is', () => {
    // Eve blocks single photons and splits the rest, so that the signal gain stays.
    const honest = observe(gys(25), mu, nu);
    const multi = (k: number) => 1 - Math.exp(-k) * (1 + k);
    const kept = (honest.signalGain - 1.7e-6) / multi(mu);
    const seen = { ...honest, decoyGain: 1.7e-6 + kept * multi(nu) };
    expect(seen.decoyGain / seen.signalGain).to.be.below(0.02);
    expect(gllpRate(seen, vacuumWeakBounds(seen), 0.5, f)).to.be.at.most(0);
  });

  it('has an entropy of 0 at the ends, 1 in the middle', () => {
    expect([0, 1, 0.5].map(binaryEntropy)).to.deep.equal([0, 0, 1]);
    expect(binaryEntropy(0.11)).to.be.closeTo(0.499916, 1e-6);
  });
});
