/** The PEM files that a configuration names: read, checked, and with errors that name the file. */
import {
  CertError,
  type Certificate,
  type Identity,
  loadIdentity,
  loadTrust,
  type TrustAnchors,
} from '../../certs/index.ts';
import { ConfigError, ConfigErrorCode, type ConfigProblem } from './config-error.ts';
import type { CredentialPaths } from './service-config.ts';
import { readTextFile, UnreadableFile } from './text-file.ts';

/** Permission bits that let others than the owner at a key. */
const GROUP_AND_WORLD = 0o077;
/** Of the lifetime of a certificate, how much is left when its end is warned of: those of a day and of a year alike. */
const EXPIRY_NOTICE = 0.1;

/** What a service presents and whom it trusts. */
export interface Credentials {
  readonly identity: Identity;
  readonly trust: TrustAnchors;
  /** The files' text, for `node:tls` towards key managers. */
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
  /** For the log, each one line: a key file that others may read, a certificate that peers refuse or soon will. */
  readonly warnings: readonly string[];
}

/**
 * Reads the files of one identity. Certificates that are not valid now are warned of, and no more: the clock may be
 * the one that is wrong, and is asked again at each handshake.
 *
 * @throws ConfigError `ERR_CONFIG_FILE` for a file that can't be read, `ERR_CONFIG_CREDENTIALS` for one that can't be used.
 */
export async function loadCredentials(paths: CredentialPaths, nowMs = Date.now()): Promise<Credentials> {
  const [cert, key, ca] = await Promise.all([
    readFileText(paths.cert, 'certificate'),
    readFileText(paths.key, 'private key'),
    readFileText(paths.ca, 'CA'),
  ]);
  const identity = usable(`certificate ${paths.cert} with key ${paths.key}`, () => loadIdentity(cert.text, key.text));
  const trust = usable(`CA ${paths.ca}`, () => loadTrust(ca.text));
  return {
    identity,
    trust,
    certPem: cert.text,
    keyPem: key.text,
    caPem: ca.text,
    warnings: [
      ...exposureWarnings(paths.key, 'private key', key.mode),
      ...validityWarnings(paths.cert, identity.leaf, nowMs),
      ...trust.certificates.flatMap((anchor) => anchorWarnings(paths.ca, anchor, nowMs)),
    ],
  };
}

/**
 * Whether a service's own certificate names the SAE that it acts as: its peers
 * will refuse it otherwise, and say less clearly why.
 *
 * @throws ConfigError `ERR_CONFIG_CREDENTIALS`.
 */
export function checkOwnSae(identity: Identity, sae: string, certPath: string): void {
  if (identity.saeIds.includes(sae)) return;
  const named = identity.saeIds.length === 0 ? 'no SAE' : `SAE ${identity.saeIds.join(', ')}`;
  throw credentialError(`certificate ${certPath} names ${named}, but the service is SAE ${sae}`);
}

/** A pre-shared key towards a key manager. */
export interface LoadedPsk {
  readonly identity: string;
  readonly key: Uint8Array;
  /** For the log, each one line: a file that others may read. */
  readonly warnings: readonly string[];
}

/** What a file of a pre-shared key holds: one line as GnuTLS and stunnel write it. */
const PSK_LINE = /^([^:\n]{1,128}):((?:[0-9a-fA-F]{2}){16,64})\s*$/;

/**
 * Reads a file with one line IDENTITY:HEX, a key of 16 to 64 bytes.
 *
 * @throws ConfigError `ERR_CONFIG_FILE` or `ERR_CONFIG_CREDENTIALS`.
 */
export async function loadPsk(path: string): Promise<LoadedPsk> {
  const { text, mode } = await readFileText(path, 'pre-shared key');
  const match = PSK_LINE.exec(text);
  if (match === null) {
    throw credentialError(`pre-shared key ${path} must be one line IDENTITY:HEX, with a key of 16 to 64 bytes`);
  }
  const [, identity, hex] = match as unknown as [string, string, string];
  return {
    identity,
    key: Uint8Array.from(Buffer.from(hex, 'hex')),
    warnings: exposureWarnings(path, 'pre-shared key', mode),
  };
}

async function readFileText(path: string, what: string) {
  try {
    return await readTextFile(path);
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    throw new ConfigError([fileProblem(`${what} file ${path} can not be read: ${error.message}`)]);
  }
}

function exposureWarnings(path: string, what: string, mode: number): readonly string[] {
  if (process.platform === 'win32' || (mode & GROUP_AND_WORLD) === 0) return [];
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  return [`${what} ${path} has mode ${octal}: others may read it; chmod 600 it`];
}

function validityWarnings(path: string, { notBeforeMs, notAfterMs }: Certificate, nowMs: number): readonly string[] {
  const [from, to] = [notBeforeMs, notAfterMs].map((ms) => new Date(ms).toISOString());
  if (nowMs < notBeforeMs) return [`certificate ${path} is valid from ${from} on: peers refuse it; check the clock`];
  if (nowMs > notAfterMs) return [`certificate ${path} expired at ${to}: peers refuse it; put a new one in its place`];
  if (notAfterMs - nowMs > EXPIRY_NOTICE * (notAfterMs - notBeforeMs)) return [];
  return [`certificate ${path} expires at ${to}: put a new one in its place before`];
}

function anchorWarnings(path: string, { subjectText, notBeforeMs, notAfterMs }: Certificate, nowMs: number): string[] {
  if (nowMs >= notBeforeMs && nowMs <= notAfterMs) return [];
  const period = [notBeforeMs, notAfterMs].map((ms) => new Date(ms).toISOString()).join(' to ');
  return [`${subjectText} in CA ${path} is valid from ${period}, which is not now: peers under it are refused`];
}

function usable<T>(what: string, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof CertError)) throw error;
    throw credentialError(`${what}: ${error.message} (${error.code})`, error);
  }
}

function fileProblem(message: string): ConfigProblem {
  return { code: ConfigErrorCode.file, message };
}

function credentialError(message: string, cause?: Error): ConfigError {
  const error = new ConfigError([{ code: ConfigErrorCode.credentials, message }]);
  if (cause !== undefined) error.cause = cause;
  return error;
}
