/** The thread that fuzzes: it may hang or run out of memory, and is then ended by the one that started it. */
import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { Coverage } from './coverage.ts';
import { TargetFuzzer } from './fuzz.ts';
import { reduce } from './reduce.ts';
import { useScratchFolder } from './scratch.ts';
import { SharedInput } from './shared-input.ts';
import type { Finding, Target } from './target.ts';

export interface ThreadData {
  readonly targetsModule: string;
  readonly seed: number;
  readonly shared: SharedArrayBuffer;
  readonly scratchFolder: string;
}

/** A turn of one target, or one input for it. */
export type Request =
  | { readonly kind: 'turn'; readonly target: number; readonly turnMs: number }
  | { readonly kind: 'input'; readonly target: number; readonly input: Uint8Array };

export interface Answer {
  readonly executions: number;
  readonly corpus: number;
  readonly outcomes: number;
  readonly finding?: Finding;
}

/** From here on it is worth to look for memory that is kept. */
const LONG_TURN_MS = 2_000;

const { targetsModule, seed, shared, scratchFolder } = workerData as ThreadData;
useScratchFolder(scratchFolder);
const { targets } = (await import(targetsModule)) as { targets: readonly Target[] };
const input = new SharedInput(shared);
const coverage = new Coverage();
const fuzzers = targets.map((target, index) => {
  return new TargetFuzzer(target, seed, {
    coverage,
    announce: (_target, bytes) => input.announce(index, bytes),
  });
});

async function answer(request: Request): Promise<Answer> {
  const fuzzer = fuzzers[request.target] as TargetFuzzer;
  const before = fuzzer.executions;
  let finding: Finding | undefined;
  if (request.kind === 'input') finding = await fuzzer.execute(request.input);
  else {
    // From when the collections of garbage are over, which on a busy machine can take as long as a turn.
    let endMs: number | undefined;
    const goOn = () => {
      endMs ??= performance.now() + request.turnMs;
      return performance.now() < endMs;
    };
    finding = await fuzzer.run(goOn, request.turnMs >= LONG_TURN_MS);
    if (finding?.kind === 'exception') finding = await reduce(fuzzer, finding);
  }
  return {
    executions: fuzzer.executions - before,
    corpus: fuzzer.corpus.length,
    outcomes: fuzzer.outcomes.size,
    ...(finding === undefined ? {} : { finding }),
  };
}

parentPort?.on('message', (request: Request) => {
  void answer(request).then((message) => parentPort?.postMessage(message));
});
parentPort?.postMessage('ready');
