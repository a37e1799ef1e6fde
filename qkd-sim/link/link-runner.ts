import type { Clock } from '../kernel/clock.ts';
import type { BlockProgress, BlockReport, LinkConfig } from './link-types.ts';

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
  /** Called for every event, in order. Never after `stop()` has resolved. */
  readonly onEvent: (event: LinkEvent) => void;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** Blocks to run before going idle; default no end. */
  readonly blocks?: number;
}

/** Runs a `QkdLink` in a worker thread, paced by a virtual clock. */
export class LinkRunner {
  constructor(_config: LinkConfig, _options: LinkRunnerOptions) {}

  /** Starts the worker; resolves when it runs. */
  async start(): Promise<void> {}

  /** From the next chunk of pulses on, in mid-block too. */
  setEavesdropper(_interceptFraction: number): void {}

  /** Changes the acceleration from now on. */
  setSpeed(_speed: number): void {}

  cut(): void {}

  heal(): void {}

  /** Ends the worker and every timer. Resolves when nothing is left. Idempotent. */
  async stop(): Promise<void> {}
}
