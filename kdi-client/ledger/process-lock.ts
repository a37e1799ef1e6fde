/**
 * A file for one process at a time. Each process makes a lock of its own name
 * beside the file, and only then looks for others: of two that come at once at
 * least one sees the other, and gives way. A lock whose process is gone can be
 * taken away at any time, since no other process will ever have that name; of
 * one lock for all, it may be a successor's by the time that it is removed.
 */
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { KdiError, KdiErrorCode } from '../errors.ts';

export interface ProcessLock {
  /**
   * Makes the lock again where its file is gone, with the folder it was in, and looks for others as at first. Rejects as
   * `lockForThisProcess` does.
   */
  confirm(): Promise<void>;
  release(): Promise<void>;
}

/**
 * Rejects with `ERR_KDI_LEDGER` where another process, or this one, has the lock; with the system's error where the folder
 * can't be written.
 */
export async function lockForThisProcess(path: string): Promise<ProcessLock> {
  const self = await processName(process.pid);
  if (!(await makeLock(path, self))) throw inUse(path, self);
  return {
    confirm: async () => {
      await makeLock(path, self);
    },
    release: () => rm(lockPath(path, self), { force: true }),
  };
}

/** False if it is there already: this process has it. Leaves none behind that it made in vain. */
async function makeLock(path: string, self: string): Promise<boolean> {
  let made = true;
  try {
    await (await open(lockPath(path, self), 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    made = false;
  }
  try {
    await expectNoOther(path, self);
  } catch (error) {
    if (made) await rm(lockPath(path, self), { force: true });
    throw error;
  }
  return made;
}

async function expectNoOther(path: string, self: string): Promise<void> {
  const prefix = lockPrefix(path);
  for (const entry of await readdir(dirname(path))) {
    const owner = entry.startsWith(prefix) ? entry.slice(prefix.length) : self;
    if (owner === self) continue;
    if (owner !== '' && (await processName(pidOf(owner))) === owner) throw inUse(path, owner);
    // Left behind by a process that crashed. One that can't be removed does no harm.
    await rm(lockPath(path, owner)).catch(() => {});
  }
}

function lockPrefix(path: string): string {
  return `${basename(path)}.lock.`;
}

function lockPath(path: string, owner: string): string {
  return join(dirname(path), lockPrefix(path) + owner);
}

function inUse(path: string, owner: string): KdiError {
  return new KdiError(
    KdiErrorCode.ledger,
    `ledger ${path} is in use by process ${pidOf(owner)}; give each process its own`,
  );
}

function pidOf(owner: string): number {
  return Number(owner.split('-')[0]);
}

/**
 * A running process's ID and, where the system tells, its start time and the boot that this is counted from: an ID alone
 * may belong to another process by now. Empty if there is no such process.
 */
async function processName(pid: number): Promise<string> {
  if (!Number.isInteger(pid) || pid <= 0) return '';
  try {
    const [stat, bootId] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ]);
    // Field 22, counted after the command's name, which may hold spaces.
    return `${pid}-${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}-${bootId.slice(0, 8)}`;
  } catch {
    return isRunning(pid) ? String(pid) : '';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
