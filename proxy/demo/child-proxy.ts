import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ProxyError, ProxyErrorCode } from '../errors.ts';
import type { LogEvent } from '../log.ts';

const BIN = fileURLToPath(new URL('../../../proxy/bin.mjs', import.meta.url));
const STOP_TIMEOUT_MS = 5_000;
const MAX_KEPT_EVENTS = 10_000;

/** A proxy in a process of its own, watched through the log that it writes on stderr like any other. */
export class ChildProxy {
  readonly events: LogEvent[] = [];
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #waiting = new Set<() => void>();
  #lastWords = '';

  /** `args` as a user would type them after `qstunnel`. */
  constructor(name: string, args: readonly string[]) {
    this.#name = name;
    // The IPC channel tells the child when we are gone, so that it never outlives the demo.
    this.#child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child.on('error', () => this.#wake());
    this.#child.on('exit', () => this.#wake());
    createInterface({ input: this.#child.stderr as NodeJS.ReadableStream }).on('line', (line) => this.#read(line));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The first event at or after `from` for which `match` holds, waiting for it if need be. */
  async event<E extends LogEvent['event']>(
    name: E,
    match: (event: Extract<LogEvent, { event: E }>) => boolean,
    { from = 0, timeoutMs = 15_000 }: { from?: number; timeoutMs?: number } = {},
  ): Promise<Extract<LogEvent, { event: E }>> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, timeoutMs);
    try {
      for (let at = from; ; at++) {
        while (at >= this.events.length) {
          if (late) throw this.#failure(`reported no '${name}' within ${timeoutMs} ms`);
          if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw this.#failure('ended');
          await new Promise<void>((resolve) => this.#waiting.add(resolve));
        }
        const event = this.events[at] as LogEvent;
        if (event.event === name && match(event as Extract<LogEvent, { event: E }>)) {
          return event as Extract<LogEvent, { event: E }>;
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** SIGTERM, and SIGKILL if that does not help. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }

  #read(line: string): void {
    try {
      const event = JSON.parse(line) as LogEvent;
      if (this.events.length < MAX_KEPT_EVENTS) this.events.push(event);
    } catch {
      this.#lastWords = line;
    }
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #failure(what: string): ProxyError {
    const last = this.#lastWords === '' ? '' : `: ${this.#lastWords}`;
    return new ProxyError(ProxyErrorCode.internal, `the ${this.#name} proxy ${what}${last}`);
  }
}
