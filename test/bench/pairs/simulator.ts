import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { start } from '../processes.ts';

const BIN = fileURLToPath(new URL('../../../proxy/bin.mjs', import.meta.url));
/** The simulated key managers' stores hold this many keys. */
const STORE_KEYS = 20_000;

export interface SimulatedKme {
  readonly etsi004: string;
  readonly etsi014: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** A simulated link that makes keys as fast as the machine computes them, and its two key managers. */
export async function startSimulator(): Promise<{
  child: ReturnType<typeof start>;
  kmes: readonly SimulatedKme[];
}> {
  const child = start(process.execPath, [
    ...[BIN, 'sim', 'up', '--preset', 'metro', '--length', '0', '--speed', '1000000', '--json'],
    ...['--store-keys', String(STORE_KEYS)],
  ]);
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error(`qstunnel sim up ended:\n${child.output()}`))),
  ])) as [string];
  return { child, kmes: (JSON.parse(line) as { kmes: SimulatedKme[] }).kmes };
}
