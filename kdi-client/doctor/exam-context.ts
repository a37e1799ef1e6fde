import type { SecretBytes } from '../../tls-ext/bytes/index.ts';
import { isKdiError } from '../errors.ts';
import type { KnownQuirks } from './doctor-settings.ts';
import type { Examination } from './examination.ts';
import type { HttpProbe } from './http-probe.ts';
import { sameKey } from './key-check.ts';
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

/** Whether the keys that were compared so far were equal. */
export class KeyComparison {
  compared = 0;
  different = 0;

  /** True for equal keys. Wipes both. */
  compare(a: SecretBytes, b: SecretBytes, reference: string): boolean {
    const equal = sameKey(a, b, reference);
    this.compared++;
    if (!equal) this.different++;
    return equal;
  }

  /** Null: nothing was compared. */
  get keysEqual(): boolean | null {
    return this.compared === 0 ? null : this.different === 0;
  }
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
