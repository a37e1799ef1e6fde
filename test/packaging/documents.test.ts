import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { documents, fragmentsOf, ROOT, relativeLinks, textOf } from './documents.ts';

describe('the documents', () => {
  it('have links that lead somewhere, to sections too', () => {
    const links = relativeLinks();
    expect(links.length).to.be.greaterThan(40);
    expect(links.some(({ fragment }) => fragment !== undefined)).to.equal(true);
    const dead = links.filter(({ file, fragment }) => {
      if (!existsSync(join(ROOT, file))) return true;
      return fragment !== undefined && !fragmentsOf(file).includes(fragment);
    });
    expect(dead).to.deep.equal([]);
  });

  it('name no files of the project that are not there', () => {
    const named = documents.flatMap((document) =>
      [
        ...textOf(document).matchAll(
          /`((?:\.ci|certs|docs|kdi-client|proxy|qkd-sim|scripts|test|tls-ext)\/[\w./-]*)`/g,
        ),
      ].map(([, path = '']) => ({ document, path })),
    );
    expect(named.length).to.be.greaterThan(40);
    expect(named.filter(({ path }) => !existsSync(join(ROOT, path)))).to.deep.equal([]);
  });
});
