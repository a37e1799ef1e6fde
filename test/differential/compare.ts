import type { Difference, Explain } from './difference.ts';

/** What one end made of a case: the outcome, and its reason for it. */
export interface Answer {
  readonly outcome: string;
  readonly reason: string | undefined;
}

export interface Asked {
  readonly ours: Answer;
  readonly openssl: Answer;
  /** What the case is, for reports and for differences that hold in some cases only. */
  readonly what?: string;
}

export interface Comparison {
  /** Outcomes that are the same, by their first word. */
  readonly same: Map<string, number>;
  readonly explained: Map<Difference, number>;
  /** What no difference explains, with the number of the case. */
  readonly unexplained: string[];
}

/** Asks both ends about the cases from `first` on. */
export async function compare(
  first: number,
  count: number,
  ask: (number: number) => Promise<Asked>,
  explain: Explain,
): Promise<Comparison> {
  const comparison: Comparison = { same: new Map(), explained: new Map(), unexplained: [] };
  for (let number = first; number < first + count; number++) {
    const { ours, openssl, what } = await ask(number);
    if (ours.outcome === openssl.outcome) {
      const word = ours.outcome.split(' ')[0] as string;
      comparison.same.set(word, (comparison.same.get(word) ?? 0) + 1);
      continue;
    }
    const told = [
      `${ours.outcome}: ${ours.reason}${what === undefined ? '' : ` [${what}]`}`,
      `${openssl.outcome}: ${openssl.reason}`,
    ] as const;
    const difference = explain(...told);
    if (difference === undefined) comparison.unexplained.push(`case ${number}: ${told.join(' | ')}`);
    else comparison.explained.set(difference, (comparison.explained.get(difference) ?? 0) + 1);
  }
  return comparison;
}
