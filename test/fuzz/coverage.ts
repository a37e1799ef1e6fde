import { Session } from 'node:inspector';

interface Taken {
  result: { url: string; functions: { ranges: { startOffset: number; endOffset: number; count: number }[] }[] }[];
}

/** V8's block coverage of the project's own code, counted as ranges seen for the first time. */
export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true });
  }

  /** How many ranges ran since the last call that had never run before. In-process sessions answer at once. */
  takeNew(): number {
    let taken: Taken = { result: [] };
    this.#session.post('Profiler.takePreciseCoverage', (_error, result) => {
      taken = result as unknown as Taken;
    });
    const before = this.#seen.size;
    for (const { url, functions } of taken.result) {
      if (!url.startsWith('file:') || url.includes('/node_modules/') || url.includes('/test/')) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0) this.#seen.add(`${url}:${startOffset}:${endOffset}`);
        }
      }
    }
    return this.#seen.size - before;
  }

  stop(): void {
    this.#session.disconnect();
  }
}
