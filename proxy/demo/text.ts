export const count = (value: number): string => value.toLocaleString('en');
export const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;

/** `3 pqc, 1 refused` */
export function countBy(values: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].map(([value, number]) => `${number} ${value}`).join(', ');
}
