/** The PEM files that commands read and write, with errors that name them. */
import { type Credential, type CredentialFiles, writeCredential } from '../../certs/index.ts';
import { readTextFile, systemReason, UnreadableFile } from '../config/index.ts';
import { CliError, CliErrorCode } from './cli-error.ts';

/**
 * The text of a PEM file; what is in it is judged elsewhere. `option` is the one that names it, for the error.
 *
 * @throws CliError `ERR_CLI_FILE`
 */
export async function readPemFile(path: string, option?: string): Promise<string> {
  try {
    return (await readTextFile(path)).text;
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    const name = option === undefined ? path : `${option} ${path}`;
    throw fileError(`${name} can not be read: ${error.message}`);
  }
}

/** As `readPemFile`, or `undefined` where there is no such file. */
export async function findPemFile(path: string): Promise<string | undefined> {
  try {
    return (await readTextFile(path)).text;
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    if (error.missing) return undefined;
    throw fileError(`${path} can not be read: ${error.message}`);
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
    if (syscall === 'mkdir') throw fileError(`the folder ${path} can not be made: ${mkdirReason(code)}`);
    if (code === 'EEXIST') {
      throw fileError(`${path} is there already and is not overwritten; move it away, or choose another --dir`);
    }
    throw fileError(`${path} can not be written: ${systemReason(code)}`);
  }
}

function mkdirReason(code: string | undefined): string {
  // A missing folder above it would have been made first.
  if (code === 'ENOENT') return 'nothing can be made in the one above it';
  return code === 'EEXIST' ? 'it is a file' : systemReason(code);
}

function fileError(message: string): CliError {
  return new CliError(CliErrorCode.file, message);
}
