import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { FOLDERS, ROOT, sourceFiles } from './source-files.ts';

/** Codes of Node that the program reads and does not make. */
const NODES_OWN = /^ERR_(?:SSL|TLS_CERT_ALTNAME_INVALID|OSSL|STREAM|SOCKET|INVALID|HTTP2|SERVER|MODULE)/;

describe('architecture: error codes', () => {
  const documented = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');
  const rows = [...documented.matchAll(/^\| `(ERR_[A-Z0-9_]+)` \|(.*)\|(.*)\|$/gm)];

  /** Codes of string literals, not of comments. */
  const inCode = new Set(
    [
      ...FOLDERS.flatMap((folder) => sourceFiles(folder)).map(({ text }) => text),
      readFileSync(join(ROOT, 'proxy/bin.mjs'), 'utf8'),
    ]
      .flatMap((text) => [...text.matchAll(/'(ERR_[A-Z0-9_]+)'/g)].map(([, code]) => code as string))
      .filter((code) => !NODES_OWN.test(code)),
  );

  it('are all in docs/errors.md, and no others', () => {
    expect(inCode.size).to.be.greaterThan(50);
    expect(rows.map(([, code]) => code)).to.have.members([...inCode]);
  });

  it('stand there once, with a meaning and an advice', () => {
    const codes = rows.map(([, code]) => code);
    expect(codes.filter((code, i) => codes.indexOf(code) !== i)).to.deep.equal([]);
    for (const [, code, meaning, advice] of rows) {
      expect(meaning?.trim().length, `meaning of ${code}`).to.be.greaterThan(10);
      expect(advice?.trim().length, `advice for ${code}`).to.be.greaterThan(5);
    }
  });
});
