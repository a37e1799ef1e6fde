/**
 * Where our engine and OpenSSL answer the same thing differently, and why that is right or of no matter. Patterns
 * match `OUTCOME: REASON`; ours gives its error's message as reason, OpenSSL its code.
 */
export interface Difference {
  readonly ours: RegExp;
  readonly openssl: RegExp;
  readonly why: string;
}

export type Explain = (ours: string, openssl: string) => Difference | undefined;

/** The first that fits; `alerts` are asked only where both refuse, which is what `refusal` matches. */
export function explainer(differences: readonly Difference[], alerts: readonly Difference[], refusal: RegExp): Explain {
  return (ours, openssl) => {
    const both = refusal.test(ours) && refusal.test(openssl);
    const all = both ? [...differences, ...alerts] : differences;
    return all.find((difference) => difference.ours.test(ours) && difference.openssl.test(openssl));
  };
}
