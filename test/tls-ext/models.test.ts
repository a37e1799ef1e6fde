import { readdir } from 'node:fs/promises';
import { expect } from 'chai';
import { canRunSpin, modelPath, models, searchModel } from './spin.ts';

/** Each model's bound on time is 60 s on a quiet machine; a shared one may need more. */
const TIMEOUT_MS = 300_000;

describe('Promela models', function () {
  this.timeout(TIMEOUT_MS);

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
});
