import { randomBytes } from 'node:crypto';

/** Uniform in [0, 1), from the system's generator: what spreads pauses, so that many proxies don't come at once. */
export function randomFraction(): number {
  return randomBytes(4).readUInt32BE() / 2 ** 32;
}
