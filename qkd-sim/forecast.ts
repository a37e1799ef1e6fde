import type { LinkConfig } from './link/link-types.ts';
import { expectedBlock } from './physics/expected-block.ts';
import { presets } from './physics/presets.ts';

/** What a link is expected to do, by the analytic model. */
export interface LinkForecast {
  /** 0 to 1. */
  readonly qber: number;
  /** Per second of link time, before the cost of authentication; 0: no block will yield key. */
  readonly skrBitsPerSecond: number;
  /** Link time of one block. */
  readonly blockLinkSeconds: number;
}

/** The expected block of a link with this configuration. */
export function forecastOf(config: LinkConfig): LinkForecast {
  const preset = presets[config.preset ?? 'metro'];
  const { blockSizeBits, eavesdropper, epsilonSecrecy, epsilonCorrectness } = config;
  const expected = expectedBlock(preset, config.lengthKm, {
    // As in the simulated detectors.
    afterpulse: 'physical',
    security: {
      epsilonSecrecy: epsilonSecrecy ?? preset.epsilonSecrecy,
      epsilonCorrectness: epsilonCorrectness ?? preset.epsilonCorrectness,
    },
    ...(blockSizeBits === undefined ? {} : { blockSizeBits }),
    ...(eavesdropper === undefined ? {} : { interceptFraction: eavesdropper.interceptFraction }),
  });
  return {
    qber: expected.qber,
    skrBitsPerSecond: expected.skrBitsPerSecond,
    blockLinkSeconds: expected.linkSeconds,
  };
}
