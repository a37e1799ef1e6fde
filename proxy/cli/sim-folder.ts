/** The CA and certificates of `qstunnel sim up`. */
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Credential, createCa, issueLeaf, writeCredential } from '../../certs/index.ts';
import type { KmeTls } from '../../qkd-sim/index.ts';
import { CliError, CliErrorCode } from './cli-error.ts';

/** PEM files by which an application talks to its key manager, as absolute paths. */
export interface SimFiles {
  readonly saeId: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface SimFolder {
  readonly saes: readonly [SimFiles, SimFiles];
  /** In the order of `saes`. */
  readonly kmes: readonly [KmeTls, KmeTls];
  /** Removes the folder if it was made for this run only. */
  remove(): Promise<void>;
}

/**
 * Certificates for two key managers on `host` and two SAEs, in `dir` (what is
 * there already is used), or in a new folder of mode 0700.
 *
 * @throws CliError `ERR_CLI_FILE`
 */
export async function openSimFolder(
  dir: string | undefined,
  saeIds: readonly [string, string],
  host: string,
): Promise<SimFolder> {
  if (dir !== undefined) {
    await fileStep(() => mkdir(dir, { recursive: true, mode: 0o700 }));
    return { ...(await fill(resolve(dir), saeIds, host)), remove: async () => {} };
  }
  const temporary = await fileStep(() => mkdtemp(join(tmpdir(), 'qstunnel-sim-')));
  const removeAtExit = () => rmSync(temporary, { recursive: true, force: true });
  process.once('exit', removeAtExit);
  const remove = async () => {
    await rm(temporary, { recursive: true, force: true });
    process.removeListener('exit', removeAtExit);
  };
  try {
    return { ...(await fill(temporary, saeIds, host)), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function fill(dir: string, saeIds: readonly [string, string], host: string): Promise<Omit<SimFolder, 'remove'>> {
  const nowMs = Date.now();
  const ca = await credential(dir, 'ca', () => createCa({ commonName: 'qstunnel simulator CA', nowMs }));
  const names =
    isIP(host) === 0
      ? { dnsNames: ['localhost', host], ipAddresses: ['127.0.0.1', '::1'] }
      : { dnsNames: ['localhost'], ipAddresses: [...new Set(['127.0.0.1', '::1', host])] };
  const kme = async (commonName: string): Promise<KmeTls> => {
    const made = await credential(dir, commonName, () => issueLeaf(ca, 'kme', { commonName, nowMs, ...names }));
    return { cert: made.certPem, key: made.keyPem, ca: ca.certPem };
  };
  const sae = async (saeId: string, fallbackName: string): Promise<SimFiles> => {
    const name = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(saeId) ? saeId : fallbackName;
    // For tunnels too, so that one certificate is enough to try everything.
    await credential(dir, name, () => issueLeaf(ca, 'proxy', { commonName: name, nowMs, saeIds: [saeId], ...names }));
    return { saeId, cert: join(dir, `${name}.pem`), key: join(dir, `${name}.key`), ca: join(dir, 'ca.pem') };
  };
  return {
    kmes: [await kme('kme-a'), await kme('kme-b')],
    saes: [await sae(saeIds[0], 'sae-a'), await sae(saeIds[1], 'sae-b')],
  };
}

/** The credential with this name in the folder, made if it isn't there. */
async function credential(dir: string, name: string, make: () => Promise<Credential>): Promise<Credential> {
  const read = (extension: string) => readFile(join(dir, `${name}.${extension}`), 'utf8');
  return fileStep(async () => {
    const [certPem, keyPem] = await Promise.all([read('pem'), read('key')].map((text) => text.catch(absent)));
    if (certPem !== undefined && keyPem !== undefined) return { certPem, keyPem };
    const made = await make();
    await writeCredential(dir, name, made);
    return made;
  });
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

async function fileStep<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const { syscall, message, code } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    const hint = code === 'EEXIST' || code === 'ENOTDIR' ? '; --dir is a folder' : '';
    throw new CliError(CliErrorCode.file, `${message}${hint}`, { cause: error });
  }
}
