import { performance } from 'node:perf_hooks';
import type { Coverage } from './coverage.ts';
import { mutate, type Random, seededRandom } from './mutate.ts';

/** `run` throws on what is a finding, and on nothing else. */
export interface Target {
  readonly name: string;
  readonly seeds: () => readonly Uint8Array[];
  readonly run: (input: Uint8Array) => void;
}

export interface Finding {
  readonly target: string;
  readonly input: Uint8Array;
  readonly error: unknown;
}

/** Executions between two looks at the coverage. */
const BATCH = 64;
const MAX_CORPUS = 512;
/** One execution that takes longer is a finding. */
const MAX_EXECUTION_MS = 2_000;

export interface FuzzLimits {
  /** Asked between batches. */
  readonly goOn: (executions: number) => boolean;
  readonly coverage?: Coverage;
}

/** Fuzzes one target until `goOn` says no or something is found. The same seed and number of executions give the same inputs, but for what coverage keeps. */
export function fuzzTarget(
  target: Target,
  seed: number,
  limits: FuzzLimits,
): { executions: number; finding?: Finding } {
  const random = seededRandom(seed);
  const corpus = [...target.seeds()];
  let executions = 0;
  for (const input of corpus) {
    executions++;
    const finding = execute(target, input);
    if (finding !== undefined) return { executions, finding };
  }
  limits.coverage?.takeNew();
  while (limits.goOn(executions)) {
    const batch = nextBatch(corpus, random);
    for (const input of batch) {
      executions++;
      const finding = execute(target, input);
      if (finding !== undefined) return { executions, finding };
    }
    // Which of the batch it was costs more to ask than to carry a few too many.
    if ((limits.coverage?.takeNew() ?? 0) > 0) corpus.push(...batch.slice(0, MAX_CORPUS - corpus.length));
  }
  return { executions };
}

function nextBatch(corpus: readonly Uint8Array[], random: Random): Uint8Array[] {
  const any = () => corpus[random(corpus.length)] as Uint8Array;
  return Array.from({ length: BATCH }, () => mutate(any(), random, any()));
}

export function execute(target: Target, input: Uint8Array): Finding | undefined {
  const startMs = performance.now();
  try {
    target.run(input.slice());
  } catch (error) {
    return { target: target.name, input, error };
  }
  const tookMs = performance.now() - startMs;
  if (tookMs <= MAX_EXECUTION_MS) return undefined;
  return { target: target.name, input, error: new Error(`one execution took ${Math.round(tookMs)} ms`) };
}
