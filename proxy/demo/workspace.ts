import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A 0700 folder under TMPDIR for the demo's certificates and configs. It is
 * gone when the process ends, however it ends: a shell that waits for the end
 * of a pipe from us removes it even after a SIGKILL.
 */
export class Workspace {
  readonly folder: string;
  readonly #guard: ChildProcess;
  readonly #removeOnExit = () => this.#removeNow();

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'qstunnel-demo-'));
    chmodSync(this.folder, 0o700);
    process.once('exit', this.#removeOnExit);
    // Detached: Ctrl-C in a terminal goes to the whole process group, and must not end the guard before its duty.
    this.#guard = spawn('/bin/sh', ['-c', 'cat > /dev/null; rm -rf -- "$0"', this.folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#guard.on('error', () => {});
    this.#guard.unref();
  }

  /** Writes a 0600 file and returns its path. */
  write(name: string, content: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  /** Resolves when the folder and its guard are gone. */
  async remove(): Promise<void> {
    process.removeListener('exit', this.#removeOnExit);
    this.#removeNow();
    if (this.#guard.exitCode === null && this.#guard.pid !== undefined) {
      this.#guard.ref();
      const ended = new Promise((resolve) => this.#guard.once('exit', resolve));
      this.#guard.stdin?.end();
      await ended;
    }
  }

  #removeNow(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
