import { hexOf, type SecretBytes } from '../../tls-ext/bytes/index.ts';
import { isKdiError } from '../errors.ts';
import type { KnownQuirks } from './doctor-settings.ts';
import type { Examination } from './examination.ts';
import type { HttpProbe } from './http-probe.ts';
import { checkValue, sameKey } from './key-check.ts';
import type { KmeEnd } from './kme-end.ts';

/** What every examination works on. */
export interface ExamContext {
  readonly exam: Examination;
  readonly own: KmeEnd;
  /** The KME at the other end, if it was given. */
  readonly peer?: KmeEnd;
  readonly peerSaeId: string;
  /** What the configuration has already. */
  readonly known: KnownQuirks;
  readonly random: (lengthBytes: number) => Uint8Array;
  readonly comparison: KeyComparison;
}

/** How long a key may take to reach the other KME before it counts as lost. */
export const LOOKUP_PATIENCE_MS = 2_500;
/** Pauses between look-ups of a key that is not there yet: these, then the last one again. */
const RETRY_PAUSES_MS = [20, 40, 80, 160, 250] as const;

/** Pause before look-up `attempt` (1 = the second one). */
export function retryPauseMs(attempt: number): number {
  return RETRY_PAUSES_MS[Math.min(attempt, RETRY_PAUSES_MS.length) - 1] as number;
}

/** Whether the keys that were compared so far were equal, and which were drawn. */
export class KeyComparison {
  compared = 0;
  different = 0;
  /** Whether a key was drawn that had been drawn before. */
  repeated = false;
  /** Check values of the keys that were drawn: the doctor keeps no key longer than it is looked up. */
  readonly #drawn = new Set<string>();

  /** True for equal keys. Wipes both. */
  compare(a: SecretBytes, b: SecretBytes, reference: string): boolean {
    const equal = sameKey(a, b, reference);
    this.compared++;
    if (!equal) this.different++;
    return equal;
  }

  /** False for a key that was drawn before, whatever its ID was then. */
  isNew(drawn: SecretBytes): boolean {
    const value = hexOf(checkValue(drawn, 'drawn'));
    const isNew = !this.#drawn.has(value);
    this.#drawn.add(value);
    return isNew;
  }

  /** Null: nothing was compared. */
  get keysEqual(): boolean | null {
    return this.compared === 0 ? null : this.different === 0;
  }
}

/** Makes the check `keys-distinct` of a key that was drawn before: equal at both ends, and used twice all the same. */
export function checkDistinct(
  { exam, comparison }: Pick<ExamContext, 'exam' | 'comparison'>,
  drawn: SecretBytes,
  reference: string,
  clause: Parameters<Examination['fail']>[1],
): void {
  if (comparison.isNew(drawn) || comparison.repeated) return;
  // Once said is enough of a KME that has one key only.
  comparison.repeated = true;
  exam.fail(
    'keys-distinct',
    clause,
    `key ${reference} is one that was given out before, under another ID: nothing can be protected with it; have the KME looked at`,
  );
}

/** Which versions of TLS the KME takes: with both on offer one was negotiated; a request over TLS 1.2 alone may be answered too. */
export async function checkTlsVersions(
  { end }: HttpProbe,
  probeOfTls12: HttpProbe,
  path: string,
  clause: Parameters<Examination['pass']>[1],
): Promise<void> {
  const { exam } = end;
  const id = end.id('tls-versions');
  if (end.protocol === 'TLSv1.2') {
    exam.note(id, clause, 'TLS 1.2 only: TLS 1.3 was offered too');
    return;
  }
  try {
    const { status } = await probeOfTls12.call({ path, what: 'a request over TLS 1.2' });
    exam.pass(id, clause, `TLS 1.2 is spoken too (a request over it was answered with ${status})`);
  } catch (error) {
    if (!isKdiError(error)) throw error;
    // Nobody needs it; that TLS as such works is known.
    exam.pass(id, clause, 'TLS 1.3; over TLS 1.2 no request is answered');
  } finally {
    probeOfTls12.close();
  }
}

/** Milliseconds for a human. */
export function msText(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** One or more deviations as the end of a sentence; empty if there are none. */
export function deviationsText(deviations: readonly string[]): string {
  return deviations.length === 0 ? '' : `; deviates: ${deviations.join(', ')}`;
}
