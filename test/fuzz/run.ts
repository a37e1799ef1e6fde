/**
 * `npm run fuzz -- --time SECONDS [--target NAME] [--seed N] [--list] [--input FILE] [--targets MODULE]`
 *
 * `--targets` fuzzes those of another module, such as one with planted bugs.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { FuzzSession } from './session.ts';
import type { Target } from './target.ts';

const { values } = parseArgs({
  options: {
    time: { type: 'string', default: '60' },
    target: { type: 'string' },
    seed: { type: 'string', default: '1' },
    input: { type: 'string' },
    list: { type: 'boolean', default: false },
    targets: { type: 'string' },
    'hang-after': { type: 'string', default: '20' },
  },
});
const targetsModule = (
  values.targets === undefined ? new URL('./targets/index.ts', import.meta.url) : pathToFileURL(resolve(values.targets))
).href;
const { targets } = (await import(targetsModule)) as { targets: readonly Target[] };
const chosen = [...targets.keys()].filter((i) => values.target === undefined || targets[i]?.name === values.target);
const seconds = Number(values.time);
const seed = Number(values.seed);
const hangMs = 1_000 * Number(values['hang-after']);
if (chosen.length === 0 || !(seconds > 0) || !Number.isSafeInteger(seed) || !(hangMs > 0)) {
  console.error(
    'usage: npm run fuzz -- --time SECONDS [--target NAME] [--seed N] [--hang-after SECONDS] [--list] [--input FILE] [--targets MODULE]',
  );
  process.exit(2);
}
if (values.list) {
  for (const { name } of targets) console.log(name);
  process.exit(0);
}

const session = new FuzzSession({ targetsModule, targets, chosen, seed, hangMs, maxHeapMiB: 512 });
try {
  if (values.input === undefined) await session.run(seconds);
  else await session.runInput(new Uint8Array(readFileSync(values.input)));
} finally {
  await session.close();
}

let executions = 0;
let findings = 0;
for (const report of session.reports) {
  executions += report.executions;
  const { finding, target } = report;
  const found = finding === undefined ? '' : `, ${finding.kind}`;
  console.error(
    `${target.name}: ${report.executions} executions in ${(report.spentMs / 1_000).toFixed(1)} s, ${report.outcomes} outcomes, ${report.corpus} kept${found}`,
  );
  if (finding === undefined) continue;
  findings++;
  const file = join(mkdtempSync(join(tmpdir(), 'qstunnel-fuzz-')), finding.target);
  writeFileSync(file, finding.input);
  const others = values.targets === undefined ? '' : ` --targets ${values.targets}`;
  console.log(`${finding.target}: ${finding.kind}: ${finding.description}`);
  console.log(`  reproduce: npm run fuzz -- --target ${finding.target} --input ${file}${others}`);
}
console.log(`${executions} executions, ${chosen.length} targets, ${findings} findings`);
process.exitCode = findings > 0 ? 1 : 0;
