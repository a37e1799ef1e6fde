import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { makeVectors, vectorsFile, vectorsText } from './all-vectors.ts';
import { readDraft } from './draft-code-points.ts';
import { type Vector, vectorText } from './vector-text.ts';

describe('test vectors of the draft', () => {
  let vectors: readonly Vector[];
  let written: string;

  before(async () => {
    vectors = makeVectors();
    written = await readFile(vectorsFile, 'utf8');
  });

  it('are those of a fresh run, byte for byte', () => {
    for (const vector of vectors) {
      expect(written.includes(vectorText(vector)), `${vector.name} is another one: npm run vectors`).to.equal(true);
    }
    expect(written === vectorsText(vectors), 'the file is another one: npm run vectors').to.equal(true);
  });

  it('have names of their own, and values in the form of appendix A', () => {
    expect(new Set(vectors.map(({ name }) => name)).size).to.equal(vectors.length);
    for (const line of written.split('\n')) {
      if (/^[0-9a-f]*$/.test(line)) expect(line.length).to.be.at.most(64);
    }
  });

  it('are listed in the draft, all of them', async () => {
    const { text } = await readDraft();
    const section = text.slice(text.indexOf('### A.4.'));
    const listed = [...section.matchAll(/^\| ([a-z0-9, -]+) \|/gm)].flatMap(([, names = '']) => names.split(', '));
    expect(listed.filter((name) => name.includes('-')).sort()).to.deep.equal(vectors.map(({ name }) => name).sort());
  });

  it('cover what the issue of the draft lists', () => {
    const names = vectors.map(({ name }) => name);
    const wanted = [
      /^used-etsi004/,
      /^used-etsi014/,
      /^used-skip/,
      /certificates$/,
      /psk-only$/,
      /hello-retry-request/,
    ];
    wanted.push(/^fallback-not-offered/, /^fallback-unavailable/, /^fallback-policy/, /^refusal/, /^binder-failure/);
    wanted.push(/^resumption-resumed/, /^rekey-/, /^channel-etsi004/, /^channel-etsi014/);
    for (const pattern of wanted)
      expect(
        names.some((name) => pattern.test(name)),
        String(pattern),
      ).to.equal(true);
  });
});
