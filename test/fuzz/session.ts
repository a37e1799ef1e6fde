/** Fuzzing in a thread of its own, under a watchdog: time shared among the targets, findings collected. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import type { Answer, Request, ThreadData } from './fuzz-thread.ts';
import { SharedInput } from './shared-input.ts';
import type { Finding, Target } from './target.ts';

export interface SessionOptions {
  /** URL of a module that exports `targets`: the thread loads it for itself. */
  readonly targetsModule: string;
  readonly targets: readonly Target[];
  /** Indices in `targets`. */
  readonly chosen: readonly number[];
  readonly seed: number;
  /** No execution begins for so long: a hang. */
  readonly hangMs: number;
  /** Heap of the thread. */
  readonly maxHeapMiB: number;
}

export interface TargetReport {
  readonly target: Target;
  executions: number;
  spentMs: number;
  corpus: number;
  outcomes: number;
  finding?: Finding;
}

const threadUrl = new URL('./fuzz-thread.ts', import.meta.url);
/** Node 20 does not hand loaders on to a thread's first module, so that it is plain JavaScript. */
const BOOTSTRAP = `
  const { workerData } = require('node:worker_threads');
  import(workerData.loader).then(({ register }) => register()).then(() => import(workerData.thread));
`;

const WATCH_MS = 250;
/** A turn is long enough to be worth its two collections of garbage, and short enough that all get theirs. */
const MIN_TURN_MS = 200;
const MAX_TURN_MS = 5_000;
const TURNS_PER_TARGET = 8;

export class FuzzSession {
  readonly reports: readonly TargetReport[];
  readonly #options: SessionOptions;
  readonly #shared = new SharedInput();
  #scratchFolder: string | undefined;
  #worker: Worker | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.reports = options.chosen.map((index) => ({
      target: options.targets[index] as Target,
      executions: 0,
      spentMs: 0,
      corpus: 0,
      outcomes: 0,
    }));
  }

  /**
   * Fuzzes for so long; each target gets its share of the time in turns, until something is found in it. On a machine
   * that is too slow for that, each gets one turn all the same.
   */
  async run(seconds: number): Promise<void> {
    this.#worker ??= await this.#start();
    const endMs = performance.now() + 1_000 * seconds;
    const turnMs = (1_000 * seconds) / this.reports.length / TURNS_PER_TARGET;
    const boundedMs = Math.min(Math.max(turnMs, MIN_TURN_MS), MAX_TURN_MS);
    for (;;) {
      const leftMs = endMs - performance.now();
      const open = this.reports.filter(({ finding }) => finding === undefined);
      const waiting = open.some(({ executions }) => executions === 0);
      if (open.length === 0 || (leftMs <= 0 && !waiting)) return;
      const share = ({ spentMs, target }: TargetReport) => spentMs / (target.weight ?? 1);
      const next = open.reduce((least, report) => (share(report) < share(least) ? report : least));
      const startMs = performance.now();
      await this.#ask(next, { kind: 'turn', turnMs: Math.min(boundedMs, Math.max(leftMs, MIN_TURN_MS)) });
      next.spentMs += performance.now() - startMs;
    }
  }

  async runInput(input: Uint8Array): Promise<void> {
    for (const report of this.reports) await this.#ask(report, { kind: 'input', input });
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
    if (this.#scratchFolder !== undefined) await rm(this.#scratchFolder, { recursive: true, force: true });
  }

  async #ask(
    report: TargetReport,
    what: { readonly kind: 'turn'; readonly turnMs: number } | { readonly kind: 'input'; readonly input: Uint8Array },
  ): Promise<void> {
    const target = this.#options.targets.indexOf(report.target);
    const before = this.#shared.count;
    const answer = await this.#watched({ ...what, target });
    if ('kind' in answer) {
      report.executions += this.#shared.count - before;
      report.finding = answer;
      return;
    }
    report.executions += answer.executions;
    report.corpus = answer.corpus;
    report.outcomes = answer.outcomes;
    if (answer.finding !== undefined) report.finding = answer.finding;
  }

  /** The thread's answer, or why there is none: then the thread is gone, and the next question starts another. */
  async #watched(request: Request): Promise<Answer | Finding> {
    this.#worker ??= await this.#start();
    const worker = this.#worker;
    const outcome = await new Promise<Answer | { readonly kind: Finding['kind']; readonly description: string }>(
      (resolve) => {
        let count = this.#shared.count;
        let quietSinceMs = performance.now();
        const watch = setInterval(() => {
          if (this.#shared.count !== count) {
            count = this.#shared.count;
            quietSinceMs = performance.now();
          } else if (performance.now() - quietSinceMs > this.#options.hangMs) {
            settle({ kind: 'hang', description: `an execution has not ended after ${this.#options.hangMs} ms` });
          }
        }, WATCH_MS);
        const settle = (value: Answer | { kind: Finding['kind']; description: string }) => {
          clearInterval(watch);
          worker.off('message', settle).off('error', failed).off('exit', ended);
          resolve(value);
        };
        const failed = (error: Error & { code?: string }) => {
          const kind = error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : 'exception';
          settle({ kind, description: error.stack ?? error.message });
        };
        const ended = (code: number) => settle({ kind: 'exception', description: `the thread ended with ${code}` });
        worker.once('message', settle).once('error', failed).once('exit', ended);
        worker.postMessage(request);
      },
    );
    if (!('kind' in outcome)) return outcome;
    // What a stopped thread still says is no concern of ours.
    worker.on('error', () => {});
    await worker.terminate();
    this.#worker = undefined;
    const { target, input } = this.#shared.current;
    return { ...outcome, input, target: (this.#options.targets[target] as Target).name };
  }

  async #start(): Promise<Worker> {
    this.#scratchFolder ??= await mkdtemp(join(tmpdir(), 'qstunnel-fuzz-'));
    const data: ThreadData = {
      targetsModule: this.#options.targetsModule,
      seed: this.#options.seed,
      shared: this.#shared.buffer,
      scratchFolder: this.#scratchFolder,
    };
    const worker = new Worker(BOOTSTRAP, {
      eval: true,
      workerData: { ...data, loader: import.meta.resolve('tsx/esm/api'), thread: threadUrl.href },
      resourceLimits: { maxOldGenerationSizeMb: this.#options.maxHeapMiB },
    });
    // It says so when it has loaded everything; what goes wrong until then is no finding.
    await once(worker, 'message');
    return worker;
  }
}
