/** What the demo shows a person. `--json` uses a silent view. */
export interface DemoView {
  heading(step: number, title: string): void;
  line(text: string): void;
  /** A line that is overwritten by the next one (terminals only). */
  progress(fraction: number, text: string): void;
  table(columns: readonly string[], rows: readonly (readonly string[])[]): void;
  check(claim: string, observed: boolean): void;
}

export const silentView: DemoView = {
  heading: () => {},
  line: () => {},
  progress: () => {},
  table: () => {},
  check: () => {},
};

const BAR_WIDTH = 24;

/** A view on a terminal, or on a pipe (then without colour and without moving lines). */
export function textView(stream: NodeJS.WriteStream): DemoView {
  const colour = stream.isTTY && process.env.NO_COLOR === undefined;
  const paint = (code: number, text: string) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  let transient = false;
  const print = (text: string) => {
    if (transient) stream.write('\r\u001b[2K');
    transient = false;
    stream.write(`${text}\n`);
  };
  return {
    heading: (step, title) => print(`\n${paint(1, `${step}  ${title}`)}`),
    line: (text) => print(`   ${text}`),
    progress: (fraction, text) => {
      if (!stream.isTTY) return;
      const filled = Math.round(Math.min(Math.max(fraction, 0), 1) * BAR_WIDTH);
      const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)}`;
      stream.write(`\r\u001b[2K   ${bar} ${text}`);
      transient = true;
    },
    table: (columns, rows) => {
      const widths = columns.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
      const align = (row: readonly string[]) =>
        row
          .map((cell, i) => cell.padEnd(widths[i] as number))
          .join('  ')
          .trimEnd();
      print(`   ${paint(2, align(columns))}`);
      for (const row of rows) print(`   ${align(row)}`);
    },
    check: (claim, observed) => print(`   ${observed ? paint(32, '✓') : paint(31, '✗ NOT OBSERVED:')} ${claim}`),
  };
}
