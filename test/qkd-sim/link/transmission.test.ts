import { expect } from 'chai';
import { seededSource } from '../../../qkd-sim/kernel/random.ts';
import { ClickBits, Transmission } from '../../../qkd-sim/link/transmission.ts';
import { expectedBlock } from '../../../qkd-sim/physics/expected-block.ts';
import { type LinkPreset, presets } from '../../../qkd-sim/physics/presets.ts';

interface Statistics {
  gates: number;
  clicks: number;
  keyClicks: number;
  keyErrors: number;
  eveKnows: number;
  decoyKeyClicks: number;
  decoyKeyErrors: number;
  checkClicks: number;
  checkErrors: number;
  shortestGap: number;
}

function run(preset: LinkPreset, lengthKm: number, seed: string, keyClicks: number, interceptFraction = 0): Statistics {
  const transmission = new Transmission(preset, lengthKm, seededSource(seed));
  transmission.setInterceptFraction(interceptFraction);
  const sum: Statistics = {
    gates: 0,
    clicks: 0,
    keyClicks: 0,
    keyErrors: 0,
    eveKnows: 0,
    decoyKeyClicks: 0,
    decoyKeyErrors: 0,
    checkClicks: 0,
    checkErrors: 0,
    shortestGap: Number.POSITIVE_INFINITY,
  };
  while (sum.keyClicks < keyClicks) {
    const part = transmission.run(keyClicks - sum.keyClicks, 4_000_000);
    sum.gates += part.gates;
    sum.clicks += part.alice.length;
    sum.keyClicks += part.keyClicks;
    sum.keyErrors += part.keyErrors;
    sum.eveKnows += part.eveKnows;
    part.alice.forEach((a, i) => {
      const b = part.bob[i]!;
      sum.shortestGap = Math.min(sum.shortestGap, part.gateGaps[i]!);
      if ((a & ClickBits.check) !== (b & ClickBits.check)) return;
      const wrong = (a & ClickBits.value) !== (b & ClickBits.value) ? 1 : 0;
      if ((a & ClickBits.check) !== 0) {
        sum.checkClicks++;
        sum.checkErrors += wrong;
      } else if ((a & ClickBits.decoy) !== 0) {
        sum.decoyKeyClicks++;
        sum.decoyKeyErrors += wrong;
      }
    });
  }
  return sum;
}

/** Distance from the expectation in standard deviations of a binomial count. */
function sigmas(count: number, trials: number, probability: number): number {
  return Math.abs(count - trials * probability) / Math.sqrt(trials * probability * (1 - probability));
}

describe('transmission', () => {
  for (const lengthKm of [0, 25, 50]) {
    it(`at ${lengthKm} km shows the gains, errors and intensities of its own model`, () => {
      const bits = 300_000;
      const seen = run(presets.metro, lengthKm, `statistics ${lengthKm}`, bits);
      const model = expectedBlock(presets.metro, lengthKm, { afterpulse: 'physical', blockSizeBits: bits });
      const linkSeconds = seen.gates / presets.metro.pulseRateHz;
      // Dead time makes arrivals more regular than Poisson, so √N is an upper bound of the scatter.
      const expectedClicks = linkSeconds * model.clicksPerSecond;
      expect(Math.abs(seen.clicks - expectedClicks), 'clicks').to.be.below(4 * Math.sqrt(expectedClicks));
      expect(sigmas(seen.keyErrors, bits, model.qber), 'errors').to.be.below(4);
      expect(sigmas(seen.decoyKeyClicks, bits, model.key.detections[1]! / bits), 'decoys').to.be.below(4);
      const decoyErrorRate = model.key.errors[1]! / model.key.detections[1]!;
      expect(sigmas(seen.decoyKeyErrors, seen.decoyKeyClicks, decoyErrorRate), 'decoy errors').to.be.below(4);
      expect(sigmas(seen.checkClicks, seen.clicks, 0.2 ** 2), 'check basis').to.be.below(4);
      expect(sigmas(seen.checkErrors, seen.checkClicks, model.qber), 'check errors').to.be.below(4);
      expect(sigmas(seen.keyClicks, seen.clicks, 0.8 ** 2), 'key basis').to.be.below(4);
    });
  }

  it('an eavesdropper on every pulse errs a quarter of the bits and knows half of them', () => {
    const bits = 100_000;
    const seen = run(presets.metro, 25, 'eve', bits, 1);
    const model = expectedBlock(presets.metro, 25, { afterpulse: 'physical', interceptFraction: 1 });
    expect(sigmas(seen.keyErrors, bits, model.qber)).to.be.below(4);
    expect(seen.keyErrors / bits).to.be.within(0.25, 0.27);
    expect(seen.eveKnows / bits).to.be.within(0.49, 0.5);
  });

  it('a partial one in proportion', () => {
    const bits = 200_000;
    const seen = run(presets.metro, 25, 'eve 8', bits, 0.08);
    const model = expectedBlock(presets.metro, 25, { afterpulse: 'physical', interceptFraction: 0.08 });
    expect(sigmas(seen.keyErrors, bits, model.qber)).to.be.below(4);
    expect(seen.eveKnows / bits).to.be.within(0.037, 0.042);
  });

  it('is blind during the dead time, and afterpulses come right after it', () => {
    expect(run(presets.metro, 50, 'dead', 20_000).shortestGap).to.equal(81);
    const quiet = { ...presets.metro, afterpulseProbability: 0, deadTimeNs: 0 };
    expect(run(quiet, 0, 'live', 20_000).shortestGap).to.equal(1);
  });

  it('without noise makes no error', () => {
    const ideal = { ...presets.metro, afterpulseProbability: 0, backgroundYield: 0, misalignment: 0 };
    const seen = run(ideal, 25, 'ideal', 20_000);
    expect([seen.keyErrors, seen.checkErrors, seen.eveKnows]).to.deep.equal([0, 0, 0]);
  });

  it('without light is all background, half of it wrong', () => {
    const dark = { ...presets.metro, receiverEfficiency: 0, backgroundYield: 1e-3 };
    const bits = 20_000;
    const seen = run(dark, 25, 'dark', bits);
    expect(sigmas(seen.keyErrors, bits, 0.5)).to.be.below(4);
    expect(sigmas(seen.decoyKeyClicks, bits, 0.55)).to.be.below(4);
  });

  it('ends a stretch at the gate asked for, and goes on from there as if it had not', () => {
    const [whole, cut] = [0, 1].map(() => new Transmission(presets.metro, 25, seededSource('stretches')));
    const gaps = [...whole!.run(Number.POSITIVE_INFINITY, 3_000_000).gateGaps];
    const pieces: number[] = [];
    for (let i = 0; i < 30; i++) {
      const part = cut!.run(Number.POSITIVE_INFINITY, 100_000);
      expect(part.gates).to.equal(100_000);
      pieces.push(...part.gateGaps);
    }
    expect(pieces).to.deep.equal(gaps);
  });
});
