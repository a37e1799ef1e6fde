import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { canRunSpin, modelPath, models, searchModel } from './spin.ts';

describe('Promela models, broken on purpose', () => {
  before(`needs spin and gcc`, async function () {
    if (!(await canRunSpin())) this.skip();
  });

  for (const name of models) {
    it(`${name} fails with any of its rules left out`, async () => {
      const text = await readFile(modelPath(name), 'utf8');
      const rules = new Set([...text.matchAll(/BREAK [!=]= (\d+)/g)].map(([, rule]) => Number(rule)));
      expect(rules.size).to.be.at.least(8);
      for (const rule of rules) {
        const { errors, output } = await searchModel(name, rule);
        expect(errors, `rule ${rule} of ${name} left out:\n${output}`).to.be.greaterThan(0);
      }
    });
  }
});
