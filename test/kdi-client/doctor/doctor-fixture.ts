/** Two of the simulator's key managers, examined. */
import type { Credential } from '../../../certs/index.ts';
import {
  type CheckTone,
  type DoctorCheck,
  type ExaminationLimits,
  examineKme,
  type KdiApi,
  type KmeExaminationOptions,
  type KmeTls,
  type KmeVerdict,
  type KnownQuirks,
} from '../../../kdi-client/index.ts';
import { type KmePairOptions, kmePair, testPki } from '../../qkd-sim/kme/kme-fixture.ts';

export const APIS = ['etsi004', 'etsi004?dialect=qubip', 'etsi014', 'skip'] as const;
export type ApiUnderTest = (typeof APIS)[number];

/** For KMEs that don't answer: what takes 15 s in life takes a moment here. */
export const SHORT: ExaminationLimits = { totalMs: 2_000, connectMs: 100, replyMs: 100 };

/** What checks of TLS rest on. */
export const TLS_CLAUSES = {
  etsi004: 'ETSI GS QKD 004 V2.1.1, 6',
  etsi014: 'ETSI GS QKD 014 V1.1.1, 5.1',
  skip: 'draft-cisco-skip-02, TLS',
} as const;

export function tlsOf({ certPem, keyPem }: Credential, ca: Credential): KmeTls {
  return { cert: certPem, key: keyPem, ca: ca.certPem };
}

export interface PairExamination {
  readonly known?: KnownQuirks;
  readonly alone?: boolean;
  readonly pair?: KmePairOptions;
  /** Bytes of key in the stores; default plenty. */
  readonly fillBytes?: number;
  readonly change?: (options: KmeExaminationOptions) => KmeExaminationOptions;
  /** What stands before a key manager: the port to examine instead of its own. */
  readonly through?: (end: 'own' | 'peer', port: number) => Promise<number>;
}

/** A check, and how it looks to a human. */
export type ToldCheck = DoctorCheck & { readonly tone: CheckTone };
export interface ToldVerdict extends KmeVerdict {
  readonly told: readonly ToldCheck[];
}

/** Examines kme-a as siteA, with kme-b at the other end unless `alone`. */
export async function examinePair(api: ApiUnderTest, options: PairExamination = {}): Promise<ToldVerdict> {
  const pki = await testPki();
  const told: ToldCheck[] = [];
  const pair = await kmePair({ capacityBytes: 65_536, ...options.pair });
  try {
    pair.fill(options.fillBytes ?? 65_536);
    const [name, query] = api.split('?') as [KdiApi, string | undefined];
    const ports = name === 'etsi004' ? [pair.portA, pair.portB] : [pair.httpsA, pair.httpsB];
    const through = options.through ?? (async (_end: 'own' | 'peer', port: number) => port);
    const [portA, portB] = [await through('own', ports[0] as number), await through('peer', ports[1] as number)];
    const url = (port: number) => `${name}://127.0.0.1:${port}${query === undefined ? '' : `?${query}`}`;
    const examination: KmeExaminationOptions = {
      own: { url: url(portA), saeId: 'siteA', tls: tlsOf(pki.siteA, pki.ca) },
      peerSaeId: 'siteB',
      ...(options.alone ? {} : { peer: { url: url(portB), tls: tlsOf(pki.siteB, pki.ca) } }),
      known: options.known ?? {},
      nowMs: Date.now(),
      observer: { onCheck: (check, tone) => told.push({ ...check, tone }) },
    };
    return { ...(await examineKme(options.change?.(examination) ?? examination)), told };
  } finally {
    await pair.close();
  }
}

/** The only check with this ID. */
export function checkOf(verdict: KmeVerdict, id: string): DoctorCheck {
  const found = verdict.checks.filter((check) => check.id === id);
  if (found.length !== 1) {
    throw new Error(
      `${found.length} checks ${id} in:\n${verdict.checks.map((c) => `${c.ok} ${c.id}: ${c.detail}`).join('\n')}`,
    );
  }
  return found[0] as DoctorCheck;
}

/** The tones of the checks with this ID. */
export function tonesOf({ told }: ToldVerdict, id: string): string[] {
  return told.filter((check) => check.id === id).map(({ tone }) => tone);
}

/** IDs of the failed checks. */
export function failedOf(verdict: KmeVerdict): string[] {
  return verdict.checks.filter(({ ok }) => !ok).map(({ id }) => id);
}
