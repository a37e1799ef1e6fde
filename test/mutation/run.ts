/**
 * `npm run mutate [-- --file PART_OF_PATH] [--lines FROM-TO] [--static] [--json FILE] [--list] [--progress]`: mutates
 * file by file, and judges what survived. `--static`: also what runs only while modules are loaded, each in a process
 * of its own.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Stryker } from '@stryker-mutator/core';
import { explained } from './explained.ts';
import { SPEC_VARIABLE, STATIC_VARIABLE } from './mocha-runner.ts';
import { type MutatedFile, mutatedFiles } from './mutated-files.ts';

type Mutant = Awaited<ReturnType<Stryker['runMutationTest']>>[number];

const { values } = parseArgs({
  options: {
    file: { type: 'string', default: '' },
    json: { type: 'string' },
    list: { type: 'boolean', default: false },
    progress: { type: 'boolean', default: false },
    static: { type: 'boolean', default: false },
    lines: { type: 'string' },
  },
});
const chosen = mutatedFiles.filter(({ file }) => file.includes(values.file));
if (chosen.length === 0) {
  console.error(
    'usage: npm run mutate [-- --file PART_OF_PATH] [--lines FROM-TO] [--static] [--json FILE] [--list] [--progress]',
  );
  process.exit(2);
}
if (values.list) {
  for (const { file } of chosen) console.log(file);
  process.exit(0);
}

process.chdir(fileURLToPath(new URL('../..', import.meta.url)));
// Stryker's helper processes load our plugins, which are TypeScript, and so do those of the tests.
process.env.NODE_OPTIONS = '--import=tsx';
if (values.static) process.env[STATIC_VARIABLE] = 'yes';

let unexplained = 0;
const results: object[] = [];
for (const mutated of chosen) {
  const mutants = await mutate(mutated);
  const tested = mutants.filter(({ status }) => status !== 'Ignored' && status !== 'CompileError');
  const alive = tested.filter(({ status }) => status === 'Survived' || status === 'NoCoverage');
  const broken = tested.filter(({ status }) => status === 'RuntimeError');
  const source = readFileSync(mutated.file, 'utf8').split('\n');
  const reasons = explained.filter(({ file }) => file === mutated.file);
  const open = alive.filter((mutant) => !reasons.some((reason) => explains(reason, mutant, source)));
  // Of a part of a file nothing can be said of the reasons for the rest.
  const stale = (values.lines === undefined ? reasons : []).filter(
    (reason) => !alive.some((mutant) => explains(reason, mutant, source)),
  );
  const counts = {
    file: mutated.file,
    mutants: tested.length,
    killed: tested.length - alive.length - broken.length,
    explained: alive.length - open.length,
    unexplained: open.length,
  };
  results.push(counts);
  unexplained += open.length + stale.length + broken.length;
  console.log(`${mutated.file}: ${counts.mutants} mutants, ${counts.killed} killed, ${counts.explained} explained`);
  for (const mutant of open) console.log(`  ${mutant.status}: ${describe(mutant, source)}`);
  for (const mutant of broken) console.log(`  could not run: ${describe(mutant, source)}`);
  for (const { line } of stale) console.log(`  explained, but killed or gone: ${line}`);
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`);
console.log(`${chosen.length} files, ${unexplained} mutants without an explanation`);
process.exitCode = unexplained > 0 ? 1 : 0;

async function mutate({ file, tests }: MutatedFile): Promise<Mutant[]> {
  process.env[SPEC_VARIABLE] = (await Promise.all(tests.map(testFiles))).flat().join(',');
  const temporary = await mkdtemp(join(tmpdir(), 'qstunnel-mutate-'));
  try {
    return await new Stryker({
      mutate: [values.lines === undefined ? file : `${file}:${values.lines}`],
      testRunner: 'mocha',
      plugins: ['./test/mutation/mocha-runner.ts', './test/mutation/error-texts.ts'],
      ignorers: ['error-texts'],
      coverageAnalysis: 'perTest',
      // Endless loops are cut by the instrumentation; a machine that is busy is no reason to take a mutant for killed.
      timeoutMS: 60_000,
      ignoreStatic: !values.static,
      concurrency: 1,
      // None: types are erased before the tests run, and a mutant that would not compile is a mutant all the same.
      tsconfigFile: 'none.json',
      ignorePatterns: ['dist', 'coverage'],
      tempDirName: temporary,
      reporters: values.progress ? ['progress-append-only'] : [],
      logLevel: 'error' as never,
      allowEmpty: false,
    }).runMutationTest();
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function testFiles(path: string): Promise<string[]> {
  if (path.endsWith('.test.ts')) return [path];
  const names = await readdir(path);
  return names.filter((name) => name.endsWith('.test.ts')).map((name) => `${path}/${name}`);
}

function explains(reason: (typeof explained)[number], mutant: Mutant, source: readonly string[]): boolean {
  if (lineOf(mutant, source) !== reason.line) return false;
  return reason.replacement === undefined || reason.replacement === replacementOf(mutant);
}

/** On one line, whatever the printer made of it. */
function replacementOf({ replacement = '' }: Mutant): string {
  return replacement.replace(/\s+/g, ' ');
}

function lineOf({ location }: Mutant, source: readonly string[]): string {
  return (source[location.start.line - 1] ?? '').trim();
}

function describe(mutant: Mutant, source: readonly string[]): string {
  const { line, column } = mutant.location.start;
  const replacement = replacementOf(mutant).slice(0, 200);
  return `${line}:${column} ${mutant.mutatorName}: ${lineOf(mutant, source)} → ${replacement}`;
}
