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

/**
 * What gives the lock back. Rejects with `ERR_KDI_LEDGER` where another process, or this one, has it; with the system's
 * error where the folder can't be written.
 */
export async function lockForThisProcess(path: string): Promise<() => Promise<void>> {
  const prefix = `${basename(path)}.lock.`;
  const lockPath = (owner: string): string => join(dirname(path), prefix + owner);
  const self = await processName(process.pid);
  try {
    await (await open(lockPath(self), 'wx', 0o600)).close();
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? inUse(path, self) : error;
  }
  const unlock = (): Promise<void> => rm(lockPath(self), { force: true });
  try {
    for (const entry of await readdir(dirname(path))) {
      const owner = entry.startsWith(prefix) ? entry.slice(prefix.length) : self;
      if (owner === self) continue;
      if (owner !== '' && (await processName(pidOf(owner))) === owner) throw inUse(path, owner);
      // Left behind by a process that crashed. One that can't be removed does no harm.
      await rm(lockPath(owner)).catch(() => {});
    }
    return unlock;
  } catch (error) {
    await unlock();
    throw error;
  }
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
