/** Judges the suites that .ci/run ran: `summary.mjs FOLDER SUITE…`. Its last line is the one that counts. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, ...suites] = process.argv.slice(2);
const read = (name) => readFileSync(join(folder, name), 'utf8').trim();

/** Lines of `SUITE PATTERN # reason`; an asterisk stands for every suite. */
const allowed = readFileSync(new URL('allowed-skips.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line.trim() !== '' && !line.startsWith('#'))
  .map((line) => {
    const [, suite, pattern, reason] = /^(\S+)\s+(.+?)\s+# (.+)$/.exec(line) ?? [];
    if (reason === undefined) throw new Error(`allowed-skips.txt: not understood: ${line}`);
    return { suite, pattern: new RegExp(pattern) };
  });

const total = { passed: 0, failed: 0, skipped: 0 };
const complaints = [];
for (const suite of suites) {
  if (!existsSync(join(folder, `${suite}.json`))) {
    complaints.push(`${suite}: ended without a report (exit code ${read(`${suite}.status`)}; 124 = out of time)`);
    continue;
  }
  const { passed, failures, skipped } = JSON.parse(read(`${suite}.json`));
  const failed = failures.length;
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped.length;
  if (passed === 0) complaints.push(`${suite}: no test passed`);
  // Again, and cut short: of a long output often only the end is kept.
  for (const failure of failures)
    complaints.push(`${suite} failed: ${failure.slice(0, 1_500).replaceAll('\n', '\n  ')}`);
  const status = read(`${suite}.status`);
  if (failed === 0 && status !== '0')
    complaints.push(`${suite}: exit code ${status} (124 = something kept it running)`);
  for (const title of skipped) {
    const known = allowed.some((one) => (one.suite === '*' || one.suite === suite) && one.pattern.test(title));
    if (!known) complaints.push(`${suite}: skipped without leave: ${title}`);
  }
  for (const what of ['files', 'processes']) {
    const left = read(`${suite}.${what}`);
    if (left !== '') complaints.push(`${suite}: left behind (${what}): ${left.replaceAll('\n', ', ')}`);
  }
}
if (total.passed === 0) complaints.push('no test ran');
for (const complaint of complaints) process.stdout.write(`${complaint}\n`);
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
if (complaints.length > 0) process.exitCode = 1;
