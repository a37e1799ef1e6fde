import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CliError, CliErrorCode } from './cli/cli-error.ts';

/**
 * A 0700 folder under TMPDIR, for certificates and configs of one run. It is
 * gone when the process ends, however it ends: a shell that waits for the end
 * of a pipe from us removes it even after a SIGKILL.
 */
export class TemporaryFolder {
  readonly path: string;
  readonly #guard: ChildProcess;
  readonly #removeOnExit = () => this.#removeNow();

  /** @throws CliError `ERR_CLI_FILE` */
  constructor(prefix: string) {
    this.path = makeFolder(prefix);
    process.once('exit', this.#removeOnExit);
    // Detached: Ctrl-C in a terminal goes to the whole process group, and must not end the guard before its duty.
    this.#guard = spawn('/bin/sh', ['-c', 'cat > /dev/null; rm -rf -- "$0"', this.path], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#guard.on('error', () => {});
    this.#guard.unref();
  }

  /** Writes a 0600 file and returns its path. */
  write(name: string, content: string): string {
    const path = join(this.path, name);
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
    rmSync(this.path, { recursive: true, force: true });
  }
}

function makeFolder(prefix: string): string {
  try {
    const path = mkdtempSync(join(tmpdir(), prefix));
    chmodSync(path, 0o700);
    return path;
  } catch (cause) {
    const { code = 'unknown reason' } = cause as NodeJS.ErrnoException;
    throw new CliError(CliErrorCode.file, `no folder can be made in ${tmpdir()} (${code}); set TMPDIR to another one`, {
      cause,
    });
  }
}
