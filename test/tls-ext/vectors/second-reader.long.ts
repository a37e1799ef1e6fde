import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { vectorsFile } from './all-vectors.ts';
import { findPython, readVectors } from './second-reader.ts';

describe('the second reader of the test vectors, thoroughly', () => {
  let python: string;

  before('needs python3 with python3-cryptography', async function () {
    const found = await findPython();
    if (found === undefined) this.skip();
    python = found;
  });

  it('notices a changed digit in every single value', async () => {
    const { said, failed } = await readVectors(python, fileURLToPath(vectorsFile), '--mutate', '0', '2');
    expect(failed).to.equal(undefined);
    expect(said).to.match(/ (\d+) values: .*\n\1 changed digits: each was noticed\n$/);
  });
});
