/** Credentials as files: keys 0600, folders 0700, nothing overwritten. */
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Credential } from './issue.ts';

/** Where a credential was written. */
export interface CredentialFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * Writes `NAME.pem` (0644) and `NAME.key` (0600) into `directory`, which is
 * made with mode 0700 if it is not there. Both or none, and existing files are
 * never replaced: the `EEXIST` of the file system comes through.
 */
export async function writeCredential(
  directory: string,
  name: string,
  credential: Credential,
): Promise<CredentialFiles> {
  await makeFolder(directory);
  const files = { cert: join(directory, `${name}.pem`), key: join(directory, `${name}.key`) };
  await writeNew(files.key, credential.keyPem, 0o600);
  try {
    await writeNew(files.cert, credential.certPem, 0o644);
  } catch (error) {
    await rm(files.key);
    throw error;
  }
  return files;
}

/** Not mkdir's `recursive`: that of Node 20 never ends where a file system has no folders made in it, as /proc. */
async function makeFolder(path: string): Promise<void> {
  if (await isFolder(path)) return;
  const above = dirname(path);
  if (above !== path) await makeFolder(above);
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    // Somebody else may have made it in the meantime.
    if (!(await isFolder(path))) throw error;
  }
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  // `wx` with the mode given at creation: at no moment is the file readable to others.
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await rm(path);
    throw error;
  } finally {
    await file.close();
  }
}
