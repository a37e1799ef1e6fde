/** What `qstunnel keys` draws on terminals of different widths, and where there is none. */
import { expect } from 'chai';
import { keysView } from '../../proxy/cli/keys-view.ts';
import type { KeyReport, PoolReport } from '../../proxy/key-report/key-report.ts';

const POOL: PoolReport = {
  service: 'records-database',
  sae: 'siteA',
  peerSae: 'siteB',
  kme: '127.0.0.1:45961',
  api: 'etsi014',
  state: 'ok',
  keys: 979,
  capacity: 1024,
  keySizeBits: 256,
  lowWatermark: 3,
  highWatermark: 4,
  ratePerSecond: -1.5,
  exhaustionSeconds: 653,
  faults: [],
  note: null,
};
const FAULT = { at: '2026-11-27T01:01:27.090Z', code: 'ERR_KDI_CONNECT', message: 'no connection: ECONNREFUSED' };
const REPORT: KeyReport = {
  ok: false,
  source: 'kme',
  at: '2026-11-27T01:01:27.090Z',
  pools: [POOL, { ...POOL, peerSae: 'siteC', state: 'unreachable', keys: null, capacity: null, faults: [FAULT] }],
};

describe('qstunnel keys: what is drawn', () => {
  const environment = { ...process.env };
  beforeEach(() => {
    process.env.TERM = 'xterm';
    process.env.NO_COLOR = '1';
  });
  afterEach(() => {
    process.env = { ...environment };
  });

  function drawn(stream: object, report = REPORT, everyMs?: number, times = 1): string {
    let text = '';
    const write = (more: string) => {
      text += more;
      return true;
    };
    const view = keysView({ write, ...stream } as unknown as NodeJS.WriteStream, false, everyMs);
    for (let i = 0; i < times; i++) view.show(report);
    view.end();
    return text;
  }

  for (const columns of [60, 80, 100, 120]) {
    it(`no line is wider than a terminal of ${columns} columns, and the state is always there`, () => {
      const lines = drawn({ isTTY: true, columns, rows: 24 }).split('\n');
      for (const line of lines) expect(line.length, line).to.be.at.most(columns);
      expect(lines[1])
        .to.match(/^\S.*siteB|^siteB/)
        .and.match(/979 of 1024/)
        .and.match(/ ok$/);
      expect(lines[2]).to.match(/ unreachable$/);
      expect(lines[0]?.startsWith('SERVICE'), 'what is left out first').to.equal(columns >= 120);
      expect(lines.join(' ')).to.include('ECONNREFUSED (ERR_KDI_CONNECT)');
    });
  }

  it('where there is no terminal: all of it, a line for each pool and fault, without control characters', () => {
    const text = drawn({}, REPORT, 2_000, 2);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for.
    expect(text).not.to.match(/[\u0000-\u0009\u000b-\u001f]/);
    expect(text.match(/^SERVICE .* STATE$/gm)).to.have.length(2);
    expect(text.match(/^records-database +siteB .* -1.5\/s +in 11 min +3–4 +ok$/gm)).to.have.length(2);
    expect(text).to.include('127.0.0.1:45961 for siteC, 2026-11-27T01:01:27.090Z: no connection: ECONNREFUSED');
  });

  it('again in its place; from the top where it is higher than the screen', () => {
    // A line of time, a heading, two pools, a space, a fault on two lines, a space.
    expect(drawn({ isTTY: true, columns: 80, rows: 24 }, REPORT, 2_000, 2)).to.include('\u001b[8A\u001b[J');
    expect(drawn({ isTTY: true, columns: 80, rows: 0 }, REPORT, 2_000, 2)).to.include('\u001b[8A\u001b[J');
    const low = drawn({ isTTY: true, columns: 80, rows: 8 }, REPORT, 2_000, 2);
    expect(low).to.include('\u001b[H\u001b[J').and.not.include('\u001b[8A');
  });
});
