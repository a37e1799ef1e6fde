import type { IntensitySetting } from './finite-key.ts';

/** The hardware and settings of a link. Everything that the analytic rates and the Monte Carlo link need but the length. */
export interface LinkPreset {
  readonly title: string;
  /** Gates and pulses per second. */
  readonly pulseRateHz: number;
  /** α of the fibre. */
  readonly attenuationDbPerKm: number;
  /** η_Bob: Bob's optics and detectors together. */
  readonly receiverEfficiency: number;
  /** Y0: background clicks per gate, both detectors together (twice p_dc). */
  readonly backgroundYield: number;
  /** e_d. */
  readonly misalignment: number;
  /** p_ap: probability that a click causes another one. */
  readonly afterpulseProbability: number;
  /** All detectors are blind for this long after a click of any. */
  readonly deadTimeNs: number;
  /** p_Z: both ends choose the key basis this often. */
  readonly keyBasisProbability: number;
  /** Signal and decoy. */
  readonly source: IntensitySetting;
  /** n_Z. */
  readonly blockSizeBits: number;
  readonly epsilonSecrecy: number;
  readonly epsilonCorrectness: number;
  /** f of error correction that the analytic rates assume; a real Cascade does better. */
  readonly correctionEfficiency: number;
  /** Where each figure comes from. */
  readonly provenance: Readonly<Record<string, string>>;
}

const metro: LinkPreset = {
  title: 'Metropolitan fibre link with gated InGaAs detectors',
  pulseRateHz: 8e6,
  attenuationDbPerKm: 0.2,
  receiverEfficiency: 0.054,
  backgroundYield: 5e-6,
  misalignment: 0.015,
  afterpulseProbability: 0.008,
  deadTimeNs: 10_000,
  keyBasisProbability: 0.8,
  source: { intensities: [0.35, 0.12], probabilities: [0.45, 0.55] },
  blockSizeBits: 1_000_000,
  epsilonSecrecy: 1e-9,
  epsilonCorrectness: 1e-15,
  correctionEfficiency: 1.16,
  provenance: {},
};

export const presets = { metro } as const satisfies Record<string, LinkPreset>;
export type PresetName = keyof typeof presets;
