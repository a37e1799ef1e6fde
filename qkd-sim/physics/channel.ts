/**
 * Weak coherent pulses through a lossy channel onto threshold detectors.
 * Ma, Qi, Zhao, Lo, "Practical decoy state for quantum key distribution",
 * Phys. Rev. A 72, 012326 (2005), section II.
 */

/** A channel as the asymptotic formulas see it. */
export interface ChannelModel {
  /** η: from Alice's output to a click, 0 to 1. */
  readonly transmittance: number;
  /** Y0: probability of a click per gate without any photon, both detectors together. */
  readonly backgroundYield: number;
  /** e_d: probability that a photon hits the wrong detector. */
  readonly misalignment: number;
}

/** η = η_Bob·10^(−αL/10) (Ma 2005, eqs. 3 and 5). `receiverEfficiency` is Bob's optics and detectors together. */
export function transmittance(receiverEfficiency: number, attenuationDbPerKm: number, lengthKm: number): number {
  return receiverEfficiency * 10 ** ((-attenuationDbPerKm * lengthKm) / 10);
}

/** Q_μ: probability of a click per pulse of mean photon number `intensity` (Ma 2005, eq. 10). */
export function gain(channel: ChannelModel, intensity: number): number {
  return channel.backgroundYield - Math.expm1(-channel.transmittance * intensity);
}

/** E_μ: error rate of those clicks, 0 to 1 (Ma 2005, eq. 11; background errs half of the time). */
export function errorRate(channel: ChannelModel, intensity: number): number {
  const signal = -Math.expm1(-channel.transmittance * intensity);
  return (channel.backgroundYield / 2 + channel.misalignment * signal) / (channel.backgroundYield + signal);
}

/** Y_n: probability of a click when the pulse holds exactly `photons` photons (Ma 2005, eq. 7, without the small product term). */
export function photonYield(channel: ChannelModel, photons: number): number {
  return channel.backgroundYield + 1 - (1 - channel.transmittance) ** photons;
}

/** e_n: error rate of those clicks (Ma 2005, eq. 9). */
export function photonErrorRate(channel: ChannelModel, photons: number): number {
  const signal = 1 - (1 - channel.transmittance) ** photons;
  return (channel.backgroundYield / 2 + channel.misalignment * signal) / photonYield(channel, photons);
}
