import { expect } from 'chai';
import { FOLDERS, sourceFiles } from './source-files.ts';

/** Files may be this long, tests included: longer ones have two topics. */
const MAX_LINES = 450;

/** Clock, randomness and output are injected into these folders. */
const CORES = ['tls-ext', 'kdi-client', 'qkd-sim', 'certs'] as const;

/** Where the cores meet node's own APIs, which speak Buffer. */
const BUFFER_EDGES = [
  'certs/',
  'kdi-client/doctor/etsi014-replies.ts',
  'kdi-client/etsi004/transport.ts',
  'kdi-client/etsi014/',
  'kdi-client/http/',
  'kdi-client/kme-tls.ts',
  'kdi-client/ledger/',
  'kdi-client/skip/',
  'qkd-sim/kme/',
  'tls-ext/crypto/',
  'tls-ext/record/buffer-pool.ts',
];

describe('architecture: rules', () => {
  const cores = CORES.flatMap((folder) => sourceFiles(folder));
  const all = [...FOLDERS, 'test'].flatMap((folder) => sourceFiles(folder));

  const linesWith = (files: typeof all, banned: RegExp) =>
    files.flatMap(({ path, code }) => {
      return code.split('\n').flatMap((line, i) => (banned.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []));
    });

  const bans: readonly (readonly [string, RegExp])[] = [
    ['Math.random', /\bMath\s*\.\s*random\b/],
    ['Date.now or new Date()', /\bDate\s*\.\s*now\b|\bnew Date\(\s*\)/],
    ['the console', /\bconsole\s*\./],
    ['process.env and process.std…', /\bprocess\s*\.\s*(?:env|stdout|stderr|stdin|argv)\b/],
  ];
  for (const [what, banned] of bans) {
    it(`the cores don't use ${what}`, () => expect(linesWith(cores, banned)).to.deep.equal([]));
  }

  it("the cores use Buffer only at node's edges", () => {
    const inner = cores.filter(({ path }) => !BUFFER_EDGES.some((edge) => path.startsWith(edge)));
    // `as Buffer` changes a type that node declares too narrowly, and no value.
    expect(linesWith(inner, /(?<!\bas )\bBuffer\b/)).to.deep.equal([]);
  });

  it('no test is skipped or alone by accident', () => {
    const tests = all.filter(({ path }) => path.startsWith('test/'));
    expect(
      linesWith(tests, /\b(?:describe|it)\.only\b|\bx(?:it|describe)\(|^\s*(?:describe|it)\.skip\(/),
    ).to.deep.equal([]);
  });

  it(`files have at most ${MAX_LINES} lines and kebab-case names`, () => {
    const long = all.filter(({ text }) => text.split('\n').length > MAX_LINES + 1);
    expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length - 1}`)).to.deep.equal([]);
    const named = all.filter(
      ({ path }) => !/^[a-z0-9-]+(?:\.(?:test|long))?\.ts$/.test(path.split('/').pop() as string),
    );
    expect(named.map(({ path }) => path)).to.deep.equal([]);
    const vague = all.filter(({ path }) => /(?:^|\/)(?:utils?|helpers?|common|manager)(?:\.|\/|-)/.test(path));
    expect(vague.map(({ path }) => path)).to.deep.equal([]);
  });
});
