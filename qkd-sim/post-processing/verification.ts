/** After error correction: do both ends hold the same bits? By a universal hash of ⌈log2(1/ε_cor)⌉ bits. */
import type { PackedBits } from './packed-bits.ts';
import { toeplitzDirect } from './toeplitz.ts';

/** Bits disclosed. The term log2(2/ε_cor) of every key length pays for them. */
export function verificationBits(epsilonCorrectness: number): number {
  return Math.ceil(Math.log2(1 / epsilonCorrectness));
}

/** `seed` holds `toeplitzSeedBits(key.length, bits)` random public bits. */
export function verificationHash(key: PackedBits, seed: PackedBits, bits: number): PackedBits {
  return toeplitzDirect(key, seed, bits);
}

export function sameHash(a: PackedBits, b: PackedBits): boolean {
  return a.length === b.length && a.words.every((word, i) => word === b.words[i]);
}
