/**
 * Secret key lengths of finite blocks. Counts come in, a length in bits goes
 * out, unfloored and possibly negative (no key).
 *
 * - `rusca2018`: one decoy. Rusca, Boaron, Grünenfelder, Martin, Zbinden,
 *   Appl. Phys. Lett. 112, 171104 (2018). The one the link uses.
 * - `lim2014`: two decoys. Lim, Curty, Walenta, Xu, Zbinden, Phys. Rev. A 89, 022307 (2014).
 * - `tomamichel2012`: true single photons. Tomamichel, Lim, Gisin, Renner,
 *   Nat. Commun. 3, 634 (2012). Not secure for weak pulses.
 */
import { binaryEntropy } from './binary-entropy.ts';

export interface SecurityParameters {
  /** ε_sec. */
  readonly epsilonSecrecy: number;
  /** ε_cor. */
  readonly epsilonCorrectness: number;
}

/** A weak-pulse source: mean photon numbers, strictly falling, and how often each is sent. */
export interface IntensitySetting {
  readonly intensities: readonly number[];
  readonly probabilities: readonly number[];
}

/** Sifted clicks and errors of one basis, by intensity, in the order of the setting. */
export interface BasisCounts {
  readonly detections: readonly number[];
  readonly errors: readonly number[];
}

/** The bounds behind a length, for reports and tests. */
export interface DecoyBound {
  /** ℓ in bits, unfloored; 0 or less means no key. −Infinity when nothing is known about single photons. */
  readonly lengthBits: number;
  /** s0: lower bound on vacuum clicks in the key basis. */
  readonly vacuumEvents: number;
  /** s1: lower bound on single-photon clicks in the key basis. */
  readonly singlePhotonEvents: number;
  /** φ: upper bound on their phase error rate. */
  readonly phaseErrorRate: number;
}

/** τ_n: probability that the source sends n photons, n = 0 or 1 (Lim 2014, below eq. 2). */
function photonNumberProbability(setting: IntensitySetting, photons: 0 | 1): number {
  return setting.intensities.reduce(
    (sum, k, i) => sum + at(setting.probabilities, i) * Math.exp(-k) * (photons === 0 ? 1 : k),
    0,
  );
}

/** Hoeffding's deviation for a sum of n clicks; `events` is how many bounds share ε_sec (19 or 21). */
function deviation(n: number, events: number, epsilonSecrecy: number): number {
  return Math.sqrt((n / 2) * Math.log(events / epsilonSecrecy));
}

/** γ(a, b, c, d): from the error rate b of d sampled events to that of c unseen ones (Lim 2014, below eq. 5). */
function samplingGap(a: number, b: number, c: number, d: number, events: number): number {
  if (b <= 0) return 0;
  if (b >= 1) return 1;
  const spread = ((c + d) * (1 - b) * b) / (c * d * Math.LN2);
  return Math.sqrt(spread * Math.log2(((c + d) / (c * d * (1 - b) * b)) * (events ** 2 / a ** 2)));
}

const total = (counts: readonly number[]): number => counts.reduce((sum, n) => sum + n, 0);
const at = (values: readonly number[], i: number): number => {
  const value = values[i];
  if (value === undefined) throw new RangeError(`intensity ${i} has no value`);
  return value;
};

/** ε_sec is split over this many events (Rusca 2018, eq. A.23). */
const RUSCA_EVENTS = 19;
/** ε_sec is split over this many events (Lim 2014, eq. B11). */
const LIM_EVENTS = 21;

/**
 * One decoy (Rusca 2018, eqs. 2–4 and appendix). `key` is the basis that
 * becomes the key (Z), `check` the disclosed one (X). `leakBits` is λ_EC.
 */
export function rusca2018(
  setting: IntensitySetting,
  key: BasisCounts,
  check: BasisCounts,
  leakBits: number,
  security: SecurityParameters,
): DecoyBound {
  const { epsilonSecrecy } = security;
  const [mu1, mu2] = [at(setting.intensities, 0), at(setting.intensities, 1)];
  const tau0 = photonNumberProbability(setting, 0);
  const tau1 = photonNumberProbability(setting, 1);
  // e^k/p_k·(n_k ± δ(n))
  const scaled = (counts: readonly number[], i: number, sign: 1 | -1) =>
    (Math.exp(at(setting.intensities, i)) / at(setting.probabilities, i)) *
    (at(counts, i) + sign * deviation(total(counts), RUSCA_EVENTS, epsilonSecrecy));

  /** A click of an empty pulse errs half of the time, so there can't be more than twice the errors. */
  const vacuumUpper = (basis: BasisCounts) =>
    Math.min(
      ...basis.errors.map(
        (_, i) =>
          2 * (tau0 * scaled(basis.errors, i, 1) + deviation(total(basis.detections), RUSCA_EVENTS, epsilonSecrecy)),
      ),
    );
  const singlesLower = (basis: BasisCounts) =>
    ((tau1 * mu1) / (mu2 * (mu1 - mu2))) *
    (scaled(basis.detections, 1, -1) -
      (mu2 ** 2 / mu1 ** 2) * scaled(basis.detections, 0, 1) -
      ((mu1 ** 2 - mu2 ** 2) / mu1 ** 2) * (vacuumUpper(basis) / tau0));

  const vacuumLower = (tau0 * (mu1 * scaled(key.detections, 1, -1) - mu2 * scaled(key.detections, 0, 1))) / (mu1 - mu2);
  const checkErrors = (tau1 * (scaled(check.errors, 0, 1) - scaled(check.errors, 1, -1))) / (mu1 - mu2);
  return decoyLength(
    vacuumLower,
    singlesLower(key),
    singlesLower(check),
    checkErrors,
    RUSCA_EVENTS,
    leakBits,
    security,
  );
}

/** Two decoys (Lim 2014, eqs. 1–5). Bases as in `rusca2018`; three intensities with μ1 > μ2 + μ3 and μ2 > μ3 ≥ 0. */
export function lim2014(
  setting: IntensitySetting,
  key: BasisCounts,
  check: BasisCounts,
  leakBits: number,
  security: SecurityParameters,
): DecoyBound {
  const [mu1, mu2, mu3] = [at(setting.intensities, 0), at(setting.intensities, 1), at(setting.intensities, 2)];
  const tau0 = photonNumberProbability(setting, 0);
  const tau1 = photonNumberProbability(setting, 1);
  const scaled = (counts: readonly number[], i: number, sign: 1 | -1) =>
    (Math.exp(at(setting.intensities, i)) / at(setting.probabilities, i)) *
    (at(counts, i) + sign * deviation(total(counts), LIM_EVENTS, security.epsilonSecrecy));

  const vacuumLower = (basis: BasisCounts) =>
    Math.max(0, (tau0 * (mu2 * scaled(basis.detections, 2, -1) - mu3 * scaled(basis.detections, 1, 1))) / (mu2 - mu3));
  const singlesLower = (basis: BasisCounts) =>
    (tau1 *
      mu1 *
      (scaled(basis.detections, 1, -1) -
        scaled(basis.detections, 2, 1) -
        ((mu2 ** 2 - mu3 ** 2) / mu1 ** 2) * (scaled(basis.detections, 0, 1) - vacuumLower(basis) / tau0))) /
    (mu1 * (mu2 - mu3) - mu2 ** 2 + mu3 ** 2);

  const checkErrors = (tau1 * (scaled(check.errors, 1, 1) - scaled(check.errors, 2, -1))) / (mu2 - mu3);
  return decoyLength(
    vacuumLower(key),
    singlesLower(key),
    singlesLower(check),
    checkErrors,
    LIM_EVENTS,
    leakBits,
    security,
  );
}

/** ℓ = s0 + s1(1 − h(φ)) − λ_EC − 6·log2(events/ε_sec) − log2(2/ε_cor). */
function decoyLength(
  vacuumLower: number,
  singles: number,
  checkSingles: number,
  checkErrors: number,
  events: number,
  leakBits: number,
  security: SecurityParameters,
): DecoyBound {
  const vacuumEvents = Math.max(0, vacuumLower);
  const singlePhotonEvents = Math.max(0, singles);
  if (singlePhotonEvents <= 0 || checkSingles <= 0) {
    return { lengthBits: Number.NEGATIVE_INFINITY, vacuumEvents, singlePhotonEvents, phaseErrorRate: 0.5 };
  }
  const sampled = Math.max(0, checkErrors) / checkSingles;
  const phaseErrorRate = Math.min(
    0.5,
    sampled + samplingGap(security.epsilonSecrecy, sampled, singlePhotonEvents, checkSingles, events),
  );
  const lengthBits =
    vacuumEvents +
    singlePhotonEvents * (1 - binaryEntropy(phaseErrorRate)) -
    leakBits -
    6 * Math.log2(events / security.epsilonSecrecy) -
    Math.log2(2 / security.epsilonCorrectness);
  return { lengthBits, vacuumEvents, singlePhotonEvents, phaseErrorRate };
}

/**
 * True single photons (Tomamichel 2012, eqs. 1 and 2): `n` key bits, `k` sampled bits, tolerated error
 * rate `tolerance`, preparation quality q (1 for perfect BB84 states).
 */
export function tomamichel2012(
  n: number,
  k: number,
  tolerance: number,
  leakBits: number,
  security: SecurityParameters,
  preparationQuality = 1,
): number {
  const { epsilonSecrecy, epsilonCorrectness } = security;
  const mu = Math.sqrt(((n + k) / (n * k)) * ((k + 1) / k) * Math.log(4 / epsilonSecrecy));
  const bound = Math.min(0.5, tolerance + mu);
  return (
    n * (preparationQuality - binaryEntropy(bound)) -
    leakBits -
    Math.log2(2 / (epsilonSecrecy ** 2 * epsilonCorrectness))
  );
}
