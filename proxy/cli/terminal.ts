/** What a terminal can do that a pipe can't: colour, and a line that is drawn again. */

const ERASE_LINE = '\r\x1b[K';
const DEFAULT_COLUMNS = 100;
const MAX_COLUMNS = 120;
const MIN_COLUMNS = 60;
const TICK_MS = 200;

export type Colour = 'green' | 'yellow' | 'red' | 'bold' | 'dim';
const CODES: Readonly<Record<Colour, string>> = { green: '32', yellow: '33', red: '31', bold: '1', dim: '2' };

export interface Terminal {
  readonly isLive: boolean;
  /** For text that is wrapped here. */
  readonly columns: number;
  /** Lines that `line` takes on the screen. */
  linesOf(line: string): number;
  paint(colour: Colour, text: string): string;
  /** A line that stays. */
  print(line: string): void;
  /** On a terminal, a line that is replaced by whatever comes next, with the seconds that it has been there. */
  wait(what: string): void;
  /** Leaves the terminal as it was. */
  end(): void;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: what `paint` adds.
const ESCAPES = /\u001b\[\d+m/g;

/** Colour and waiting lines only where `stream` is a terminal; colour not with NO_COLOR (no-color.org). */
export function terminalOn(stream: NodeJS.WriteStream): Terminal {
  const isLive = stream.isTTY === true && process.env.TERM !== 'dumb';
  const colourful = isLive && !process.env.NO_COLOR;
  let timer: NodeJS.Timeout | undefined;
  let isWaiting = false;
  // Some pseudo-terminals say 0.
  const width = () => (isLive ? stream.columns || DEFAULT_COLUMNS : DEFAULT_COLUMNS);
  const columns = () => Math.min(MAX_COLUMNS, Math.max(MIN_COLUMNS, width()));
  const erase = () => {
    clearInterval(timer);
    if (isWaiting) stream.write(ERASE_LINE);
    isWaiting = false;
  };
  return {
    isLive,
    get columns() {
      return columns();
    },
    linesOf: (line) => Math.max(1, Math.ceil(line.replace(ESCAPES, '').length / width())),
    paint: (colour, text) => (colourful ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text),
    print(line) {
      erase();
      stream.write(`${line}\n`);
    },
    wait(what) {
      if (!isLive) return;
      erase();
      const startedMs = performance.now();
      const draw = () => {
        const seconds = (performance.now() - startedMs) / 1000;
        const text = `  … ${what}${seconds < 1 ? '' : ` (${seconds.toFixed(0)} s)`}`;
        stream.write(`${ERASE_LINE}${text.slice(0, Math.max(20, columns() - 1))}`);
        isWaiting = true;
      };
      draw();
      timer = setInterval(draw, TICK_MS);
      timer.unref();
    },
    end: erase,
  };
}

/** `text` in lines of at most `columns`, broken at spaces; a longer word stays whole. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
