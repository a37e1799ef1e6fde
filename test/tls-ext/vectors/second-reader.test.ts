import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { vectorsFile } from './all-vectors.ts';
import { findPython, readVectors } from './second-reader.ts';

/** Mutations are of values and digits that a seed picks; all values are in second-reader.long.ts. */
const MUTATIONS_PER_VECTOR = '3';
const SEED = '1';

describe('the second reader of the test vectors', function () {
  this.timeout(120_000);
  const path = fileURLToPath(vectorsFile);
  let python: string;
  let folder: string;

  before('needs python3 with python3-cryptography', async function () {
    const found = await findPython();
    if (found === undefined) this.skip();
    python = found;
    folder = await mkdtemp(join(tmpdir(), 'qstunnel-vectors-'));
  });

  after(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  it('derives every secret from the draft alone, and notices changed digits', async () => {
    const { said, failed } = await readVectors(python, path, '--mutate', MUTATIONS_PER_VECTOR, SEED);
    expect(failed).to.equal(undefined);
    const [, vectors, noticed] = /^(\d+) vectors.*\n(\d+) changed digits: each was noticed\n$/.exec(said ?? '') ?? [];
    const headings = (await readFile(path, 'utf8')).match(/^## /gm) ?? [];
    expect(Number(vectors)).to.equal(headings.length);
    expect(Number(noticed)).to.equal(Number(MUTATIONS_PER_VECTOR) * headings.length);
  });

  for (const [what, change, reason] of [
    ['a digit of a key', [/(input qkd_key .*\n)(.)/, flip], /used-etsi014-certificates/],
    ['a digit of a secret', [/(secret main_secret_0 .*\n)(.)/, flip], /main_secret_0/],
    ['a line that is gone', [/(record 1 client .*\n).*\n/, '$1'], /digits announced/],
    ['a value that is gone', [/record 2 server .*\n(?:[0-9a-f]+\n)+/, ''], /that no record holds/],
    ['a secret that nobody derives', [/secret main_secret_0 /, 'secret main_secret_9 '], /not derived: main_secret_9/],
  ] as const) {
    it(`fails on ${what}`, async () => {
      const [pattern, replacement] = change;
      const text = await readFile(path, 'utf8');
      const changed = text.replace(pattern, replacement as string);
      expect(changed).not.to.equal(text);
      const file = join(folder, 'changed.md');
      await writeFile(file, changed);
      const { failed } = await readVectors(python, file);
      expect(failed).to.match(reason);
    });
  }
});

function flip(_: string, head: string, digit: string): string {
  return head + (Number.parseInt(digit, 16) ^ 1).toString(16);
}
