import { expect } from 'chai';
import { type BlockReport, QkdLink } from '../../../qkd-sim/link/link.ts';
import { expectedBlock } from '../../../qkd-sim/physics/expected-block.ts';
import { presets } from '../../../qkd-sim/physics/presets.ts';

/** Seeds were fixed before the first run; a failure is a finding, not a reason to pick others. */
const BLOCKS = 20;

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const standardError = (values: readonly number[]) => {
  const average = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - average) ** 2)) / (values.length - 1));
};

describe(`Monte Carlo link against its own model, means of ${BLOCKS} blocks`, () => {
  for (const lengthKm of [0, 25, 50]) {
    it(`at ${lengthKm} km`, async () => {
      const link = new QkdLink({ lengthKm, seed: `monte carlo ${lengthKm}` });
      const reports: BlockReport[] = [];
      for (let i = 0; i < BLOCKS; i++) reports.push((await link.nextBlock()).report);
      const of = (pick: (report: BlockReport) => number) => reports.map(pick);
      const leakBits = mean(of((report) => report.leakBits));
      const model = expectedBlock(presets.metro, lengthKm, { afterpulse: 'physical', leakBits });

      const compare = (name: string, values: readonly number[], expected: number) => {
        const [average, error] = [mean(values), standardError(values)];
        const line = `${name}: ${average} ± ${error}, model ${expected} (${(average - expected) / error} standard errors)`;
        expect(Math.abs(average - expected), line).to.be.below(3 * error);
        lines.push(line);
      };
      const lines: string[] = [];
      compare(
        'ℓ',
        of((report) => report.finalKeyBits),
        model.bound.lengthBits,
      );
      compare(
        'SKR',
        of((report) => report.skrBitsPerSecond),
        model.skrBitsPerSecond,
      );
      compare(
        'sifted rate',
        of((report) => report.siftedBitsPerSecond),
        model.siftedBitsPerSecond,
      );
      compare(
        'QBER',
        of((report) => report.qber),
        model.qber,
      );
      if (process.env.QSTUNNEL_TEST_PRINT !== undefined)
        process.stdout.write(
          `${lengthKm} km, f ${mean(of((r) => r.correctionEfficiency ?? 0))}\n${lines.join('\n')}\n`,
        );
    });
  }
});
