/** Fuzzing of one target: a corpus that grows by what is new, and judgement on each execution. */
import { performance } from 'node:perf_hooks';
import type { Coverage } from './coverage.ts';
import { bytesInUse, collectGarbage } from './memory.ts';
import { MAX_INPUT_BYTES, mutate } from './mutate.ts';
import { pick, type Random, seededRandom } from './random.ts';
import type { Finding, Outcome, Target } from './target.ts';

/** Executions between two looks at the coverage, and the least time: a look costs milliseconds. */
const MIN_BATCH = 64;
const MIN_BATCH_MS = 25;
const MAX_BATCH = 4_096;
const MAX_CORPUS = 1_024;
const MAX_CORPUS_BYTES = 4 * 2 ** 20;
/** Of a batch that ran new code, how many are kept: which one it was is not known. */
const KEPT_OF_BATCH = 16;
const MAX_OUTCOMES = 512;
/** Processor time of one execution that is a finding. */
export const MAX_EXECUTION_MS = 2_000;
/** What one execution may allocate, and what all of them together may keep. */
export const MAX_EXECUTION_BYTES = 64 * 2 ** 20;
export const MAX_KEPT_BYTES = 64 * 2 ** 20;

/** Told before each execution, so that somebody else knows the input if it never ends. */
export type Announce = (target: Target, input: Uint8Array) => void;

export interface FuzzOptions {
  readonly coverage?: Coverage;
  readonly announce?: Announce;
}

export class TargetFuzzer {
  readonly target: Target;
  executions = 0;
  readonly corpus: Uint8Array[] = [];
  readonly outcomes = new Set<string>();
  readonly #random: Random;
  readonly #options: FuzzOptions;
  #corpusBytes = 0;
  /** What all turns together left behind, without the corpus. */
  #grownBytes = 0;

  constructor(target: Target, seed: number, options: FuzzOptions = {}) {
    this.target = target;
    this.#random = seededRandom(seed);
    this.#options = options;
  }

  /**
   * Fuzzes until `goOn`, asked now and then, says no, or something is found. `keptMemory`: memory that this turn and
   * those before left behind is looked for, which costs as much as thousands of executions.
   */
  async run(goOn: () => boolean, keptMemory = false): Promise<Finding | undefined> {
    if (this.corpus.length === 0) {
      const seeds = this.target.seeds();
      for (const seed of seeds) this.#keep(seed);
      const finding = await this.#batch(seeds);
      if (finding !== undefined) return finding;
      this.#options.coverage?.takeNew();
    }
    const heldBefore = keptMemory ? this.#heldBytes() : 0;
    while (goOn()) {
      const inputs: Uint8Array[] = [];
      const finding = await this.#batch(this.#changed(inputs, goOn));
      if (finding !== undefined) return finding;
      if ((this.#options.coverage?.takeNew() ?? 0) > 0) {
        for (let left = Math.min(KEPT_OF_BATCH, inputs.length); left > 0; left--) {
          this.#keep(inputs.splice(this.#random(inputs.length), 1)[0] as Uint8Array);
        }
      }
    }
    if (!keptMemory) return undefined;
    this.#grownBytes += this.#heldBytes() - heldBefore;
    if (this.#grownBytes < MAX_KEPT_BYTES) return undefined;
    const description = `${Math.round(this.#grownBytes / 2 ** 20)} MiB are kept after ${this.executions} executions`;
    return this.#finding('memory', this.corpus.at(-1) as Uint8Array, description);
  }

  /** One input; for reproduction and reduction. */
  async execute(input: Uint8Array): Promise<Finding | undefined> {
    return this.#execute(input);
  }

  *#changed(made: Uint8Array[], goOn: () => boolean): Generator<Uint8Array> {
    const startMs = performance.now();
    while (made.length < MAX_BATCH) {
      if (made.length >= MIN_BATCH && performance.now() - startMs > MIN_BATCH_MS) return;
      if (made.length % MIN_BATCH === MIN_BATCH - 1 && !goOn()) return;
      const input = this.#next();
      made.push(input);
      yield input;
    }
  }

  #next(): Uint8Array {
    const random = this.#random;
    const { fresh, mutate: own, dictionary } = this.target;
    const base = fresh !== undefined && random(8) === 0 ? fresh(random) : pick(random, this.corpus);
    const other = pick(random, this.corpus);
    if (own !== undefined && random(4) > 0) {
      const changed = own(base, random, other);
      // Text that is no UTF-8 triples each time that it is written again, and is kept for what came of it.
      if (changed.length <= MAX_INPUT_BYTES) return changed;
    }
    return mutate(base, random, other, dictionary);
  }

  async #batch(inputs: Iterable<Uint8Array>): Promise<Finding | undefined> {
    for (const input of inputs) {
      const finding = await this.#execute(input);
      if (finding !== undefined) return finding;
    }
    return undefined;
  }

  async #execute(input: Uint8Array): Promise<Finding | undefined> {
    this.executions++;
    this.#options.announce?.(this.target, input);
    const startMs = performance.now();
    const before = bytesInUse();
    try {
      const running = this.target.run(input.slice());
      this.#note(input, running instanceof Promise ? await running : running);
    } catch (error) {
      const description = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return this.#finding('exception', input, description);
    }
    const allocated = bytesInUse() - before;
    if (allocated >= MAX_EXECUTION_BYTES) {
      return this.#finding('memory', input, `one execution allocates ${Math.round(allocated / 2 ** 20)} MiB`);
    }
    if (performance.now() - startMs <= MAX_EXECUTION_MS) return undefined;
    // A busy machine makes everything slow: again, by processor time.
    const cpuBefore = process.cpuUsage();
    await this.target.run(input.slice());
    const { user, system } = process.cpuUsage(cpuBefore);
    const tookMs = Math.round((user + system) / 1000);
    if (tookMs <= MAX_EXECUTION_MS) return undefined;
    return this.#finding('slow', input, `one execution took ${tookMs} ms of processor time`);
  }

  /** Numbers and quoted input would make a new outcome of every byte. */
  #note(input: Uint8Array, outcome: Outcome): void {
    if (outcome === undefined || this.outcomes.size >= MAX_OUTCOMES) return;
    const kind = outcome.replace(/'[^']*'|"[^"]*"|0x[0-9a-f]+|[0-9]+/g, '#').slice(0, 200);
    if (this.outcomes.has(kind)) return;
    this.outcomes.add(kind);
    this.#keep(input);
  }

  #keep(input: Uint8Array): void {
    this.#corpusBytes += input.length;
    const room = this.corpus.length < MAX_CORPUS && this.#corpusBytes <= MAX_CORPUS_BYTES;
    if (room || this.corpus.length === 0) {
      this.corpus.push(input);
      return;
    }
    const replaced = this.#random(this.corpus.length);
    this.#corpusBytes -= (this.corpus[replaced] as Uint8Array).length;
    this.corpus[replaced] = input;
  }

  /** What is in use after everything that can be collected was, but for the corpus. */
  #heldBytes(): number {
    collectGarbage();
    return bytesInUse() - this.#corpusBytes;
  }

  #finding(kind: Finding['kind'], input: Uint8Array, description: string): Finding {
    return { target: this.target.name, kind, input, description };
  }
}
