import { expect } from 'chai';
import { FuzzSession } from './session.ts';
import { targets } from './targets/index.ts';

const SECONDS = 60;
const HANG_MS = 30_000;

describe('fuzzing', () => {
  it(`every target for its share of ${SECONDS} s: nothing is found`, async () => {
    const session = new FuzzSession({
      targetsModule: new URL('./targets/index.ts', import.meta.url).href,
      targets,
      chosen: [...targets.keys()],
      // Another run, another seed; a finding names its input, which says all.
      seed: process.pid,
      hangMs: HANG_MS,
      maxHeapMiB: 512,
    });
    try {
      await session.run(SECONDS);
      const findings = session.reports.flatMap(({ finding }) => (finding === undefined ? [] : [finding]));
      const told = findings.map(
        ({ target, kind, description, input }) =>
          `${target}: ${kind}: ${description}\ninput in base64: ${Buffer.from(input).toString('base64')}`,
      );
      expect(told).to.deep.equal([]);
      const idle = session.reports.filter(({ executions }) => executions === 0).map(({ target }) => target.name);
      expect(idle, 'targets that got no turn').to.deep.equal([]);
    } finally {
      await session.close();
    }
  });
});
