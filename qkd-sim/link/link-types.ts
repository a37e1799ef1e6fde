import type { PresetName } from '../physics/presets.ts';

/** What a link is made of. Everything but the length has a default. */
export interface LinkConfig {
  /** Which hardware; default `metro`. */
  readonly preset?: PresetName;
  readonly lengthKm: number;
  /** Same seed and same config give the same blocks, bit for bit. Absent: key bits from the operating system's generator. */
  readonly seed?: string | bigint;
  /** Sifted key-basis bits per block, n_Z; default the preset's. Too small a block never yields a key: see `expectedBlock`. */
  readonly blockSizeBits?: number;
  /** Intercept-resend on this fraction (0 to 1) of the pulses; default none. */
  readonly eavesdropper?: { readonly interceptFraction: number };
  /** ε_sec, default the preset's (1e-9). */
  readonly epsilonSecrecy?: number;
  /** ε_cor, default the preset's (1e-15). */
  readonly epsilonCorrectness?: number;
  /** Pre-shared authentication key to start with, and the level that new key refills first; default 8192 bits. */
  readonly authReserveBits?: number;
}

/** Why a block gave no key. */
export const BlockAbortReason = {
  /** The errors disclosed in the check basis leave nothing, whatever error correction would cost. */
  errorRate: 'error-rate',
  /** The parities disclosed so far already cost more than the block can yield. */
  leakage: 'leakage',
  /** After error correction the hashes differ. */
  verification: 'verification',
  /** The finite-key bound of the finished block is ℓ ≤ 0. */
  noKey: 'no-key',
  /** A tag does not match: someone changed the conversation. */
  authentication: 'authentication',
  /** Not enough pre-shared key left to authenticate the block. */
  authReserve: 'auth-reserve',
} as const;
export type BlockAbortReason = (typeof BlockAbortReason)[keyof typeof BlockAbortReason];

/** Wall milliseconds that each stage of a block took on this machine. */
export interface StageDurations {
  readonly transmissionMs: number;
  readonly siftingMs: number;
  readonly correctionMs: number;
  readonly verificationMs: number;
  readonly amplificationMs: number;
  readonly authenticationMs: number;
}

/** What is known about one block when it is over. All but `groundTruth` is knowledge of the two parties. No key material. */
export interface BlockReport {
  /** Counts from 0. */
  readonly block: number;
  /** Gates that passed: one pulse each. */
  readonly pulses: number;
  /** Simulated time the block took, and the link's simulated time at its end. Time under a cut does not count. */
  readonly linkSeconds: number;
  readonly endLinkSeconds: number;
  /** Clicks in any basis. */
  readonly detections: number;
  /** Key-basis bits both ends kept: n_Z. */
  readonly siftedBits: number;
  /** Check-basis bits, all disclosed: n_X. */
  readonly checkBits: number;
  /** Error rate (0 to 1) of the key basis as counted by error correction; of the check basis where the block ended before that. */
  readonly qber: number;
  /** Error rate (0 to 1) of the disclosed check basis. */
  readonly checkQber: number;
  /** Every parity disclosed: λ_EC. */
  readonly leakBits: number;
  /** λ_EC / (n·h(qber)); absent where error correction did not finish. */
  readonly correctionEfficiency?: number;
  /** ℓ, floored, never below 0. */
  readonly finalKeyBits: number;
  /** ℓ less what went into the authentication reserve, in whole bytes: 8 times the length of `aliceKey`. */
  readonly deliveredBits: number;
  readonly aborted?: BlockAbortReason;
  readonly siftedBitsPerSecond: number;
  /** ℓ per simulated second, before the cost of authentication. */
  readonly skrBitsPerSecond: number;
  readonly authBitsSpent: number;
  /** What is left in the reserve after this block's refill. */
  readonly authReserveBits: number;
  /** Ground truth of the simulator, which neither party has. */
  readonly groundTruth: GroundTruth;
  readonly durations: StageDurations;
}

/** What only the simulator knows. It never enters a decision of the parties. */
export interface GroundTruth {
  /** Sifted key bits that Eve has measured in the right basis. */
  readonly eveKnowsBits: number;
  /** The same as a share (0 to 1) of the sifted key bits. */
  readonly eveKnows: number;
  /** Errors in the sifted key before correction. */
  readonly siftedErrors: number;
}

export interface BlockProgress {
  readonly block: number;
  readonly stage: 'transmission' | 'correction' | 'amplification';
  /** Share (0 to 1) of the block's sifted bits that are in. */
  readonly fraction: number;
  /** Error rate of the check basis disclosed so far; absent while nothing is disclosed. */
  readonly qber?: number;
  /** Simulated time since the link began. */
  readonly linkSeconds: number;
}

/** The keys are equal, as verified by hash. The caller owns and wipes them. Both absent when the block was aborted. */
export interface BlockResult {
  readonly report: BlockReport;
  readonly aliceKey?: Uint8Array;
  readonly bobKey?: Uint8Array;
}
