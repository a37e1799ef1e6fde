/**
 * `npm run interop`: the interoperation matrix with every peer that is here.
 * Prints tables, writes JSON if asked to, ends with 1 if a cell has failed.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { describeChoice } from './axes.ts';
import { Credentials } from './credentials.ts';
import { fetchPeers } from './fetch.ts';
import { type FoundPeer, findPeers, isFound, type MissingPeer } from './find-peers.ts';
import { cellsOf, type Strength } from './matrix.ts';
import { OWN_ENDS } from './peers/own-ends.ts';
import { type CellResult, legend, reportOf, tablesOf } from './report.ts';
import { CellRunner } from './run-cell.ts';

const USAGE = `usage: npm run interop -- [option ...]
  --peer NAME   only this peer, NAME or NAME@PLACE; may be repeated
  --filter TEXT only cells whose name holds this
  --product     every combination of values, not every pair
  --json FILE   write the results to this file
  --fetch       first get the newer peers, from Debian and npm
  --list        say which peers are here, and run nothing`;

const options = optionsOrUsage();

const say = (text: string) => process.stderr.write(`${text}\n`);

if (options.fetch) fetchPeers(say);

const wanted = ({ id }: { readonly id: string }) =>
  options.peer?.some((name) => id === name || id.startsWith(`${name}@`)) ?? true;
const all = findPeers().filter(wanted);
const peers = all.filter(isFound);
const missing = all.filter((peer): peer is MissingPeer => !isFound(peer));

if (options.list) {
  for (const { id, title } of peers) process.stdout.write(`${id}: ${title}\n`);
  for (const { id, missing: why } of missing) process.stdout.write(`${id}: ${why}\n`);
} else {
  process.exitCode = await run();
}

/** Our own ends are cheap, and nobody else tests them. */
function strengthFor({ peer }: FoundPeer): Strength {
  return options.product || peer.name === OWN_ENDS ? 'product' : 2;
}

function optionsOrUsage() {
  try {
    return parseArgs({
      options: {
        peer: { type: 'string', multiple: true },
        filter: { type: 'string' },
        product: { type: 'boolean', default: false },
        json: { type: 'string' },
        fetch: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}\n`);
    process.exit(2);
  }
}

async function run(): Promise<number> {
  const results: CellResult[] = [];
  const credentials = await Credentials.create();
  try {
    for (const peer of peers) {
      const runner = await CellRunner.create(credentials);
      try {
        for (const { role, choice } of cellsOf(peer, strengthFor(peer))) {
          const name = describeChoice(choice);
          if (options.filter !== undefined && !name.includes(options.filter)) continue;
          const startedMs = performance.now();
          const error = await runner.run({ peer, role, choice }).then(() => undefined, String);
          const milliseconds = Math.round(performance.now() - startedMs);
          results.push({ peer: peer.id, role, choice, milliseconds, ...(error === undefined ? {} : { error }) });
          if (error !== undefined) say(`FAILED ${peer.title} as ${role}: ${name}\n${error}`);
        }
      } finally {
        await runner.close();
      }
      const own = results.filter((result) => result.peer === peer.id);
      say(`${peer.title}: ${own.length} cells, ${own.filter(({ error }) => error !== undefined).length} failed`);
    }
  } finally {
    credentials.remove();
  }
  const report = reportOf(peers, missing, results);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
  process.stdout.write(`${tablesOf(report)}\n\nFeatures:\n\n${legend()}\n`);
  return results.some(({ error }) => error !== undefined) ? 1 : 0;
}
