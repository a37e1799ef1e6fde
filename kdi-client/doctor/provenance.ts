/** What a KME says about where its keys come from. */
import type { Clause } from './clauses.ts';
import type { Examination } from './examination.ts';

export interface Provenance {
  readonly ageMs?: number | undefined;
  readonly hops?: number | undefined;
  readonly simulated?: boolean | undefined;
}

/** The check `provenance`. `where`: the field that the API has, or that KMEs use, for it. */
export function checkProvenance(exam: Examination, { ageMs, hops, simulated }: Provenance, where: Clause): void {
  const told = [
    ...(ageMs === undefined ? [] : [`age ${ageText(ageMs)}`]),
    ...(hops === undefined ? [] : [hops === 0 ? 'a direct link' : `${hops} trusted nodes in between`]),
  ];
  if (simulated === true) {
    exam.note(
      'provenance',
      where,
      `${['keys of a simulator, which protect nothing', ...told].join(', ')}; a tunnel off loopback wants unsafe-allow-simulated for them`,
    );
  } else if (told.length === 0) {
    exam.note(
      'provenance',
      where,
      'the KME says nothing of age and hops: max-hops and max-key-age can not be judged, and unknown-provenance decides',
    );
  } else exam.pass('provenance', where, told.join(', '));
}

/** Age, hops and simulated of a JSON object that may hold them. Anything that is no such value is left out. */
export function provenanceOf(fields: Readonly<Record<string, unknown>>): Provenance {
  const { age, hops, simulated } = fields;
  return {
    ageMs: isCount(age) ? age : undefined,
    hops: isCount(hops) ? hops : undefined,
    simulated: typeof simulated === 'boolean' ? simulated : undefined,
  };
}

function ageText(ms: number): string {
  if (ms < 10_000) return `${ms} ms`;
  if (ms < 600_000) return `${Math.round(ms / 1_000)} s`;
  return ms < 36_000_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
