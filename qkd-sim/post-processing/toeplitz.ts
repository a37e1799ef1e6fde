/**
 * Toeplitz hashing over GF(2): row r, column c of the matrix is seed bit
 * r − c + n − 1, for n input bits and m output bits. Two-universal
 * (Mansour, Nisan, Tiwari 1993; Krawczyk, CRYPTO '94), so it serves for
 * privacy amplification (leftover hash lemma) and for verification.
 */
import { Fft } from './fft.ts';
import { PackedBits, wordParity } from './packed-bits.ts';

/** Bits of seed for `inputBits` to `outputBits`. */
export function toeplitzSeedBits(inputBits: number, outputBits: number): number {
  return inputBits + outputBits - 1;
}

function checkSeed(input: PackedBits, seed: PackedBits, outputBits: number): void {
  if (seed.length !== toeplitzSeedBits(input.length, outputBits)) {
    throw new RangeError(`a seed of ${seed.length} bits does not fit ${input.length} to ${outputBits} bits`);
  }
}

/** Word by word, for few output bits: time grows with their number. */
export function toeplitzDirect(input: PackedBits, seed: PackedBits, outputBits: number): PackedBits {
  checkSeed(input, seed, outputBits);
  // Row r reads the seed backwards from bit r + n − 1: turn the input around instead.
  const reversed = reverse(input);
  const output = new PackedBits(outputBits);
  const { words } = seed;
  for (let r = 0; r < outputBits; r++) {
    const from = r >>> 5;
    const shift = r & 31;
    let sum = 0;
    for (let w = 0; w < reversed.words.length; w++) {
      const window =
        shift === 0 ? words[from + w]! : (words[from + w]! >>> shift) | ((words[from + w + 1] ?? 0) << (32 - shift));
      sum ^= window & reversed.words[w]!;
    }
    if (wordParity(sum) === 1) output.flip(r);
  }
  reversed.wipe();
  return output;
}

function reverse(bits: PackedBits): PackedBits {
  const reversed = new PackedBits(bits.length);
  for (let i = 0; i < bits.length; i++) {
    if (bits.get(i) === 1) reversed.flip(bits.length - 1 - i);
  }
  return reversed;
}

/** Input and output are cut into pieces of this many bits; transforms are twice as long. */
const DEFAULT_PIECE_BITS = 65_536;

/**
 * By FFT, piece by piece, for many output bits.
 *
 * Exactness: the integers that come out are at most n, and with 0/1 inputs the
 * rounding error of a transform of length N is below about log2(N)·2^−52·N,
 * 1e-9 here for each piece; each result must lie within ¼ of an integer, or
 * this throws.
 */
export function toeplitzHash(
  input: PackedBits,
  seed: PackedBits,
  outputBits: number,
  pieceBits = DEFAULT_PIECE_BITS,
): PackedBits {
  checkSeed(input, seed, outputBits);
  const fft = new Fft(2 * pieceBits);
  const n = fft.size;
  const inputPieces = Math.ceil(input.length / pieceBits);
  // Output pieces go in pairs, as real and imaginary part of one transform.
  const outputPairs = Math.ceil(outputBits / (2 * pieceBits));
  const lastFirst = 2 * (outputPairs - 1);

  const sums = Array.from({ length: outputPairs }, () => new Spectrum(n));
  const spectra = new Map<number, Spectrum>();
  const windows = new Spectrum(n);
  // Output pair (J, J+1) is the sum over I of window pair D = J − I times input piece I. In the order of
  // falling I only outputPairs·2 input spectra are alive at a time.
  for (let d = -(inputPieces - 1); d <= lastFirst; d++) {
    loadWindow(windows.re, seed, d * pieceBits + input.length - 1, pieceBits);
    loadWindow(windows.im, seed, (d + 1) * pieceBits + input.length - 1, pieceBits);
    fft.forward(windows.re, windows.im);
    for (let pair = 0; pair < outputPairs; pair++) {
      const piece = 2 * pair - d;
      if (piece < 0 || piece >= inputPieces) continue;
      let spectrum = spectra.get(piece);
      if (spectrum === undefined) {
        spectrum = new Spectrum(n);
        loadBits(spectrum.re, input, piece * pieceBits, pieceBits);
        fft.forward(spectrum.re, spectrum.im);
        spectra.set(piece, spectrum);
      }
      sums[pair]!.addProduct(windows, spectrum);
    }
    const done = lastFirst - d;
    spectra.get(done)?.wipe();
    spectra.delete(done);
  }
  for (const left of spectra.values()) left.wipe();

  const output = new PackedBits(outputBits);
  for (const [pair, sum] of sums.entries()) {
    fft.inverse(sum.re, sum.im);
    storeParities(output, sum.re, 2 * pair * pieceBits, pieceBits);
    storeParities(output, sum.im, (2 * pair + 1) * pieceBits, pieceBits);
    sum.wipe();
  }
  return output;
}

class Spectrum {
  readonly re: Float64Array;
  readonly im: Float64Array;

  constructor(size: number) {
    this.re = new Float64Array(size);
    this.im = new Float64Array(size);
  }

  addProduct(a: Spectrum, b: Spectrum): void {
    const { re, im } = this;
    const [ar, ai, br, bi] = [a.re, a.im, b.re, b.im];
    for (let i = 0; i < re.length; i++) {
      const x = ar[i]!;
      const y = ai[i]!;
      const u = br[i]!;
      const v = bi[i]!;
      re[i]! += x * u - y * v;
      im[i]! += x * v + y * u;
    }
  }

  wipe(): void {
    this.re.fill(0);
    this.im.fill(0);
  }
}

/** `count` bits from `from` on; bits outside the string are 0. */
function loadBits(target: Float64Array, bits: PackedBits, from: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const b = from + i;
    target[i] = b < bits.length ? bits.get(b) : 0;
  }
}

/** Seed bits around `centre`: offset t at place t for t ≥ 0, at place t + 2·piece for t < 0. */
function loadWindow(target: Float64Array, seed: PackedBits, centre: number, pieceBits: number): void {
  const inside = (b: number) => (b >= 0 && b < seed.length ? seed.get(b) : 0);
  for (let t = 0; t < pieceBits; t++) {
    target[t] = inside(centre + t);
    target[t + pieceBits] = inside(centre + t - pieceBits);
  }
}

function storeParities(output: PackedBits, values: Float64Array, from: number, count: number): void {
  const end = Math.min(count, output.length - from);
  for (let i = 0; i < end; i++) {
    const value = values[i]!;
    const integer = Math.round(value);
    if (Math.abs(value - integer) > 0.25) throw new Error('a convolution lost its precision');
    if ((integer & 1) === 1) output.flip(from + i);
  }
}
