/**
 * The quantum part of a link: pulses, fibre, eavesdropper, detectors. It
 * walks from click to click: the number of gates between two clicks is
 * geometric, and what nobody detects leaves no trace, so Alice's choices are
 * drawn only for the gates that click, from their distribution given a click.
 */
import type { RandomSource, RandomStream } from '../kernel/random.ts';
import { transmittance } from '../physics/channel.ts';
import type { LinkPreset } from '../physics/presets.ts';

/** What one end noted for a click. */
export const ClickBits = {
  /** The bit sent, or measured. */
  value: 1,
  /** The basis: 0 key, 1 check. */
  check: 2,
  /** Alice only: the decoy intensity. */
  decoy: 4,
} as const;

/** A stretch of pulses. `alice` and `bob` are for these two only. */
export interface Clicks {
  /** Gates that passed. */
  readonly gates: number;
  /** Gates from each click to the next, the first from the last click before. */
  readonly gateGaps: Uint32Array;
  readonly alice: Uint8Array;
  readonly bob: Uint8Array;
  /** Clicks where both chose the key basis. */
  readonly keyClicks: number;
  /** Ground truth over those: bits that Eve has, and bits that differ. */
  readonly eveKnows: number;
  readonly keyErrors: number;
}

const TWO_POW_32 = 2 ** 32;
/** Room for this many clicks per stretch. */
const MAX_CLICKS = 65_536;

export class Transmission {
  readonly #preset: LinkPreset;
  readonly #channel: RandomStream;
  readonly #alice: RandomStream;
  readonly #bob: RandomStream;
  readonly #eve: RandomStream;
  readonly #deadGates: number;
  /** Probability of a click in a live gate. */
  readonly #clickProbability: number;
  readonly #logNoClick: number;
  /** P(decoy | click), P(decoy | no click), both scaled to 2^32. */
  readonly #decoyGivenClick: number;
  readonly #decoyGivenSilence: number;
  /** P(photon | click), by intensity, scaled to 2^32. */
  readonly #photonGivenClick: readonly [number, number];
  /** P(pulse not empty), by intensity: what Eve can measure at all. */
  readonly #notEmpty: readonly [number, number];
  readonly #gaps = new Uint32Array(MAX_CLICKS);
  readonly #aliceNotes = new Uint8Array(MAX_CLICKS);
  readonly #bobNotes = new Uint8Array(MAX_CLICKS);

  #interceptFraction = 0;
  /** Gates until the next click, counted from the end of the last stretch, and since the last click. */
  #untilClick = 0;
  #sinceClick = 0;
  #nextIsAfterpulse = false;
  /** Afterpulses still to come. */
  #trapped = 0;

  constructor(preset: LinkPreset, lengthKm: number, random: RandomSource) {
    this.#preset = preset;
    this.#channel = random('channel');
    this.#alice = random('alice');
    this.#bob = random('bob');
    this.#eve = random('eve');
    this.#deadGates = Math.round(preset.deadTimeNs * 1e-9 * preset.pulseRateHz);
    const eta = transmittance(preset.receiverEfficiency, preset.attenuationDbPerKm, lengthKm);
    const [mu, nu] = preset.source.intensities as [number, number];
    const [pMu, pNu] = preset.source.probabilities as [number, number];
    const photon = (k: number) => -Math.expm1(-eta * k);
    const click = (k: number) => 1 - (1 - preset.backgroundYield) * (1 - photon(k));
    this.#clickProbability = pMu * click(mu) + pNu * click(nu);
    this.#logNoClick = Math.log1p(-this.#clickProbability);
    this.#decoyGivenClick = (TWO_POW_32 * pNu * click(nu)) / this.#clickProbability;
    this.#decoyGivenSilence = (TWO_POW_32 * pNu * (1 - click(nu))) / (1 - this.#clickProbability);
    this.#photonGivenClick = [(TWO_POW_32 * photon(mu)) / click(mu), (TWO_POW_32 * photon(nu)) / click(nu)];
    this.#notEmpty = [-Math.expm1(-mu), -Math.expm1(-nu)];
    this.#untilClick = this.#skip();
  }

  setInterceptFraction(fraction: number): void {
    this.#interceptFraction = fraction;
  }

  /**
   * Lets pulses pass until both ends have `keyClicks` more clicks in the key
   * basis, or `gates` have passed, or the buffers are full. The arrays are
   * reused by the next call.
   */
  run(keyClicks: number, gates: number): Clicks {
    const keyBasis = this.#preset.keyBasisProbability * TWO_POW_32;
    const misaligned = this.#preset.misalignment * TWO_POW_32;
    const intercepted = this.#interceptFraction * TWO_POW_32;
    let passed = 0;
    let count = 0;
    let sifted = 0;
    let eveKnows = 0;
    let keyErrors = 0;

    while (sifted < keyClicks && count < MAX_CLICKS) {
      if (this.#untilClick > gates - passed) {
        this.#untilClick -= gates - passed;
        this.#sinceClick += gates - passed;
        passed = gates;
        break;
      }
      passed += this.#untilClick;
      this.#gaps[count] = this.#sinceClick + this.#untilClick;
      this.#sinceClick = 0;

      const afterpulse = this.#nextIsAfterpulse;
      const decoy = this.#alice.u32() < (afterpulse ? this.#decoyGivenSilence : this.#decoyGivenClick) ? 1 : 0;
      const aliceCheck = this.#alice.u32() >= keyBasis;
      const bobCheck = this.#bob.u32() >= keyBasis;
      const aliceBit = this.#alice.u32() >>> 31;
      const photon = !afterpulse && this.#channel.u32() < this.#photonGivenClick[decoy]!;

      let knows = false;
      let resentWrong = false;
      if (intercepted > 0 && this.#eve.u32() < intercepted) {
        // A click by a photon means that the pulse held one; Eve's basis is a fair coin.
        const measured = photon || this.#eve.fraction() < this.#notEmpty[decoy]!;
        const rightBasis = this.#eve.u32() >>> 31 === 1;
        knows = measured && rightBasis;
        resentWrong = photon && !rightBasis;
      }
      let bobBit: number;
      if (photon && !resentWrong && aliceCheck === bobCheck) {
        bobBit = aliceBit ^ (this.#channel.u32() < misaligned ? 1 : 0);
      } else {
        bobBit = this.#bob.u32() >>> 31;
      }

      this.#aliceNotes[count] = aliceBit | (aliceCheck ? ClickBits.check : 0) | (decoy === 1 ? ClickBits.decoy : 0);
      this.#bobNotes[count] = bobBit | (bobCheck ? ClickBits.check : 0);
      count++;
      if (!aliceCheck && !bobCheck) {
        sifted++;
        if (knows) eveKnows++;
        if (aliceBit !== bobBit) keyErrors++;
      }
      this.#scheduleNext(afterpulse);
    }
    return {
      gates: passed,
      gateGaps: this.#gaps.subarray(0, count),
      alice: this.#aliceNotes.subarray(0, count),
      bob: this.#bobNotes.subarray(0, count),
      keyClicks: sifted,
      eveKnows,
      keyErrors,
    };
  }

  wipe(): void {
    this.#aliceNotes.fill(0);
    this.#bobNotes.fill(0);
  }

  /**
   * An afterpulse comes in the first gate after the dead time, where release
   * of trapped carriers is likeliest; when a true click takes that gate, it
   * comes after that one. p_ap counts those of all orders, so an afterpulse
   * causes no other.
   */
  #scheduleNext(wasAfterpulse: boolean): void {
    if (wasAfterpulse) this.#trapped--;
    else if (this.#channel.fraction() < this.#preset.afterpulseProbability) this.#trapped++;
    const skip = this.#skip();
    this.#nextIsAfterpulse = this.#trapped > 0 && skip > 1;
    this.#untilClick = this.#deadGates + (this.#nextIsAfterpulse ? 1 : skip);
  }

  /** Live gates up to and including the next click: geometric. */
  #skip(): number {
    return 1 + Math.floor(Math.log(this.#channel.fraction()) / this.#logNoClick);
  }
}
