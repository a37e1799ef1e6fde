/** docs/tls-requirements.md and the cases say the same. */
import { expect } from 'chai';
import { alertName } from '../../../tls-ext/index.ts';
import { channelCases } from '../key-channel/cases.ts';
import { allCases } from './cases/index.ts';
import { isNamedTest, readDocument } from './named-tests.ts';

interface Row {
  readonly ends: string;
  readonly named: readonly string[];
  readonly titles: readonly string[];
  readonly text: string;
}

const captured = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name as string);

/** `both: x` and `each: x` stand for the case of each role, of TLS and of the key channel. */
const expand = (name: string) => {
  const roles = name.startsWith('both: ') ? ['client', 'server'] : ['answerer', 'drawer'];
  return /^(?:both|each): /.test(name) ? roles.map((role) => role + name.slice(4)) : [name];
};

const rows: readonly Row[] = readDocument('tls-requirements.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| Section'))
  .map((line) => {
    const cells = line.slice(2, -2).split(' | ');
    const cell = cells[4] ?? '';
    return {
      ends: cells[3] ?? '',
      named: captured(cell, /`((?:client|server|both|answerer|drawer|each): [^`]*)`/g).flatMap(expand),
      titles: captured(cell, /(?<![\w*])\*([^*]+)\*/g),
      text: cell.replaceAll(/`[^`]*`|\*[^*]*\*|<br>/g, '').trim(),
    };
  });

/** Each case with its end, as the table writes it. */
const cases: readonly (readonly [name: string, end: string])[] = [
  ...allCases.map(({ name, ends }) => {
    return [name, ends === 'connected' ? ends : `${alertName(ends[1])} (${ends[0]})`] as const;
  }),
  ...channelCases.map(({ name, ends }) => {
    return [name, ends === 'open' ? ends : `${ends[1] ?? 'no abort'} (${ends[0]})`] as const;
  }),
];

describe('docs/tls-requirements.md', () => {
  const endOf = new Map(cases);

  it('cases have names of their own', () => {
    expect(endOf.size).to.equal(cases.length);
  });

  it('names cases that exist, with the end that they expect', () => {
    const wrong = rows.flatMap(({ named, ends }) =>
      named.flatMap((name) => {
        const end = endOf.get(name);
        if (end === undefined) return [`${name}: no such case`];
        return end === ends ? [] : [`${name}: ends with ${end}, the table says ${ends}`];
      }),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('names every case', () => {
    const named = new Set(rows.flatMap((row) => row.named));
    expect(cases.map(([name]) => name).filter((name) => !named.has(name))).to.deep.equal([]);
  });

  it('names tests that exist', () => {
    expect(rows.flatMap(({ titles }) => titles).filter((title) => !isNamedTest(title))).to.deep.equal([]);
  });

  it('has a case, a test or a reason in every row', () => {
    expect(rows.length).to.be.greaterThan(100);
    for (const { named, titles, text } of rows) {
      if (named.length + titles.length === 0) expect(text.length, text).to.be.greaterThan(20);
    }
  });
});
