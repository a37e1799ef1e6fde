/** Credentials as files: keys 0600, folders 0700, nothing overwritten. */
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credential } from './issue.ts';

/** Where a credential was written. */
export interface CredentialFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * Writes `NAME.pem` (0644) and `NAME.key` (0600) into `directory`, which is
 * made with mode 0700 if it is not there. Existing files are never replaced:
 * the `EEXIST` of the file system comes through.
 */
export async function writeCredential(
  directory: string,
  name: string,
  credential: Credential,
): Promise<CredentialFiles> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const files = { cert: join(directory, `${name}.pem`), key: join(directory, `${name}.key`) };
  await writeNew(files.key, credential.keyPem, 0o600);
  await writeNew(files.cert, credential.certPem, 0o644);
  return files;
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  // `wx` with the mode given at creation: at no moment is the file readable to others.
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
