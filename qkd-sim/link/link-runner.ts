import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { expectLinkConfig } from './link.ts';
import type { BlockProgress, BlockReport, LinkConfig } from './link-types.ts';
import type { RunnerMessage, WorkerMessage } from './link-worker.ts';

export type LinkEvent =
  | { readonly type: 'progress'; readonly progress: BlockProgress }
  /** A block is over. The receiver owns the keys (present unless aborted) and wipes them. */
  | {
      readonly type: 'block';
      readonly report: BlockReport;
      readonly aliceKey?: Uint8Array;
      readonly bobKey?: Uint8Array;
    }
  | { readonly type: 'cut' }
  | { readonly type: 'healed' }
  /** The worker died; nothing more comes. */
  | { readonly type: 'failed'; readonly error: Error };

export interface LinkRunnerOptions {
  /** Simulated seconds per wall second; `Infinity` (default) is as fast as it computes. */
  readonly speed?: number;
  /** Called for every event, in order. Never after `stop()` was called. */
  readonly onEvent: (event: LinkEvent) => void;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Blocks to run before going idle; default no end. */
  readonly blocks?: number;
}

/**
 * Runs a `QkdLink` in a worker thread, paced by a virtual clock. The worker
 * computes one stretch of pulses (½ s of link time) at a time and waits until
 * the clock has come that far, so that a change takes effect at once however
 * slow the clock runs.
 */
export class LinkRunner {
  readonly #config: LinkConfig;
  readonly #onEvent: (event: LinkEvent) => void;
  readonly #clock: Clock;
  #speed: number;
  #blocksLeft: number;
  #interceptFraction: number;
  #worker: Worker | undefined;
  #stopping: Promise<void> | undefined;
  #isCut = false;
  /** The worker's last message, until its time has come. */
  #held: WorkerMessage | undefined;
  #cancelTimer = () => {};
  /** Link time and wall time that belong together; set anew whenever the pace changes. */
  #anchor = { linkSeconds: 0, wallMs: 0 };
  #linkSeconds = 0;

  /** Throws `RangeError` on a figure out of range. */
  constructor(config: LinkConfig, options: LinkRunnerOptions) {
    expectLinkConfig(config);
    this.#config = config;
    this.#onEvent = options.onEvent;
    this.#clock = options.clock ?? systemClock;
    this.#speed = expectSpeed(options.speed ?? Number.POSITIVE_INFINITY);
    this.#blocksLeft = options.blocks ?? Number.POSITIVE_INFINITY;
    this.#interceptFraction = config.eavesdropper?.interceptFraction ?? 0;
  }

  /** Starts the worker; resolves when it runs. Once only. */
  async start(): Promise<void> {
    if (this.#worker !== undefined || this.#stopping !== undefined) throw new Error('a link is started once');
    const config: LinkConfig = { ...this.#config, eavesdropper: { interceptFraction: this.#interceptFraction } };
    const worker = newWorker(config);
    this.#worker = worker;
    this.#setAnchor();
    worker.on('message', (message: WorkerMessage) => this.#receive(message));
    worker.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', (code) => this.#fail(new Error(`the link's worker ended with code ${code}`)));
    await once(worker, 'online');
  }

  /** Intercept-resend on this fraction (0 to 1) of the pulses, from the next stretch on, in mid-block too. */
  setEavesdropper(interceptFraction: number): void {
    expectLinkConfig({ ...this.#config, eavesdropper: { interceptFraction } });
    this.#interceptFraction = interceptFraction;
    this.#post({ type: 'eavesdropper', interceptFraction });
  }

  /** Changes the acceleration from now on. */
  setSpeed(speed: number): void {
    this.#speed = expectSpeed(speed);
    this.#setAnchor();
    this.#schedule();
  }

  /** No light and no messages get through: the link stands still until `heal()`, with what it has. */
  cut(): void {
    if (this.#isCut || this.#stopping !== undefined) return;
    this.#isCut = true;
    this.#cancelTimer();
    this.#onEvent({ type: 'cut' });
  }

  heal(): void {
    if (!this.#isCut || this.#stopping !== undefined) return;
    this.#isCut = false;
    this.#setAnchor();
    this.#onEvent({ type: 'healed' });
    this.#schedule();
  }

  /** Ends the worker and every timer. Resolves when nothing is left. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #end(): Promise<void> {
    this.#cancelTimer();
    this.#wipeHeld();
    await this.#worker?.terminate();
  }

  #receive(message: WorkerMessage): void {
    this.#held = message;
    if (this.#stopping !== undefined) this.#wipeHeld();
    else this.#schedule();
  }

  /** Hands the held message on now, or when the virtual clock has reached it. */
  #schedule(): void {
    this.#cancelTimer();
    if (this.#held === undefined || this.#isCut || this.#stopping !== undefined) return;
    const dueMs = this.#anchor.wallMs + ((linkSecondsOf(this.#held) - this.#anchor.linkSeconds) * 1000) / this.#speed;
    const delayMs = dueMs - this.#clock.nowMs();
    if (delayMs <= 0) this.#deliver();
    else this.#cancelTimer = this.#clock.setTimer(Math.min(delayMs, MAX_TIMER_MS), () => this.#schedule());
  }

  #deliver(): void {
    const message = this.#held as WorkerMessage;
    this.#held = undefined;
    this.#linkSeconds = linkSecondsOf(message);
    this.#onEvent(message);
    if (message.type === 'block' && --this.#blocksLeft <= 0) return;
    this.#post({ type: 'go' });
  }

  #fail(error: Error): void {
    if (this.#stopping !== undefined) return;
    this.#onEvent({ type: 'failed', error });
    void this.stop();
  }

  #post(message: RunnerMessage): void {
    if (this.#stopping === undefined) this.#worker?.postMessage(message);
  }

  #setAnchor(): void {
    this.#anchor = { linkSeconds: this.#linkSeconds, wallMs: this.#clock.nowMs() };
  }

  #wipeHeld(): void {
    if (this.#held?.type === 'block') {
      this.#held.aliceKey?.fill(0);
      this.#held.bobKey?.fill(0);
    }
    this.#held = undefined;
  }
}

/** Timers hold at most this much; a longer wait is taken in parts. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function linkSecondsOf(message: WorkerMessage): number {
  return message.type === 'block' ? message.report.endLinkSeconds : message.progress.linkSeconds;
}

function expectSpeed(speed: number): number {
  if (!(speed > 0)) throw new RangeError(`speed is ${speed}, more than 0 wanted`);
  return speed;
}

/** From dist/ the worker is a .js file, from the source tree a .ts one. */
function newWorker(config: LinkConfig): Worker {
  const inSource = process.features.typescript ? 'link-worker.ts' : 'link-worker-from-source.mjs';
  const file = import.meta.url.endsWith('.ts') ? inSource : 'link-worker.js';
  return new Worker(new URL(file, import.meta.url), { workerData: config });
}
