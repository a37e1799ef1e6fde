import {
  type BasisCounts,
  type DecoyBound,
  type IntensitySetting,
  rusca2018,
  type SecurityParameters,
} from '../physics/finite-key.ts';
import type { PackedBits } from '../post-processing/packed-bits.ts';

/** What both ends have agreed on before the first pulse. */
export interface BlockParameters {
  /** n_Z. */
  readonly blockSizeBits: number;
  readonly source: IntensitySetting;
  readonly security: SecurityParameters;
}

/** ℓ from what both ends know. */
export function keyBound(
  parameters: BlockParameters,
  key: BasisCounts,
  check: BasisCounts,
  leakBits: number,
): DecoyBound {
  return rusca2018(parameters.source, key, check, leakBits, parameters.security);
}

/**
 * ℓ can't become more than this, whatever error correction still finds: no
 * errors in the key basis, and no parities but those disclosed so far.
 */
export function bestPossibleLength(
  parameters: BlockParameters,
  keyDetections: readonly number[],
  check: BasisCounts,
  leakBits: number,
): number {
  return keyBound(parameters, { detections: keyDetections, errors: [0, 0] }, check, leakBits).lengthBits;
}

// The conversation of one block, in order. Everything here is public, and authenticated at the end.

/** Bob: when it clicked, and the bases he had chosen (1 = check). */
export interface Detections {
  readonly gateGaps: Uint32Array;
  readonly check: PackedBits;
}

/** Alice: which clicks to keep, their intensities (1 = decoy), and her bits of the check basis, both in order of the kept ones. */
export interface Sifting {
  readonly keep: PackedBits;
  readonly decoy: PackedBits;
  readonly checkBits: PackedBits;
}

/** Alice: how to shuffle and cut for Cascade. */
export interface CorrectionStart {
  readonly shuffleSeed: Uint32Array;
  readonly qber: number;
}

/** Alice: hash of her key, and the seed of the hash. */
export interface Verification {
  readonly seed: PackedBits;
  readonly hash: PackedBits;
}

/** Bob: his hash is the same; errors he corrected, by intensity. */
export interface ErrorCounts {
  readonly errors: readonly [signal: number, decoy: number];
}

/** Alice: the seed of privacy amplification. */
export interface Amplification {
  readonly lengthBits: number;
  readonly seed: PackedBits;
}
