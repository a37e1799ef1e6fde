/** `qstunnel doctor kme`: a conversation with a key manager that ends in a verdict. */
import { randomBytes } from 'node:crypto';
import { type Clock, systemClock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import type { KdiApi } from '../key-source.ts';
import type { KmeTls, PskTls } from '../kme-tls.ts';
import { type KmeAddress, parseKmeUrl } from '../kme-url.ts';
import type { Etsi004Dialect } from '../wire/index.ts';
import { tryClient } from './client-trial.ts';
import type { KnownQuirks } from './doctor-settings.ts';
import { examineEtsi004 } from './etsi004-exam.ts';
import { examineEtsi014 } from './etsi014-exam.ts';
import { type ExamContext, KeyComparison } from './exam-context.ts';
import {
  DEFAULT_EXAMINATION_LIMITS,
  type DoctorCheck,
  Examination,
  type ExaminationLimits,
  type ExaminationObserver,
} from './examination.ts';
import { KmeEnd, StoppedError } from './kme-end.ts';
import { examineSkip } from './skip-exam.ts';

/** One key manager, and who we are there. */
export interface ExaminedKme {
  readonly url: string;
  readonly saeId: string;
  /** Absent with `unsafePlainTcp`. A pre-shared key for SKIP only. */
  readonly tls?: KmeTls | PskTls;
}

export interface KmeExaminationOptions {
  /** The KME that keys are drawn from. */
  readonly own: ExaminedKme;
  readonly peerSaeId: string;
  /** The KME at the peer's end: keys are looked up there. Its `saeId` is `peerSaeId`. */
  readonly peer?: Omit<ExaminedKme, 'saeId'>;
  /** What the configuration says of these KMEs already. */
  readonly known?: KnownQuirks;
  /** 004 over plain TCP. */
  readonly unsafePlainTcp?: boolean;
  /** The present, in milliseconds since 1970: certificates are judged by it. */
  readonly nowMs: number;
  readonly observer?: ExaminationObserver;
  /** Ends it at once: the verdict has the checks so far, and a failed `conversation`. */
  readonly signal?: AbortSignal;
  readonly limits?: Partial<ExaminationLimits>;
  readonly clock?: Clock;
  readonly random?: (lengthBytes: number) => Uint8Array;
}

/** The verdict. `qstunnel doctor kme --json` prints it as it is. */
export interface KmeVerdict {
  /** Every check is. */
  readonly ok: boolean;
  readonly api: KdiApi;
  /** Of 004. */
  readonly dialect: Etsi004Dialect | null;
  /** Null: nothing was compared. */
  readonly keysEqual: boolean | null;
  readonly checks: readonly DoctorCheck[];
}

/**
 * Examines a key manager. What a KME does wrong is a failed check, never an error.
 *
 * @throws KdiError `ERR_KDI_URL` or `ERR_KDI_CONFIG` for options that make no sense, before anything is sent.
 */
export async function examineKme(options: KmeExaminationOptions): Promise<KmeVerdict> {
  const address = parseKmeUrl(options.own.url);
  const peerAddress = options.peer && parseKmeUrl(options.peer.url);
  expectSense(options, address, peerAddress);
  const limits = { ...DEFAULT_EXAMINATION_LIMITS, ...options.limits };
  const exam = new Examination(options.clock ?? systemClock, limits, options.observer);
  const comparison = new KeyComparison();
  const { signal } = options;
  const onStop = () => exam.stop();
  signal?.addEventListener('abort', onStop);
  if (signal?.aborted) onStop();
  try {
    const { own, peer, peerSaeId, nowMs } = options;
    const context: ExamContext = {
      exam,
      own: new KmeEnd(exam, { address, saeId: own.saeId, isPeer: false, nowMs, ...withTls(own.tls) }),
      ...(peer === undefined || peerAddress === undefined
        ? {}
        : {
            peer: new KmeEnd(exam, {
              address: peerAddress,
              saeId: peerSaeId,
              isPeer: true,
              nowMs,
              ...withTls(peer.tls),
            }),
          }),
      peerSaeId,
      known: options.known ?? {},
      random: options.random ?? randomBytes,
      comparison,
    };
    await converse(context);
  } finally {
    signal?.removeEventListener('abort', onStop);
    exam.end();
  }
  return {
    ok: exam.ok && comparison.keysEqual !== false,
    api: address.api,
    dialect: address.dialect ?? null,
    keysEqual: comparison.keysEqual,
    checks: exam.checks,
  };
}

async function converse(context: ExamContext): Promise<void> {
  const { own, peer, exam } = context;
  const ownUsable = own.checkOwnCertificate();
  const peerUsable = peer?.checkOwnCertificate() ?? true;
  if (!ownUsable || !peerUsable) return;
  try {
    const needs = await examine(context);
    if (needs !== undefined) await tryClient(context, needs);
  } catch (error) {
    if (error instanceof StoppedError) return;
    if (!isKdiError(error)) throw error;
    exam.failWith('conversation', null, error);
  }
}

function examine(context: ExamContext): Promise<KnownQuirks | undefined> {
  switch (context.own.options.address.api) {
    case 'etsi004':
      return examineEtsi004(context);
    case 'etsi014':
      return examineEtsi014(context);
    case 'skip':
      return examineSkip(context);
  }
}

function expectSense(
  { own, peer, peerSaeId, unsafePlainTcp = false }: KmeExaminationOptions,
  address: KmeAddress,
  peerAddress: KmeAddress | undefined,
): void {
  const bad = (message: string) => new KdiError(KdiErrorCode.config, message);
  if (own.saeId === peerSaeId) throw bad(`--sae and --peer-sae are both ${peerSaeId}: nobody is their own peer`);
  if (peerAddress !== undefined && peerAddress.api !== address.api) {
    throw bad(`the peer's KME is ${peerAddress.api}:// and ours ${address.api}://: a key has one API at both ends`);
  }
  for (const [kme, which] of [
    [own, address] as const,
    ...(peer && peerAddress ? [[peer, peerAddress] as const] : []),
  ]) {
    if (kme.tls !== undefined && 'psk' in kme.tls && which.api !== 'skip') {
      throw bad(
        `KME ${which.name} is ${which.api}://, which has no pre-shared keys: it needs a certificate, a key and a CA`,
      );
    }
    if (kme.tls !== undefined) continue;
    if (which.api !== 'etsi004') throw bad(`KME ${which.name} needs a certificate, a key and a CA`);
    if (!unsafePlainTcp) {
      throw bad(`KME ${which.name} needs a certificate, a key and a CA; plain TCP only by unsafe-plaintext-kme`);
    }
  }
}

function withTls(tls: ExaminedKme['tls']): Pick<ExaminedKme, 'tls'> {
  return tls === undefined ? {} : { tls };
}
