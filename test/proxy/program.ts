/** The program as a user starts it: processes of dist/, their logs and their ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Credential } from '../../certs/index.ts';
import type { LogEvent } from '../../proxy/log.ts';
import { siteCredential, testPki } from './pki.ts';
import type { LogLine } from './sites.ts';

const BIN = fileURLToPath(new URL('../../proxy/bin.mjs', import.meta.url));

export class Program {
  readonly child: ChildProcess;
  readonly lines: LogLine[] = [];
  /** What it said on stderr that is no log line. */
  readonly messages: string[] = [];
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #waiting = new Set<() => void>();

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = once(this.child, 'exit').then(([code, signal]) => ({ code, signal }));
    createInterface({ input: this.child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      if (line.startsWith('{')) this.lines.push(JSON.parse(line));
      else this.messages.push(line);
      for (const look of [...this.#waiting]) look();
    });
  }

  /** The first log line of this event that fits; rejects if the program ends without one. */
  next<E extends LogEvent['event']>(
    event: E,
    fits: (line: Extract<LogLine, { event: E }>) => boolean = () => true,
  ): Promise<Extract<LogLine, { event: E }>> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.lines.find(
          (line): line is Extract<LogLine, { event: E }> =>
            line.event === event && fits(line as Extract<LogLine, { event: E }>),
        );
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
      void this.exited.then(({ code }) => reject(new Error(`ended (${code}) without ${event}: ${this.messages}`)));
    });
  }

  /** The port of a service that is listening. */
  async port(service: string): Promise<number> {
    const { address } = await this.next('listening', (line) => line.service === service);
    return Number(address.split(':').pop());
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exited;
  }
}

/** A folder with PEM files for both sites, as `qstunnel certs` writes them. */
export class SiteFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<SiteFolder> {
    const folder = new SiteFolder(await mkdtemp(join(tmpdir(), 'qstunnel-test-')));
    const { ca } = await testPki();
    await folder.write('ca.pem', ca.certPem);
    await folder.writeCredential('a', await siteCredential('siteA'));
    await folder.writeCredential('b', await siteCredential('siteB'));
    return folder;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  async write(name: string, text: string): Promise<string> {
    await writeFile(this.file(name), text, { mode: 0o600 });
    return this.file(name);
  }

  async writeCredential(name: string, { certPem, keyPem }: Credential): Promise<void> {
    await this.write(`${name}.pem`, certPem);
    await this.write(`${name}.key`, keyPem);
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  /** The options that one site always needs. */
  options(site: 'a' | 'b'): string[] {
    const [own, peer] = site === 'a' ? ['siteA', 'siteB'] : ['siteB', 'siteA'];
    return [
      ...['--cert', this.file(`${site}.pem`), '--key', this.file(`${site}.key`), '--ca', this.file('ca.pem')],
      ...['--sae', own as string, '--peer-sae', peer as string],
    ];
  }
}

/** The programs of one test. */
export class Programs {
  readonly #running: Program[] = [];

  start(...args: string[]): Program {
    const program = new Program(args);
    this.#running.push(program);
    return program;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((program) => program.stop()));
  }
}
