/**
 * Complex FFT on split Float64 arrays, in place, without reordering: `forward`
 * leaves the spectrum in bit-reversed order and `inverse` takes it so, which
 * is all that a convolution needs.
 */
export class Fft {
  readonly size: number;
  readonly #cos: Float64Array;
  readonly #sin: Float64Array;

  /** `size` is a power of two, at least 4. */
  constructor(size: number) {
    if (size < 4 || (size & (size - 1)) !== 0) throw new RangeError(`${size} is not a power of two from 4 on`);
    this.size = size;
    // Twiddles of every stage side by side (stage of half-length h at offset h), so that the inner loops walk memory in order.
    this.#cos = new Float64Array(size);
    this.#sin = new Float64Array(size);
    for (let half = 1; half < size; half *= 2) {
      for (let j = 0; j < half; j++) {
        this.#cos[half + j] = Math.cos((Math.PI * j) / half);
        this.#sin[half + j] = -Math.sin((Math.PI * j) / half);
      }
    }
  }

  /** Σ_t x_t·e^(−2πi·kt/N), k in bit-reversed order. */
  forward(re: Float64Array, im: Float64Array): void {
    const n = this.size;
    const cos = this.#cos;
    const sin = this.#sin;
    // Decimation in frequency, two stages at a time: half the memory traffic.
    let half = n >>> 1;
    for (; half >= 2; half >>>= 2) {
      const quarter = half >>> 1;
      for (let start = 0; start < n; start += 2 * half) {
        for (let j = 0; j < quarter; j++) {
          const i0 = start + j;
          const i1 = i0 + quarter;
          const i2 = i0 + half;
          const i3 = i2 + quarter;
          const a0r = re[i0]! + re[i2]!;
          const a0i = im[i0]! + im[i2]!;
          const a1r = re[i1]! + re[i3]!;
          const a1i = im[i1]! + im[i3]!;
          const d0r = re[i0]! - re[i2]!;
          const d0i = im[i0]! - im[i2]!;
          const d1r = re[i1]! - re[i3]!;
          const d1i = im[i1]! - im[i3]!;
          const c = cos[half + j]!;
          const s = sin[half + j]!;
          // The twiddle a quarter turn on is −i times this one.
          const a2r = d0r * c - d0i * s;
          const a2i = d0r * s + d0i * c;
          const a3r = d1r * s + d1i * c;
          const a3i = d1i * s - d1r * c;
          const qc = cos[quarter + j]!;
          const qs = sin[quarter + j]!;
          re[i0] = a0r + a1r;
          im[i0] = a0i + a1i;
          const b1r = a0r - a1r;
          const b1i = a0i - a1i;
          re[i1] = b1r * qc - b1i * qs;
          im[i1] = b1r * qs + b1i * qc;
          re[i2] = a2r + a3r;
          im[i2] = a2i + a3i;
          const b3r = a2r - a3r;
          const b3i = a2i - a3i;
          re[i3] = b3r * qc - b3i * qs;
          im[i3] = b3r * qs + b3i * qc;
        }
      }
    }
    if (half === 1) butterflies(re, im);
  }

  /** The inverse of `forward`, scaled. */
  inverse(re: Float64Array, im: Float64Array): void {
    const n = this.size;
    const cos = this.#cos;
    const sin = this.#sin;
    // Decimation in time, mirrored from `forward` with conjugate twiddles.
    let quarter = 1;
    if (Math.log2(n) % 2 === 1) {
      butterflies(re, im);
      quarter = 2;
    }
    for (; quarter < n; quarter *= 4) {
      const half = 2 * quarter;
      for (let start = 0; start < n; start += 2 * half) {
        for (let j = 0; j < quarter; j++) {
          const i0 = start + j;
          const i1 = i0 + quarter;
          const i2 = i0 + half;
          const i3 = i2 + quarter;
          const qc = cos[quarter + j]!;
          const qs = -sin[quarter + j]!;
          const b1r = re[i1]! * qc - im[i1]! * qs;
          const b1i = re[i1]! * qs + im[i1]! * qc;
          const b3r = re[i3]! * qc - im[i3]! * qs;
          const b3i = re[i3]! * qs + im[i3]! * qc;
          const a0r = re[i0]! + b1r;
          const a0i = im[i0]! + b1i;
          const a1r = re[i0]! - b1r;
          const a1i = im[i0]! - b1i;
          const a2r = re[i2]! + b3r;
          const a2i = im[i2]! + b3i;
          const a3r = re[i2]! - b3r;
          const a3i = im[i2]! - b3i;
          const c = cos[half + j]!;
          const s = -sin[half + j]!;
          const d0r = a2r * c - a2i * s;
          const d0i = a2r * s + a2i * c;
          // A quarter turn on: i times the twiddle.
          const d1r = -(a3r * s + a3i * c);
          const d1i = a3r * c - a3i * s;
          re[i0] = a0r + d0r;
          im[i0] = a0i + d0i;
          re[i2] = a0r - d0r;
          im[i2] = a0i - d0i;
          re[i1] = a1r + d1r;
          im[i1] = a1i + d1i;
          re[i3] = a1r - d1r;
          im[i3] = a1i - d1i;
        }
      }
    }
    for (let i = 0; i < n; i++) {
      re[i]! /= n;
      im[i]! /= n;
    }
  }
}

/** The stage without twiddles. */
function butterflies(re: Float64Array, im: Float64Array): void {
  for (let i = 0; i < re.length; i += 2) {
    const r = re[i]!;
    const m = im[i]!;
    re[i] = r + re[i + 1]!;
    im[i] = m + im[i + 1]!;
    re[i + 1] = r - re[i + 1]!;
    im[i + 1] = m - im[i + 1]!;
  }
}
