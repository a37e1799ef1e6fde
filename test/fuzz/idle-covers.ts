/** Prints, as JSON, what targets say they cover and their seeds don't run. A process of its own: its coverage starts with nothing compiled. */
import { Coverage } from './coverage.ts';
import { targets } from './targets/index.ts';

const idle: string[] = [];
const coverage = new Coverage('each');
for (const { name, covers, seeds, run } of targets) {
  // The one that needs a folder to write to.
  if (covers === undefined || name === 'ledger-file') continue;
  const inputs = seeds();
  // What making the seeds ran says nothing.
  coverage.takeNames();
  for (const seed of inputs) await run(seed.slice());
  const ran = coverage.takeNames();
  idle.push(...covers.filter((one) => !ran.has(one)).map((one) => `${name}: ${one}`));
}
coverage.stop();
console.log(JSON.stringify(idle));
