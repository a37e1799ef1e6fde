import type { IntensitySetting } from './finite-key.ts';

/** The hardware and settings of a link: everything but the length that the analytic rates and the Monte Carlo link need. */
export interface LinkFigures {
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
}

export interface LinkPreset extends LinkFigures {
  readonly title: string;
  /** Where each figure comes from, and how sure it is. */
  readonly provenance: Readonly<Record<keyof LinkFigures, string>>;
}

/** What all presets share, for one reason. */
const shared = {
  attenuationDbPerKm: 'ITU-T G.652 fibre at 1550 nm, as in most published links. Certain.',
  epsilonSecrecy: 'Customary in experiments since Lim 2014. A choice.',
  epsilonCorrectness: 'Customary in experiments since Lim 2014. A choice.',
  correctionEfficiency:
    'Lim 2014 and Rusca 2018 assume 1.16. A convention: the simulator runs Cascade and reports its own.',
};

/**
 * A metropolitan link whose published claim is 1 to 5 kb/s up to 50 km with
 * QBER near 2%. The figures are typical ones, fitted together so that the
 * claim comes out; no single device is meant.
 */
const metro: LinkPreset = {
  title: 'Metropolitan fibre link, gated InGaAs detectors',
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
  provenance: {
    ...shared,
    pulseRateHz: 'Of the order of gated commercial systems (1 to 10 MHz). Fitted to the rate.',
    receiverEfficiency: 'InGaAs avalanche diode of about 10% behind 2.7 dB of receiver optics; GYS had 4.5%. Fitted.',
    backgroundYield:
      'Both detectors together, p_dc = 2.5e-6 each per gate; GYS had 1.7e-6. Twice as much leaves no key at 100 km. Fitted.',
    misalignment: 'Visibility of 97%. Typical.',
    afterpulseProbability: 'What 10 µs of dead time leaves of some per cent. Typical.',
    deadTimeNs: 'Customary for gated InGaAs diodes. Typical.',
    keyBasisProbability: 'Near the optimum for blocks of 1e6. Chosen.',
    source: 'Near the optimum for blocks of 1e6. Chosen.',
    blockSizeBits: 'A minute of link time at 25 km. Blocks of 1e5 never yield a key with these settings. Chosen.',
  },
};

/** 687 kb/s at 25 km under Lim's afterpulse convention: the class of self-differencing InGaAs diodes at gigahertz gates. */
const ghzInGaAsLike: LinkPreset = {
  title: 'Gigahertz link, self-differencing InGaAs detectors (like published ones)',
  pulseRateHz: 1e9,
  attenuationDbPerKm: 0.2,
  receiverEfficiency: 0.0507,
  backgroundYield: 2e-5,
  misalignment: 0.015,
  afterpulseProbability: 0.01,
  deadTimeNs: 20,
  keyBasisProbability: 0.85,
  source: { intensities: [0.4, 0.13], probabilities: [0.6, 0.4] },
  blockSizeBits: 4_000_000,
  epsilonSecrecy: 1e-9,
  epsilonCorrectness: 1e-15,
  correctionEfficiency: 1.16,
  provenance: {
    ...shared,
    pulseRateHz: 'Yuan et al., Appl. Phys. Lett. 92, 201104 (2008), and later systems of that kind. Certain.',
    receiverEfficiency: 'Fitted so that 25 km give 687 kb/s.',
    backgroundYield: 'Of the order of self-differencing diodes. Typical.',
    misalignment: 'Visibility of 97%. Typical.',
    afterpulseProbability:
      'Well below the 6.16% at 1.25 GHz of the first such diodes (Yuan et al., Appl. Phys. Lett. 91, 041114, 2007). Assumed.',
    deadTimeNs: 'Count rates of tens of MHz need it this short. Assumed.',
    keyBasisProbability: 'Chosen.',
    source: 'Chosen.',
    blockSizeBits: 'About a second of link time at 25 km. Chosen.',
  },
};

/** 3.3 Mb/s at 25 km: the class of superconducting nanowires at gigahertz clocks. */
const ghzSnspdLike: LinkPreset = {
  title: 'Gigahertz link, superconducting nanowire detectors (like published ones)',
  pulseRateHz: 1e9,
  attenuationDbPerKm: 0.2,
  receiverEfficiency: 0.157,
  backgroundYield: 2e-7,
  misalignment: 0.01,
  afterpulseProbability: 0,
  deadTimeNs: 20,
  keyBasisProbability: 0.85,
  source: { intensities: [0.4, 0.13], probabilities: [0.6, 0.4] },
  blockSizeBits: 4_000_000,
  epsilonSecrecy: 1e-9,
  epsilonCorrectness: 1e-15,
  correctionEfficiency: 1.16,
  provenance: {
    ...shared,
    pulseRateHz: 'The clock of the class. Certain.',
    receiverEfficiency: 'Fitted so that 25 km give 3.3 Mb/s.',
    backgroundYield: 'A hundred dark counts a second and detector. Typical.',
    misalignment: 'Visibility of 98%. Typical.',
    afterpulseProbability: 'Nanowires have none. Certain.',
    deadTimeNs: 'Recovery time of tens of nanoseconds. Typical.',
    keyBasisProbability: 'Chosen.',
    source: 'Chosen.',
    blockSizeBits: 'Half a second of link time. Chosen.',
  },
};

/** About 10 kb/s at 25 km: fast source, slow detectors. */
const spd80MHzLike: LinkPreset = {
  title: '80 MHz link, single-photon avalanche diodes (like published ones)',
  pulseRateHz: 80e6,
  attenuationDbPerKm: 0.2,
  receiverEfficiency: 0.0402,
  backgroundYield: 2e-6,
  misalignment: 0.015,
  afterpulseProbability: 0.01,
  deadTimeNs: 10_000,
  keyBasisProbability: 0.8,
  source: { intensities: [0.4, 0.13], probabilities: [0.5, 0.5] },
  blockSizeBits: 1_000_000,
  epsilonSecrecy: 1e-9,
  epsilonCorrectness: 1e-15,
  correctionEfficiency: 1.16,
  provenance: {
    ...shared,
    pulseRateHz: 'The clock of the class. Certain.',
    receiverEfficiency: 'Fitted so that 25 km give 10 kb/s.',
    backgroundYield: 'Of the order of free-running diodes. Typical.',
    misalignment: 'Visibility of 97%. Typical.',
    afterpulseProbability: 'What 10 µs of dead time leaves. Typical.',
    deadTimeNs: 'Customary for InGaAs diodes; it is what limits this link up to 50 km. Typical.',
    keyBasisProbability: 'Chosen.',
    source: 'Chosen.',
    blockSizeBits: 'Twenty seconds of link time at 25 km. Chosen.',
  },
};

/** "-like": vendor-inspired, fitted to a published rate, no device in particular. */
export const presets = {
  metro,
  'ghz-ingaas-like': ghzInGaAsLike,
  'ghz-snspd-like': ghzSnspdLike,
  '80mhz-spd-like': spd80MHzLike,
} as const satisfies Record<string, LinkPreset>;
export type PresetName = keyof typeof presets;
