import { changedHello } from './client-hellos.ts';
import { type Difference, explain } from './differences.ts';
import { askOpenssl } from './openssl-server.ts';
import { askOurs } from './our-server.ts';
import { outcomeOf } from './outcome.ts';

export interface Comparison {
  /** Outcomes that are the same, by their first word. */
  readonly same: Map<string, number>;
  readonly explained: Map<Difference, number>;
  /** What no difference explains, with the number of the case. */
  readonly unexplained: string[];
}

/** Asks both servers about the cases from `first` on. */
export async function compare(first: number, count: number): Promise<Comparison> {
  const comparison: Comparison = { same: new Map(), explained: new Map(), unexplained: [] };
  for (let number = first; number < first + count; number++) {
    const bytes = changedHello(number);
    const [ours, openssl] = [askOurs(bytes), await askOpenssl(bytes)];
    const [ourOutcome, theirOutcome] = [outcomeOf(ours.bytes), outcomeOf(openssl.bytes)];
    if (ourOutcome === theirOutcome) {
      const word = ourOutcome.split(' ')[0] as string;
      comparison.same.set(word, (comparison.same.get(word) ?? 0) + 1);
      continue;
    }
    const told = [`${ourOutcome}: ${ours.reason}`, `${theirOutcome}: ${openssl.reason}`] as const;
    const difference = explain(...told);
    if (difference === undefined) comparison.unexplained.push(`case ${number}: ${told.join(' | ')}`);
    else comparison.explained.set(difference, (comparison.explained.get(difference) ?? 0) + 1);
  }
  return comparison;
}
