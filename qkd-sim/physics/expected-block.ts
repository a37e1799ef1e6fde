/**
 * What a link yields on average: the analytic counterpart of the Monte Carlo
 * link, for tables, for choosing a block size, and for testing one against the
 * other.
 */
import { binaryEntropy } from './binary-entropy.ts';
import { transmittance } from './channel.ts';
import { type BasisCounts, type DecoyBound, rusca2018, type SecurityParameters } from './finite-key.ts';
import type { LinkPreset } from './presets.ts';

/**
 * Where an afterpulse is counted.
 * - `lim`: to the pulse that caused it, R_k = D_k(1 + p_ap) (Lim 2014, section IV).
 *   The usual convention of published rates.
 * - `physical`: to a later pulse of any intensity, R_k = D_k + p_ap·Σ p_j D_j.
 *   What a detector does, and so what the Monte Carlo link does.
 */
export type AfterpulseModel = 'lim' | 'physical';

export interface ExpectedBlock {
  /** ℓ, its bounds and everything below for a block of n_Z sifted bits. */
  readonly bound: DecoyBound;
  readonly key: BasisCounts;
  readonly check: BasisCounts;
  /** E_Z, 0 to 1. */
  readonly qber: number;
  readonly leakBits: number;
  readonly siftedBitsPerSecond: number;
  /** 0 when the bound is negative. Before the cost of authentication. */
  readonly skrBitsPerSecond: number;
  /** Clicks per second in any basis. */
  readonly clicksPerSecond: number;
  /** Link time of one block. */
  readonly linkSeconds: number;
}

export interface ExpectedBlockOptions {
  readonly afterpulse: AfterpulseModel;
  /** n_Z; default the preset's. */
  readonly blockSizeBits?: number;
  /** Default the preset's. */
  readonly security?: SecurityParameters;
  /** Share (0 to 1) of the pulses under intercept-resend; default none. */
  readonly interceptFraction?: number;
  /** λ_EC itself, for comparing with a run; default f·n_Z·h(E_Z) with the preset's f. */
  readonly leakBits?: number;
}

/** c_DT = 1/(1 + f·P_det·t_DT): the share of gates that are not blind. */
function liveFraction(pulseRateHz: number, clickProbability: number, deadTimeNs: number): number {
  return 1 / (1 + pulseRateHz * clickProbability * deadTimeNs * 1e-9);
}

/** Error rate of a photon's click under intercept-resend on a fraction of the pulses: (1−p)e_d + p(¼ + e_d/2). */
function interceptedErrorRate(misalignment: number, interceptFraction: number): number {
  return (1 - interceptFraction) * misalignment + interceptFraction * (1 / 4 + misalignment / 2);
}

/** The expected block of `preset` over `lengthKm` of fibre. */
export function expectedBlock(preset: LinkPreset, lengthKm: number, options: ExpectedBlockOptions): ExpectedBlock {
  const blockSizeBits = options.blockSizeBits ?? preset.blockSizeBits;
  const { intensities, probabilities } = preset.source;
  const eta = transmittance(preset.receiverEfficiency, preset.attenuationDbPerKm, lengthKm);
  const photonError = interceptedErrorRate(preset.misalignment, options.interceptFraction ?? 0);
  const y0 = preset.backgroundYield;
  const ap = preset.afterpulseProbability;

  const perPulse = intensities.map((k) => {
    const photon = -Math.expm1(-eta * k);
    return { photon, click: 1 - (1 - y0) * (1 - photon) };
  });
  const meanClick = perPulse.reduce((sum, { click }, i) => sum + probabilities[i]! * click, 0);
  const afterpulse = ({ click }: { click: number }) => ap * (options.afterpulse === 'lim' ? click : meanClick);
  const rates = perPulse.map((p) => p.click + afterpulse(p));
  const errors = perPulse.map((p) => y0 / 2 + photonError * p.photon + afterpulse(p) / 2);

  const meanRate = rates.reduce((sum, rate, i) => sum + probabilities[i]! * rate, 0);
  // The published convention: P_det adds background to photons, and afterpulses blind nobody. Really they do.
  const published = perPulse.reduce((sum, { photon }, i) => sum + probabilities[i]! * (photon + y0), 0);
  const blinding = options.afterpulse === 'lim' ? published : meanRate;
  const live = liveFraction(preset.pulseRateHz, blinding, preset.deadTimeNs);
  const meanError = errors.reduce((sum, error, i) => sum + probabilities[i]! * error, 0);
  const clicksPerSecond = preset.pulseRateHz * live * meanRate;
  const pZ = preset.keyBasisProbability;
  const siftedBitsPerSecond = clicksPerSecond * pZ ** 2;

  const counts = (bits: number): BasisCounts => ({
    detections: rates.map((rate, i) => (bits * probabilities[i]! * rate) / meanRate),
    errors: errors.map((error, i) => (bits * probabilities[i]! * error) / meanRate),
  });
  const key = counts(blockSizeBits);
  const check = counts((blockSizeBits * (1 - pZ) ** 2) / pZ ** 2);
  const qber = meanError / meanRate;
  const leakBits = options.leakBits ?? preset.correctionEfficiency * blockSizeBits * binaryEntropy(qber);
  const bound = rusca2018(preset.source, key, check, leakBits, options.security ?? preset);
  const linkSeconds = blockSizeBits / siftedBitsPerSecond;
  return {
    bound,
    key,
    check,
    qber,
    leakBits,
    siftedBitsPerSecond,
    skrBitsPerSecond: Math.max(0, bound.lengthBits) / linkSeconds,
    clicksPerSecond,
    linkSeconds,
  };
}
