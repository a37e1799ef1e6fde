/** What `qstunnel keys status|watch` shows. */
import type { KeyReport, PoolReport, PoolState } from '../key-report/key-report.ts';
import { type Colour, type Terminal, terminalOn, wrapped } from './terminal.ts';

export interface KeysView {
  show(report: KeyReport): void;
  end(): void;
}

const COLOURS: Readonly<Record<PoolState, Colour>> = {
  ok: 'green',
  low: 'yellow',
  empty: 'red',
  unknown: 'dim',
  refused: 'red',
  unreachable: 'red',
};
type Column = 'SERVICE' | 'PEER' | 'KEY MANAGER' | 'KEYS' | 'RATE' | 'RUNS OUT' | 'POOL' | 'STATE';
const COLUMNS: readonly Column[] = ['SERVICE', 'PEER', 'KEY MANAGER', 'KEYS', 'RATE', 'RUNS OUT', 'POOL', 'STATE'];
/** What a narrow terminal does without, in this order. */
const DISPENSABLE: readonly Column[] = ['SERVICE', 'POOL', 'RATE', 'RUNS OUT'];

/** `everyMs`: it is shown again; on a terminal, in place of the last one. */
export function keysView(stdout: NodeJS.WriteStream, json: boolean, everyMs?: number): KeysView {
  const terminal = terminalOn(stdout);
  let drawnLines = 0;
  return {
    show(report) {
      if (json) {
        stdout.write(`${JSON.stringify(report)}\n`);
        return;
      }
      if (everyMs !== undefined && terminal.isLive && drawnLines > 0) {
        // What has scrolled out of the screen can't be reached by going up. Some pseudo-terminals say 0.
        const rows = stdout.rows || Number.POSITIVE_INFINITY;
        stdout.write(drawnLines < rows ? `\x1b[${drawnLines}A\x1b[J` : '\x1b[H\x1b[J');
      }
      const lines = [
        ...(everyMs === undefined
          ? []
          : [terminal.paint('dim', `${report.at}, every ${everyMs / 1000} s, Ctrl-C ends it`)]),
        ...tableOf(report.pools, terminal),
        ...notesOf(report.pools).flatMap((note) => (terminal.isLive ? wrapped(note, terminal.columns - 1) : [note])),
        ...(everyMs === undefined ? [] : ['']),
      ];
      for (const line of lines) terminal.print(line);
      drawnLines = lines.reduce((sum, line) => sum + terminal.linesOf(line), 0);
    },
    end: () => terminal.end(),
  };
}

function tableOf(pools: readonly PoolReport[], terminal: Terminal): string[] {
  const rows = pools.map(cellsOf);
  const widthOf = (column: Column) => Math.max(column.length, ...rows.map((row) => row[column].length));
  const shown = [...COLUMNS];
  const lineWidth = () => shown.reduce((sum, column) => sum + widthOf(column) + 2, -2);
  for (const column of DISPENSABLE) {
    if (!terminal.isLive || lineWidth() < terminal.columns) break;
    shown.splice(shown.indexOf(column), 1);
  }
  const line = (cell: (column: Column) => string) => shown.map(cell).join('  ').trimEnd();
  return [
    line((column) => column.padEnd(widthOf(column))),
    ...rows.map((row) =>
      line((column) => {
        if (column === 'STATE') return terminal.paint(COLOURS[row.STATE], row.STATE);
        return row[column].padEnd(widthOf(column));
      }),
    ),
  ];
}

function cellsOf(pool: PoolReport): Readonly<Record<Exclude<Column, 'STATE'>, string>> & { readonly STATE: PoolState } {
  return {
    SERVICE: pool.service,
    PEER: pool.peerSae,
    'KEY MANAGER': `${pool.api}://${pool.kme}`,
    KEYS: keysText(pool),
    RATE: pool.ratePerSecond === null ? '–' : `${pool.ratePerSecond > 0 ? '+' : ''}${pool.ratePerSecond}/s`,
    'RUNS OUT': exhaustionText(pool),
    POOL: `${pool.lowWatermark}–${pool.highWatermark}`,
    STATE: pool.state,
  };
}

function keysText({ keys, capacity }: PoolReport): string {
  if (keys === null) return '–';
  return capacity === null ? String(keys) : `${keys} of ${capacity}`;
}

function exhaustionText({ exhaustionSeconds: seconds, ratePerSecond }: PoolReport): string {
  if (seconds === null) return ratePerSecond === null ? '–' : 'no';
  if (seconds < 120) return `in ${seconds} s`;
  return seconds < 7_200 ? `in ${Math.round(seconds / 60)} min` : `in ${Math.round(seconds / 3_600)} h`;
}

function notesOf(pools: readonly PoolReport[]): string[] {
  const faults = pools.flatMap(({ kme, peerSae, faults: [last] }) =>
    last === undefined ? [] : [`${kme} for ${peerSae}, ${last.at}: ${last.message} (${last.code})`],
  );
  const notes = [...new Set(pools.flatMap(({ note }) => (note === null ? [] : [note])))];
  return faults.length + notes.length === 0 ? [] : ['', ...faults, ...notes];
}
