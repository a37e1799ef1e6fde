import type { BlockReport, Simulator } from '../../qkd-sim/index.ts';
import { percent } from './text.ts';
import type { DemoView } from './view.ts';

const BLOCK_TIMEOUT_MS = 60_000;

/** Waits for blocks of the link, and shows its progress meanwhile. */
export class LinkWatch {
  readonly #waiting = new Set<{ wanted: (report: BlockReport) => boolean; found: (report: BlockReport) => void }>();

  constructor(simulator: Simulator, view: DemoView) {
    simulator.subscribe((event) => {
      if (event.type === 'progress') {
        const { fraction, qber, linkSeconds } = event.progress;
        const errors = qber === undefined ? '' : `, QBER so far ${percent(qber)}`;
        if (this.#waiting.size > 0) view.progress(fraction, `link time ${linkSeconds.toFixed(0)} s${errors}`);
      } else if (event.type === 'block') {
        for (const waiter of this.#waiting) if (waiter.wanted(event.report)) waiter.found(event.report);
      }
    });
  }

  block(wanted: (report: BlockReport) => boolean, what: string, signal: AbortSignal): Promise<BlockReport> {
    return new Promise((resolve, reject) => {
      const giveUp = () =>
        done(() => reject(signal.aborted ? signal.reason : new Error(`the link did not make ${what}`)));
      const timer = setTimeout(giveUp, BLOCK_TIMEOUT_MS);
      const waiter = { wanted, found: (report: BlockReport) => done(() => resolve(report)) };
      const done = (settle: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        this.#waiting.delete(waiter);
        settle();
      };
      signal.addEventListener('abort', giveUp);
      this.#waiting.add(waiter);
    });
  }
}
