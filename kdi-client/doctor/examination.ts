/** The course of one examination: its checks, what is being waited for, and how much time is left. */
import type { Cancel, Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import type { Clause } from './clauses.ts';

/** One line of the verdict. */
export interface DoctorCheck {
  /** Stable; docs/doctor.md lists them. Those about the peer's KME start with `peer-`. */
  readonly id: string;
  /** False: qstunnel, set up as the doctor was told, would stumble here. */
  readonly ok: boolean;
  /** What the check rests on; null where no standard says anything. */
  readonly clause: string | null;
  /** For a human, one line. Never holds a key. */
  readonly detail: string;
  /** A line of the configuration that copes, such as `key-size-in-bytes: true`. */
  readonly configHint: string | null;
}

/** How a check looks to a human. `note`: not as the standard says, or worth knowing, and nothing has to be done. */
export type CheckTone = 'good' | 'note' | 'bad';

/** Hears of the examination while it runs. */
export interface ExaminationObserver {
  onCheck?(check: DoctorCheck, tone: CheckTone): void;
  /** What is being waited for now. */
  onWaiting?(what: string): void;
}

export interface ExaminationLimits {
  /** The whole of it. */
  readonly totalMs: number;
  /** Until TCP and TLS stand. */
  readonly connectMs: number;
  /** For one reply. */
  readonly replyMs: number;
}

/** Together under 15 s, with the start of a process: a KME that is silent is told apart from a slow one long before. */
export const DEFAULT_EXAMINATION_LIMITS: ExaminationLimits = { totalMs: 11_000, connectMs: 4_000, replyMs: 4_000 };

/** Longest text of a KME that is repeated in a detail. */
const MAX_DETAIL_CHARS = 600;

export class Examination {
  readonly clock: Clock;
  readonly limits: ExaminationLimits;
  readonly #observer: ExaminationObserver;
  readonly #checks: DoctorCheck[] = [];
  readonly #abort = new AbortController();
  readonly #endsAtMs: number;
  readonly #cancelEnd: Cancel;
  #awaited = 'the first connection';
  #isStopped = false;

  constructor(clock: Clock, limits: ExaminationLimits, observer: ExaminationObserver = {}) {
    this.clock = clock;
    this.limits = limits;
    this.#observer = observer;
    this.#endsAtMs = clock.now() + limits.totalMs;
    this.#cancelEnd = clock.schedule(() => this.#abort.abort(), limits.totalMs);
  }

  get checks(): readonly DoctorCheck[] {
    return this.#checks;
  }

  get ok(): boolean {
    return this.#checks.every(({ ok }) => ok);
  }

  /** Aborts when the time for the whole is over, or nobody waits for it any more. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get remainingMs(): number {
    return Math.max(0, this.#endsAtMs - this.clock.now());
  }

  pass(id: string, clause: Clause | null, detail: string, configHint?: string): void {
    this.#add('good', { id, ok: true, clause, detail, configHint: configHint ?? null });
  }

  /** Passes, and deserves to be read. */
  note(id: string, clause: Clause | null, detail: string, configHint?: string): void {
    this.#add('note', { id, ok: true, clause, detail, configHint: configHint ?? null });
  }

  fail(id: string, clause: Clause | null, detail: string, configHint?: string): void {
    this.#add('bad', { id, ok: false, clause, detail, configHint: configHint ?? null });
  }

  /** The error's message and code as a failed check. Other errors are bugs and go on. */
  failWith(id: string, clause: Clause | null, error: unknown): void {
    if (!isKdiError(error)) throw error;
    this.fail(id, clause, `${error.message} (${error.code})`);
  }

  /** What `run` resolves to; undefined if it failed, which is then a failed check. */
  async attempt<T>(id: string, clause: Clause | null, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      this.failWith(id, clause, error);
      return undefined;
    }
  }

  waitingFor(what: string): void {
    if (this.#abort.signal.aborted) {
      throw new KdiError(
        KdiErrorCode.timeout,
        `the examination ended at its limit of ${this.limits.totalMs / 1000} s, before ${what}`,
      );
    }
    this.#awaited = what;
    this.#observer.onWaiting?.(what);
  }

  /** Nobody waits for the rest. The check `conversation` says so; the KME is not blamed for what was under way. */
  stop(): void {
    if (this.#isStopped) return;
    const detail = `stopped from outside, while waiting for ${this.#awaited}; the rest was not asked`;
    this.fail('conversation', null, detail);
    this.#isStopped = true;
    this.#abort.abort();
  }

  /** Resolves after `ms`, or when the time for the whole is over. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#abort;
      const end = () => {
        cancel();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const cancel = this.clock.schedule(end, Math.min(ms, this.remainingMs));
      signal.addEventListener('abort', end);
    });
  }

  /** Stops its timer. */
  end(): void {
    this.#cancelEnd();
  }

  #add(tone: CheckTone, check: DoctorCheck): void {
    if (this.#isStopped) return;
    const detail = printable(check.detail);
    const told: DoctorCheck = { ...check, detail, configHint: check.configHint && printable(check.configHint) };
    this.#checks.push(told);
    this.#observer.onCheck?.(told, tone);
  }
}

/** Text that holds what a KME said, in one line that no terminal takes for commands. */
export function printable(text: string): string {
  return text.replace(/\p{C}+/gu, '?').slice(0, MAX_DETAIL_CHARS);
}
