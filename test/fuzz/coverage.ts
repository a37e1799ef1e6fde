import { Session } from 'node:inspector';

interface FunctionCoverage {
  readonly functionName: string;
  readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[];
}

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly FunctionCoverage[];
}

/** V8's block coverage of the project's own code in this thread, sampled by its inspector. */
export class Coverage {
  readonly #session = new Session();
  readonly #seen = new Set<string>();

  /** `first`: only what has never run before is reported, which costs less; `each`: what ran since the last look. */
  constructor(reports: 'first' | 'each' = 'first') {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: reports === 'each', detailed: true });
  }

  /** How many ranges ran since the last call that had never run before. */
  takeNew(): number {
    const before = this.#seen.size;
    for (const { url, functions } of this.#take()) {
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0) this.#seen.add(`${url}:${startOffset}:${endOffset}`);
        }
      }
    }
    return this.#seen.size - before;
  }

  /** Names of functions and classes that ran since the last call. */
  takeNames(): Set<string> {
    const names = new Set<string>();
    for (const { functions } of this.#take()) {
      for (const { functionName, ranges } of functions)
        if (ranges.some(({ count }) => count > 0)) names.add(functionName);
    }
    return names;
  }

  stop(): void {
    this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  /** Sessions within a process answer at once. */
  #take(): ScriptCoverage[] {
    let taken: readonly ScriptCoverage[] = [];
    this.#session.post('Profiler.takePreciseCoverage', (_error, { result }) => {
      taken = result;
    });
    return taken.filter(({ url }) => {
      return url.startsWith('file:') && !url.includes('/node_modules/') && !url.includes('/test/');
    });
  }
}
