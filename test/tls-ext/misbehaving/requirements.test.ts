/** docs/tls-requirements.md and the cases say the same. */
import { expect } from 'chai';
import { alertName } from '../../../tls-ext/index.ts';
import { allCases } from './cases/index.ts';
import { isNamedTest, readDocument } from './named-tests.ts';

interface Row {
  readonly ends: string;
  readonly cases: readonly string[];
  readonly titles: readonly string[];
  readonly text: string;
}

const captured = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name as string);

/** `both: x` stands for the case of each role. */
const expand = (name: string) =>
  name.startsWith('both: ') ? ['client', 'server'].map((role) => role + name.slice(4)) : [name];

const rows: readonly Row[] = readDocument('tls-requirements.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| Section'))
  .map((line) => {
    const cells = line.slice(2, -2).split(' | ');
    const cell = cells[4] ?? '';
    return {
      ends: cells[3] ?? '',
      cases: captured(cell, /`((?:client|server|both): [^`]*)`/g).flatMap(expand),
      titles: captured(cell, /(?<![\w*])\*([^*]+)\*/g),
      text: cell.replaceAll(/`[^`]*`|\*[^*]*\*|<br>/g, '').trim(),
    };
  });

const endOf = ({ ends }: (typeof allCases)[number]) =>
  ends === 'connected' ? 'connected' : `${alertName(ends[1])} (${ends[0]})`;

describe('docs/tls-requirements.md', () => {
  const byName = new Map(allCases.map((one) => [one.name, one]));

  it('cases have names of their own', () => {
    expect(byName.size).to.equal(allCases.length);
  });

  it('names cases that exist, with the end that they expect', () => {
    const wrong = rows.flatMap(({ cases, ends }) =>
      cases.flatMap((name) => {
        const found = byName.get(name);
        if (found === undefined) return [`${name}: no such case`];
        return endOf(found) === ends ? [] : [`${name}: ends with ${endOf(found)}, the table says ${ends}`];
      }),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('names every case', () => {
    const named = new Set(rows.flatMap(({ cases }) => cases));
    expect(allCases.filter(({ name }) => !named.has(name)).map(({ name }) => name)).to.deep.equal([]);
  });

  it('names tests that exist', () => {
    expect(rows.flatMap(({ titles }) => titles).filter((title) => !isNamedTest(title))).to.deep.equal([]);
  });

  it('has a case, a test or a reason in every row', () => {
    expect(rows.length).to.be.greaterThan(100);
    for (const { cases, titles, text } of rows) {
      if (cases.length + titles.length === 0) expect(text.length, text).to.be.greaterThan(20);
    }
  });
});
