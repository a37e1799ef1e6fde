/** Durations as users write them: a whole number and a unit, such as `500ms` or `5s`. */

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The form, also for the JSON Schema. */
export const DURATION_PATTERN = /^\d{1,9}(?:ms|s|m|h|d)$/;

/** What `parseDuration` accepts, for error messages. */
export const DURATION_FORM = 'a number with its unit, as in 500ms, 5s, 10m, 2h or 1d';

/** Longest timer that the runtime has: 2^31 − 1 ms, 24 days. */
const MAX_DURATION_MS = 2 ** 31 - 1;

/**
 * Milliseconds of a duration.
 *
 * @throws RangeError with what is wrong, in words for the user.
 */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (match === null) throw new RangeError(`must be ${DURATION_FORM}`);
  const milliseconds = Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS];
  if (milliseconds > MAX_DURATION_MS) throw new RangeError('is longer than 24 days');
  return milliseconds;
}
