/** Amounts of data as users write them: a whole number and a unit, such as `512MiB`. */

const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** The form, also for the JSON Schema. */
export const SIZE_PATTERN = /^\d{1,6}(?:B|KiB|MiB|GiB|TiB)$/;

/** What `parseSize` accepts, for error messages. */
export const SIZE_FORM = 'a number with its unit, as in 512MiB or 64GiB';

/**
 * Bytes of a size.
 *
 * @throws RangeError with what is wrong, in words for the user.
 */
export function parseSize(text: string): number {
  const match = /^(\d{1,6})(B|KiB|MiB|GiB|TiB)$/.exec(text);
  if (match === null) throw new RangeError(`must be ${SIZE_FORM}`);
  const bytes = Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
  if (!Number.isSafeInteger(bytes)) throw new RangeError('is more than 8191TiB');
  return bytes;
}
