/** Runs spin's exhaustive search on a model, in a folder of its own outside of the repository. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** All of them. */
export const models = ['handshake-psk', 'key-channel', 'rekey'] as const;
export type ModelName = (typeof models)[number];

const run = promisify(execFile);

/** What pan said of a model. */
export interface SearchResult {
  readonly errors: number;
  /** Whether every reachable state was visited, within the depth and the memory given. */
  readonly complete: boolean;
  readonly states: number;
  readonly output: string;
}

export function modelPath(name: ModelName): URL {
  return new URL(`../../tls-ext/models/${name}.pml`, import.meta.url);
}

/** Whether spin and gcc can be started. */
export async function canRunSpin(): Promise<boolean> {
  try {
    await run('spin', ['-V']);
    await run('gcc', ['--version']);
    return true;
  } catch {
    return false;
  }
}

/**
 * Searches a model for assertion violations and invalid end states.
 * `brokenRule` is the model's -DBREAK, 0 for none. Rejects if a tool fails.
 */
export async function searchModel(name: ModelName, brokenRule: number): Promise<SearchResult> {
  const folder = await mkdtemp(join(tmpdir(), 'qstunnel-spin-'));
  try {
    await run('spin', ['-a', `-DBREAK=${brokenRule}`, fileURLToPath(modelPath(name))], { cwd: folder });
    // A search that ends at the first error is not worth an optimiser's time.
    await run('gcc', [brokenRule === 0 ? '-O2' : '-O0', '-DSAFETY', '-DMEMLIM=2048', '-o', 'pan', 'pan.c'], {
      cwd: folder,
    });
    const { stdout } = await run('./pan', ['-m100000'], { cwd: folder });
    const count = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
    return {
      errors: count(/errors: (\d+)/),
      complete: !/not completed|max search depth too small|out of memory/.test(stdout),
      states: count(/(\d+) states, stored/),
      output: stdout,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
