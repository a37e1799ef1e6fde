/** A peer's program as a child: its output awaited line by line, ended by its id. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What to start: a command and what stands before and around the arguments. */
export interface Program {
  readonly command: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The folder to start it in, for programs that look for files there. */
  readonly cwd?: string;
}

interface Waiter {
  readonly done: () => boolean;
  readonly settle: (ended: boolean) => void;
}

export class PeerProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: Waiter[] = [];
  readonly #printed: Buffer[] = [];
  #printedBytes = 0;
  #ended = false;
  /** All that it has said, on both streams, as text. */
  output = '';

  constructor(program: string | Program, args: readonly string[]) {
    const {
      command,
      args: before = [],
      env = {},
      cwd,
    }: Program = typeof program === 'string' ? { command: program } : program;
    this.#child = spawn(command, [...before, ...args], { stdio: 'pipe', env: { ...process.env, ...env }, cwd });
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#printed.push(chunk);
      this.#printedBytes += chunk.length;
      this.#said(chunk);
    });
    this.#child.stderr.on('data', (chunk: Buffer) => this.#said(chunk));
    this.#child.stdin.on('error', () => {});
    this.#child.on('error', (error) => {
      this.output += String(error);
    });
    this.#child.on('close', () => {
      this.#ended = true;
      this.#look();
    });
  }

  get ended(): boolean {
    return this.#ended;
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  endInput(): void {
    this.#child.stdin.end();
  }

  /** Resolves with the first match in all that the peer has said; rejects with that if it ends before. */
  async says(pattern: RegExp): Promise<RegExpMatchArray> {
    let match: RegExpMatchArray | null = null;
    await this.#until(() => {
      match = this.output.match(pattern);
      return match !== null;
    }, String(pattern));
    return match as unknown as RegExpMatchArray;
  }

  /** How much it has printed on stdout so far. */
  mark(): number {
    return this.#printedBytes;
  }

  /** Resolves when stdout has printed exactly this text somewhere after the mark, which may be much. */
  async prints(text: string, mark: number): Promise<void> {
    const printed = () => {
      if (this.#printedBytes - mark < text.length) return false;
      const all = Buffer.concat(this.#printed);
      this.#printed.splice(0, Number.POSITIVE_INFINITY, all);
      return all.includes(text, mark, 'latin1');
    };
    await this.#until(printed, `${text.length} bytes that were sent to it, ${text.slice(0, 20).trim()}…`);
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

  /** The TCP port that the program listens at, if it does. */
  listeningPort(): number | undefined {
    if (this.#ended) return undefined;
    const folder = `/proc/${this.#child.pid}/fd`;
    const inodes = new Set(entriesOf(folder).map((fd) => readLink(`${folder}/${fd}`)));
    // All of this network's sockets, ours and theirs.
    const lines = ['tcp', 'tcp6'].flatMap((name) => readFileSync(`/proc/net/${name}`, 'utf8').split('\n').slice(1));
    for (const line of lines) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === '0A' && inodes.has(`socket:[${inode}]`)) return Number.parseInt(local.split(':')[1] ?? '', 16);
    }
    return undefined;
  }

  async #until(done: () => boolean, what: string): Promise<void> {
    const ended = await new Promise<boolean>((settle) => {
      this.#waiting.push({ done, settle });
      this.#look();
    });
    if (ended) throw new Error(`the peer ended without ${what}:\n${this.output}`);
  }

  #said(chunk: Buffer): void {
    this.output += chunk.toString('latin1');
    this.#look();
  }

  #look(): void {
    for (const waiter of this.#waiting.splice(0)) {
      if (waiter.done()) waiter.settle(false);
      else if (this.#ended) waiter.settle(true);
      else this.#waiting.push(waiter);
    }
  }
}

/** First line of a program's version, or `undefined` if it isn't installed. */
export function versionOf(command: string, ...args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}

/** Empty for a process that has just ended. */
function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
