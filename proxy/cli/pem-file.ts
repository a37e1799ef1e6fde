/** The PEM files that commands read and write, with errors that name them. */
import { open } from 'node:fs/promises';
import { type Credential, type CredentialFiles, writeCredential } from '../../certs/index.ts';
import { CliError, CliErrorCode } from './cli-error.ts';

const MAX_PEM_FILE_BYTES = 1024 * 1024;

/**
 * The text of a PEM file; what is in it is judged elsewhere. `option` is the one that names it, for the error.
 *
 * @throws CliError `ERR_CLI_FILE`
 */
export async function readPemFile(path: string, option?: string): Promise<string> {
  const text = await findPemFile(path, option);
  if (text === undefined) throw fileError(`${named(path, option)} can not be read: it does not exist`);
  return text;
}

/** As `readPemFile`, or `undefined` where there is no such file. */
export async function findPemFile(path: string, option?: string): Promise<string | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      const buffer = Buffer.alloc(MAX_PEM_FILE_BYTES + 1);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      if (bytesRead > MAX_PEM_FILE_BYTES) throw fileError(`${named(path, option)} is too large for PEM`);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw fileError(`${named(path, option)} can not be read: ${reasonText(code)}`);
  }
}

/**
 * Writes NAME.pem and NAME.key into a folder, which is made if it is not there.
 *
 * @throws CliError `ERR_CLI_FILE`
 */
export async function writePemFiles(dir: string, name: string, credential: Credential): Promise<CredentialFiles> {
  try {
    return await writeCredential(dir, name, credential);
  } catch (error) {
    const { code, path = dir, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    if (syscall === 'mkdir') throw fileError(`the folder ${path} can not be made: ${mkdirReasonText(code)}`);
    if (code === 'EEXIST') {
      throw fileError(`${path} is there already and is not overwritten; move it away, or choose another --dir`);
    }
    throw fileError(`${path} can not be written: ${reasonText(code)}`);
  }
}

function mkdirReasonText(code: string | undefined): string {
  // A missing folder above it would have been made first.
  if (code === 'ENOENT') return 'nothing can be made in the one above it';
  return code === 'EEXIST' ? 'it is a file' : reasonText(code);
}

function reasonText(code: string | undefined): string {
  switch (code) {
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

function named(path: string, option: string | undefined): string {
  return option === undefined ? path : `${option} ${path}`;
}

function fileError(message: string): CliError {
  return new CliError(CliErrorCode.file, message);
}
