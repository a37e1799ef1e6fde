/** What `qstunnel keys status|watch` shows. */
import type { KeyReport, PoolReport, PoolState } from '../key-report/key-report.ts';
import { type Colour, terminalOn } from './terminal.ts';

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
const HEADINGS = ['SERVICE', 'PEER', 'KEY MANAGER', 'KEYS', 'RATE', 'RUNS OUT', 'POOL', 'STATE'] as const;

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
      if (everyMs !== undefined && terminal.isLive && drawnLines > 0) stdout.write(`\x1b[${drawnLines}A\x1b[J`);
      const lines = [
        ...(everyMs === undefined
          ? []
          : [terminal.paint('dim', `${report.at}, every ${everyMs / 1000} s, Ctrl-C ends it`)]),
        ...tableOf(report.pools, (state, text) => terminal.paint(COLOURS[state], text)),
        ...notesOf(report.pools),
        ...(everyMs === undefined ? [] : ['']),
      ];
      for (const line of lines) terminal.print(line);
      drawnLines = lines.reduce((sum, line) => sum + terminal.linesOf(line), 0);
    },
    end: () => terminal.end(),
  };
}

function tableOf(pools: readonly PoolReport[], paint: (state: PoolState, text: string) => string): string[] {
  const rows = pools.map((pool) => [
    pool.service,
    pool.peerSae,
    `${pool.api}://${pool.kme}`,
    keysText(pool),
    pool.ratePerSecond === null ? '–' : `${pool.ratePerSecond > 0 ? '+' : ''}${pool.ratePerSecond}/s`,
    exhaustionText(pool),
    `${pool.lowWatermark}–${pool.highWatermark}`,
    pool.state,
  ]);
  const widths = HEADINGS.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return [
    line(HEADINGS),
    ...rows.map((row, i) => {
      const { state } = pools[i] as PoolReport;
      return `${line(row.slice(0, -1)).padEnd(widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0))}${paint(state, state)}`;
    }),
  ];
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
