/**
 * Key rates of decoy-state BB84 for infinitely long keys: a yardstick, never
 * the length of a real key (that is `finite-key.ts`).
 * Ma, Qi, Zhao, Lo, Phys. Rev. A 72, 012326 (2005).
 */
import { binaryEntropy } from './binary-entropy.ts';
import { type ChannelModel, errorRate, gain, photonErrorRate, photonYield } from './channel.ts';

/** What decoy states say about single photons. */
export interface SinglePhotonBounds {
  /** Y1, a lower bound where it is estimated. */
  readonly yield: number;
  /** e1, an upper bound where it is estimated. */
  readonly errorRate: number;
}

/** Gains and error rates as two parties would measure them. */
export interface DecoyObservation {
  readonly signalIntensity: number;
  readonly decoyIntensity: number;
  readonly signalGain: number;
  readonly signalErrorRate: number;
  readonly decoyGain: number;
  readonly decoyErrorRate: number;
  /** Y0, measured with the vacuum state. */
  readonly backgroundYield: number;
}

/** What an undisturbed channel shows for these two intensities. */
export function observe(channel: ChannelModel, signalIntensity: number, decoyIntensity: number): DecoyObservation {
  return {
    signalIntensity,
    decoyIntensity,
    signalGain: gain(channel, signalIntensity),
    signalErrorRate: errorRate(channel, signalIntensity),
    decoyGain: gain(channel, decoyIntensity),
    decoyErrorRate: errorRate(channel, decoyIntensity),
    backgroundYield: channel.backgroundYield,
  };
}

/** Vacuum + weak decoy bounds (Ma 2005, eqs. 34 and 37). A yield of 0 or less means no key. */
export function vacuumWeakBounds(seen: DecoyObservation): SinglePhotonBounds {
  const { signalIntensity: mu, decoyIntensity: nu, backgroundYield: y0 } = seen;
  const bracket =
    seen.decoyGain * Math.exp(nu) -
    (seen.signalGain * Math.exp(mu) * nu ** 2) / mu ** 2 -
    ((mu ** 2 - nu ** 2) / mu ** 2) * y0;
  const y1 = (mu / (mu * nu - nu ** 2)) * bracket;
  const e1 = (seen.decoyErrorRate * seen.decoyGain * Math.exp(nu) - y0 / 2) / (y1 * nu);
  return { yield: y1, errorRate: e1 };
}

/** The exact single-photon values: what infinitely many decoy intensities would find. */
export function infiniteDecoyValues(channel: ChannelModel): SinglePhotonBounds {
  return { yield: photonYield(channel, 1), errorRate: photonErrorRate(channel, 1) };
}

/**
 * GLLP with decoy states (Ma 2005, eq. 1), in bits per pulse; negative when
 * there is no key. `siftingFactor` is q (½ for symmetric BB84),
 * `correctionEfficiency` f ≥ 1.
 */
export function gllpRate(
  seen: DecoyObservation,
  single: SinglePhotonBounds,
  siftingFactor: number,
  correctionEfficiency: number,
): number {
  const correction = seen.signalGain * correctionEfficiency * binaryEntropy(seen.signalErrorRate);
  if (single.yield <= 0 || single.errorRate >= 0.5) return -siftingFactor * correction;
  const q1 = single.yield * seen.signalIntensity * Math.exp(-seen.signalIntensity);
  return siftingFactor * (q1 * (1 - binaryEntropy(single.errorRate)) - correction);
}

/** The intensity that maximises GLLP on a lossy, quiet channel: solution of (1−μ)e^(−μ) = f·h(e_d)/(1−h(e_d)) (Ma 2005, eq. 12). */
export function optimalSignalIntensity(misalignment: number, correctionEfficiency: number): number {
  const h = binaryEntropy(misalignment);
  const target = (correctionEfficiency * h) / (1 - h);
  let [low, high] = [0, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    // The left side falls from 1 to 0 on [0, 1].
    if ((1 - middle) * Math.exp(-middle) > target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
