/** `npm run fuzz -- --time SECONDS [--target NAME] [--seed N] [--list] [--input FILE]` */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { Coverage } from './coverage.ts';
import { execute, type Finding, fuzzTarget } from './fuzz.ts';
import { targets } from './targets.ts';

const { values } = parseArgs({
  options: {
    time: { type: 'string', default: '60' },
    target: { type: 'string' },
    seed: { type: 'string', default: '1' },
    input: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});
const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target);
const seconds = Number(values.time);
const seed = Number(values.seed);
if (chosen.length === 0 || !(seconds > 0) || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run fuzz -- --time SECONDS [--target NAME] [--seed N] [--list] [--input FILE]');
  process.exit(2);
}
if (values.list) {
  for (const { name } of targets) console.log(name);
  process.exit(0);
}

const findings: Finding[] = [];
let executions = 0;
if (values.input === undefined) {
  const coverage = new Coverage();
  for (const target of chosen) {
    const endMs = performance.now() + (1000 * seconds) / chosen.length;
    const result = fuzzTarget(target, seed, { coverage, goOn: () => performance.now() < endMs });
    executions += result.executions;
    if (result.finding !== undefined) findings.push(result.finding);
    console.error(`${target.name}: ${result.executions} executions${result.finding ? ', a finding' : ''}`);
  }
  coverage.stop();
} else {
  const input = new Uint8Array(readFileSync(values.input));
  for (const target of chosen) {
    executions++;
    const finding = execute(target, input);
    if (finding !== undefined) findings.push(finding);
  }
}

for (const { target, input, error } of findings) {
  const file = join(mkdtempSync(join(tmpdir(), 'qstunnel-fuzz-')), target);
  writeFileSync(file, input);
  console.log(`${target}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  console.log(`  reproduce: npm run fuzz -- --target ${target} --input ${file}`);
}
console.log(`${executions} executions, ${chosen.length} targets, ${findings.length} findings`);
process.exitCode = findings.length > 0 ? 1 : 0;
