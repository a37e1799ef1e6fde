/** A disk that fails, as far as this process's open files see it. */
import { open } from 'node:fs/promises';

export interface Disk {
  flushes: number;
  mend(): void;
}

/** Counts the flushes of all files of this process; a test spends meanwhile and does nothing else. */
export async function watchedDisk(path: string, fail?: Error): Promise<Disk> {
  const prototype = await fileHandlePrototype(path);
  const { datasync } = prototype;
  const disk: Disk = {
    flushes: 0,
    mend: () => {
      prototype.datasync = datasync;
    },
  };
  prototype.datasync = async function (...args: unknown[]) {
    disk.flushes++;
    if (fail !== undefined) throw fail;
    return await datasync.apply(this, args);
  };
  return disk;
}

export const failingDisk = (path: string): Promise<Disk> => watchedDisk(path, new Error('no space left'));

/** A disk with room for `bytes` more: what is appended beyond that is written as far as it goes, and then fails. */
export async function fullDisk(path: string, bytes: number): Promise<Pick<Disk, 'mend'>> {
  const prototype = await fileHandlePrototype(path);
  const { appendFile, writeFile } = prototype;
  let left = bytes;
  const limited = (write: (...args: unknown[]) => Promise<void>) =>
    async function (this: unknown, data: Uint8Array) {
      const fits = data.subarray(0, left);
      left -= fits.length;
      await write.call(this, fits);
      if (fits.length < data.length) throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
    };
  Object.assign(prototype, { appendFile: limited(appendFile), writeFile: limited(writeFile) });
  return {
    mend: () => {
      Object.assign(prototype, { appendFile, writeFile });
    },
  };
}

/** `path`: any file there is. */
async function fileHandlePrototype(path: string) {
  const file = await open(path, 'r');
  await file.close();
  return Object.getPrototypeOf(file);
}
