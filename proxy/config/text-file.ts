/** Files that a user names: read to a bound, and with the reason in words where that can't be. */
import { type FileHandle, open } from 'node:fs/promises';

/** Largest file of any kind. */
export const MAX_FILE_BYTES = 1024 * 1024;

/** A file could not be read. The message is the reason alone. */
export class UnreadableFile extends Error {
  /** Nothing has this name. */
  readonly missing: boolean;

  constructor(reason: string, missing: boolean) {
    super(reason);
    this.missing = missing;
  }
}

/**
 * The text of a file, and its permission bits.
 *
 * @throws UnreadableFile
 */
export async function readTextFile(path: string): Promise<{ readonly text: string; readonly mode: number }> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { mode } = await file.stat();
    // Its size says nothing of a device or a pipe, which must not fill the memory either.
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      length += bytesRead;
      if (length > MAX_FILE_BYTES) throw new UnreadableFile(`it has more than ${MAX_FILE_BYTES} bytes`, false);
      if (bytesRead === 0) break;
    }
    const text = buffer.toString('utf8', 0, length);
    // It may have been a private key.
    buffer.fill(0, 0, length);
    return { text, mode };
  } catch (error) {
    if (error instanceof UnreadableFile) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new UnreadableFile(systemReason(code), code === 'ENOENT');
  } finally {
    await file?.close();
  }
}

/** An error code of the file system in words. */
export function systemReason(code: string | undefined): string {
  switch (code) {
    case 'ENOENT':
      return 'it does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'no permission';
    case 'EISDIR':
      return 'it is a folder';
    case 'ENOTDIR':
      return 'what should be a folder above it is a file';
    case 'ENOSPC':
      return 'no space is left';
    case 'EROFS':
      return 'the file system is read-only';
    default:
      return code ?? 'unknown reason';
  }
}
