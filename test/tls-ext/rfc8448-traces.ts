/** The traces of RFC 8448 as test data: sections of steps, each with its values. */
import { readFileSync } from 'node:fs';
import { fromHex } from '../../tls-ext/bytes/index.ts';

interface RawStep {
  readonly section: string;
  readonly party: 'client' | 'server';
  readonly step: string;
  readonly values: readonly { readonly name: string; readonly octets: number | null; readonly hex: string }[];
}

export interface TraceStep {
  readonly section: string;
  readonly party: 'client' | 'server';
  readonly step: string;
  /** The bytes of a value; throws if the step has none of that name. "0 (all zero octets)" and "(empty)" are empty. */
  value(name: string): Uint8Array;
  has(name: string): boolean;
}

const raw: readonly RawStep[] = JSON.parse(
  readFileSync(new URL('../vectors/rfc8448.json', import.meta.url), 'utf8'),
) as RawStep[];

export const traceSteps: readonly TraceStep[] = raw.map(({ section, party, step, values }) => ({
  section,
  party,
  step,
  has: (name) => values.some((value) => value.name === name),
  value(name) {
    const found = values.find((value) => value.name === name);
    if (found === undefined) throw new Error(`${section}: ${step} has no value "${name}"`);
    return found.octets ? fromHex(found.hex) : new Uint8Array(0);
  },
}));

export const traceSections: readonly string[] = [...new Set(traceSteps.map((step) => step.section))];

export function stepsOf(section: string): readonly TraceStep[] {
  return traceSteps.filter((step) => step.section === section);
}
