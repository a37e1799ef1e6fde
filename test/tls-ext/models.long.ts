import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { canRunSpin, modelPath, models, searchModel } from './spin.ts';

/** Long and not in the suite, which CI runs on two Nodes: what spin finds is the same on both. */
describe('Promela models', () => {
  before(`needs spin and gcc`, async function () {
    if (!(await canRunSpin())) this.skip();
  });

  it('are all of them searched here', async () => {
    const files = (await readdir(new URL('.', modelPath('rekey')))).filter((name) => name.endsWith('.pml')).sort();
    expect(files).to.deep.equal(models.map((name) => `${name}.pml`));
  });

  for (const name of models) {
    it(`${name} holds in every state that can be reached`, async () => {
      const result = await searchModel(name, 0);
      expect(result.errors, result.output).to.equal(0);
      expect(result.complete, result.output).to.equal(true);
      // A model in which little happens would hold as well.
      expect(result.states).to.be.greaterThan(1_000_000);
    });
  }

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
