import { open } from 'node:fs/promises';
import { CliError, CliErrorCode } from './cli-error.ts';

const MAX_PEM_FILE_BYTES = 1024 * 1024;

/**
 * The text of a PEM file that an option names; what is in it is judged elsewhere.
 *
 * @throws CliError `ERR_CLI_FILE`
 */
export async function readPemFile(option: string, path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const buffer = Buffer.alloc(MAX_PEM_FILE_BYTES + 1);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      if (bytesRead > MAX_PEM_FILE_BYTES)
        throw new CliError(CliErrorCode.file, `${option} ${path} is too large for PEM`);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a folder' : (code ?? 'unknown');
    throw new CliError(CliErrorCode.file, `${option} ${path} can not be read: ${reason}`);
  }
}
