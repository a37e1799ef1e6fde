/**
 * Covering arrays: few rows in which every pair of values of two axes occurs
 * that can occur at all. Greedy over the whole product, which is small here;
 * deterministic, so that a row has the same name in every run.
 */

type Row<R> = { readonly [N in keyof R]: string };

/** Every combination that `isPossible`. */
export function product<R extends Row<R>>(
  axes: { readonly [N in keyof R]: readonly R[N][] },
  isPossible: (row: R) => boolean = () => true,
): R[] {
  const names = Object.keys(axes) as (keyof R & string)[];
  let rows: Partial<R>[] = [{}];
  for (const name of names) rows = rows.flatMap((row) => axes[name].map((value) => ({ ...row, [name]: value })));
  return (rows as R[]).filter(isPossible);
}

/** A row's combinations of `strength` values of different axes, as strings. */
export function combinationsOf(row: object, strength: number): string[] {
  let found: string[][] = [[]];
  const complete: string[][] = [];
  for (const [name, value] of Object.entries(row)) {
    const longer = found.map((some) => [...some, `${name}=${value}`]);
    complete.push(...longer.filter((some) => some.length === strength));
    found = [...found, ...longer.filter((some) => some.length < strength)];
  }
  return complete.map((some) => some.join(' '));
}

/** Rows of `candidates` that between them hold everything that any candidate holds. */
export function covering<R>(candidates: readonly R[], holds: (row: R) => readonly string[]): R[] {
  const waiting = candidates.map((row) => ({ row, left: holds(row) }));
  const uncovered = new Set(waiting.flatMap(({ left }) => left));
  const chosen: R[] = [];
  while (uncovered.size > 0) {
    let best: (typeof waiting)[number] | undefined;
    for (const candidate of waiting) {
      // What is covered stays so: a candidate that has lost something never gets it back.
      candidate.left = candidate.left.filter((one) => uncovered.has(one));
      if (candidate.left.length > (best?.left.length ?? 0)) best = candidate;
    }
    if (best === undefined) throw new Error('something that no candidate holds');
    for (const one of best.left) uncovered.delete(one);
    chosen.push(best.row);
  }
  return chosen;
}

/** Rows that hold every combination of `strength` values of different axes that any candidate holds. */
export function coveringArray<R extends object>(candidates: readonly R[], strength: number): R[] {
  return covering(candidates, (row) => combinationsOf(row, strength));
}
