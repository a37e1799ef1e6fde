/** A peer's program as a child: its output awaited line by line, ended by its id. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';

export class PeerProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: { readonly pattern: RegExp; readonly settle: (match: RegExpMatchArray | undefined) => void }[] =
    [];
  #ended = false;
  output = '';

  constructor(command: string, args: readonly string[], cwd?: string) {
    this.#child = spawn(command, args, { stdio: 'pipe', cwd });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => {
        this.output += text;
        this.#look();
      });
    }
    this.#child.stdin.on('error', () => {});
    this.#child.on('error', (error) => {
      this.output += String(error);
    });
    this.#child.on('close', () => {
      this.#ended = true;
      this.#look();
    });
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  endInput(): void {
    this.#child.stdin.end();
  }

  /** Resolves with the first match in all that the peer has said; rejects with that if it ends before. */
  async says(pattern: RegExp): Promise<RegExpMatchArray> {
    const match = await new Promise<RegExpMatchArray | undefined>((resolve) => {
      this.#waiting.push({ pattern, settle: resolve });
      this.#look();
    });
    if (match === undefined) throw new Error(`the peer ended without ${pattern}:\n${this.output}`);
    return match;
  }

  /** Resolves when the program has ended by itself. */
  async ends(): Promise<void> {
    if (!this.#ended) await new Promise((resolve) => this.#child.once('close', resolve));
  }

  async kill(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGKILL');
    await closed;
  }

  #look(): void {
    for (const waiter of this.#waiting.splice(0)) {
      const match = this.output.match(waiter.pattern);
      if (match !== null || this.#ended) waiter.settle(match ?? undefined);
      else this.#waiting.push(waiter);
    }
  }
}

/** First line of a program's version, or `undefined` if it isn't installed. */
export function versionOf(command: string, ...args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}
