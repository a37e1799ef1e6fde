import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { canRunSpin, searchModel } from './spin.ts';

const folder = new URL('../../tls-ext/models/', import.meta.url);
const models = ['handshake-psk', 'key-channel', 'rekey'];
/** Each model's bound on time is 60 s on a quiet machine; a shared one may need more. */
const TIMEOUT_MS = 300_000;

describe('Promela models', function () {
  this.timeout(TIMEOUT_MS);

  before(`needs spin and gcc`, async function () {
    if (!(await canRunSpin())) this.skip();
  });

  it('are all of them searched here', async () => {
    const files = (await readdir(folder)).filter((name) => name.endsWith('.pml')).sort();
    expect(files).to.deep.equal(models.map((name) => `${name}.pml`));
  });

  for (const name of models) {
    describe(name, () => {
      const path = new URL(`${name}.pml`, folder).pathname;

      it('holds in every state that can be reached', async () => {
        const result = await searchModel(path, 0);
        expect(result.errors, result.output).to.equal(0);
        expect(result.complete, result.output).to.equal(true);
        // A model in which little happens would hold as well.
        expect(result.states).to.be.greaterThan(1_000_000);
      });

      it('fails with any of its rules left out', async () => {
        const text = await readFile(path, 'utf8');
        const rules = new Set([...text.matchAll(/BREAK [!=]= (\d+)/g)].map(([, rule]) => Number(rule)));
        expect(rules.size).to.be.at.least(8);
        for (const rule of rules) {
          const { errors, output } = await searchModel(path, rule);
          expect(errors, `rule ${rule} of ${name} left out:\n${output}`).to.be.greaterThan(0);
        }
      });
    });
  }
});
