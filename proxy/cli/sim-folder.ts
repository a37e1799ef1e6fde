/** The CA and certificates of `qstunnel sim up`. */
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import {
  CertError,
  type Credential,
  createCa,
  issueLeaf,
  loadIdentity,
  loadTrust,
  type TrustAnchors,
  validateChain,
} from '../../certs/index.ts';
import type { KmeTls } from '../../qkd-sim/index.ts';
import { TemporaryFolder } from '../temporary-folder.ts';
import { CliError, CliErrorCode } from './cli-error.ts';
import { findPemFile, writePemFiles } from './pem-file.ts';

const CA_NAME = 'ca';
/** A certificate that would expire sooner is not used: a simulator may run for long. */
const MIN_TIME_LEFT_MS = 24 * 3600_000;

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
 * there already is used, or refused if it would not do), or in a new folder of mode 0700.
 *
 * @throws CliError `ERR_CLI_FILE`
 */
export async function openSimFolder(
  dir: string | undefined,
  saeIds: readonly [string, string],
  host: string,
): Promise<SimFolder> {
  if (dir !== undefined) {
    return { ...(await fill(resolve(dir), saeIds, host)), remove: async () => {} };
  }
  const temporary = new TemporaryFolder('qstunnel-sim-');
  const remove = () => temporary.remove();
  try {
    return { ...(await fill(temporary.path, saeIds, host)), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** A certificate with its key, as it is to be in the folder. */
interface Wanted {
  readonly name: string;
  readonly purpose: 'client' | 'server';
  readonly saeIds?: readonly string[];
  readonly verifyHost?: string;
  make(ca: Credential): Promise<Credential>;
}

async function fill(dir: string, saeIds: readonly [string, string], host: string): Promise<Omit<SimFolder, 'remove'>> {
  const nowMs = Date.now();
  const names =
    isIP(host) === 0
      ? { dnsNames: ['localhost', host], ipAddresses: ['127.0.0.1', '::1'] }
      : { dnsNames: ['localhost'], ipAddresses: [...new Set(['127.0.0.1', '::1', host])] };
  const kme = (name: string): Wanted => ({
    name,
    purpose: 'server',
    verifyHost: host,
    make: (ca) => issueLeaf(ca, 'kme', { commonName: name, nowMs, ...names }),
  });
  const sae = (saeId: string, fallbackName: string): Wanted => {
    const name = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(saeId) ? saeId : fallbackName;
    return {
      name,
      purpose: 'client',
      saeIds: [saeId],
      // For tunnels too, so that one certificate is enough to try everything.
      make: (ca) => issueLeaf(ca, 'proxy', { commonName: name, nowMs, saeIds: [saeId], ...names }),
    };
  };
  const kmes = [kme('kme-a'), kme('kme-b')] as const;
  const saes = [sae(saeIds[0], 'sae-a'), sae(saeIds[1], 'sae-b')] as const;
  const { ca, leaves } = await credentials(dir, [...kmes, ...saes], nowMs);
  const tlsOf = ({ name }: Wanted): KmeTls => {
    const { certPem, keyPem } = leaves.get(name) as Credential;
    return { cert: certPem, key: keyPem, ca: ca.certPem };
  };
  const filesOf = (saeId: string, { name }: Wanted): SimFiles => ({
    saeId,
    cert: join(dir, `${name}.pem`),
    key: join(dir, `${name}.key`),
    ca: join(dir, `${CA_NAME}.pem`),
  });
  return {
    kmes: [tlsOf(kmes[0]), tlsOf(kmes[1])],
    saes: [filesOf(saeIds[0], saes[0]), filesOf(saeIds[1], saes[1])],
  };
}

/**
 * The CA of the folder and what is wanted under it. What is there is used, what
 * is missing is made. Nothing is replaced, since it may be somebody's own: where
 * something is there that would not do, nothing is made, and the user is told.
 */
async function credentials(dir: string, wanted: readonly Wanted[], nowMs: number) {
  const problems: { readonly name: string; readonly text: string }[] = [];
  const there = async (name: string, judge: (credential: Credential) => void): Promise<Credential | undefined> => {
    try {
      const [certPem, keyPem] = await Promise.all([findFile(dir, name, 'pem'), findFile(dir, name, 'key')]);
      if (certPem === undefined && keyPem === undefined) return undefined;
      if (certPem === undefined || keyPem === undefined) {
        const [missing, left] = certPem === undefined ? ['pem', 'key'] : ['key', 'pem'];
        throw new Unusable(`${name}.${missing} is missing beside ${name}.${left}`);
      }
      const credential = { certPem, keyPem };
      judge(credential);
      return credential;
    } catch (error) {
      if (!(error instanceof Unusable) && !(error instanceof CertError)) throw error;
      problems.push({ name, text: error.message });
      return undefined;
    }
  };

  const oldCa = await there(CA_NAME, (ca) => judgeCa(ca, nowMs));
  const ca = oldCa ?? (await createCa({ commonName: 'qstunnel simulator CA', nowMs }));
  const trust = loadTrust(ca.certPem);
  const leaves = new Map<string, Credential>();
  for (const one of wanted) {
    const leaf = await there(one.name, (credential) => judgeLeaf(credential, one, trust, nowMs));
    if (leaf !== undefined) leaves.set(one.name, leaf);
  }
  const [first] = problems;
  if (first !== undefined) {
    const files = problems.map(({ name }) => `${name}.*`).join(', ');
    const all = problems.length === 1 ? 'it' : 'them';
    throw new CliError(
      CliErrorCode.file,
      `what is in ${dir} can not be used: ${first.text}; move ${files} away to have ${all} made anew, or choose another --dir`,
    );
  }
  if (oldCa === undefined) await writePemFiles(dir, CA_NAME, ca);
  for (const { name, make } of wanted) {
    if (leaves.has(name)) continue;
    const made = await make(ca);
    await writePemFiles(dir, name, made);
    leaves.set(name, made);
  }
  return { ca, leaves };
}

function findFile(dir: string, name: string, extension: 'pem' | 'key'): Promise<string | undefined> {
  return findPemFile(join(dir, `${name}.${extension}`));
}

/** Why a credential that is there would not do. */
class Unusable extends Error {}

function judgeCa({ certPem, keyPem }: Credential, nowMs: number): void {
  const { leaf } = loadIdentity(certPem, keyPem);
  loadTrust(certPem);
  expectTimeLeft(leaf.subjectText, leaf.notAfterMs, nowMs);
}

function judgeLeaf({ certPem, keyPem }: Credential, wanted: Wanted, trust: TrustAnchors, nowMs: number): void {
  const { chainDer } = loadIdentity(certPem, keyPem);
  const { purpose, saeIds, verifyHost } = wanted;
  const verdict = validateChain({
    ...{ chainDer, trust, nowMs, purpose },
    ...(saeIds === undefined ? {} : { expectedSaeIds: saeIds }),
    ...(verifyHost === undefined ? {} : { verifyHost }),
  });
  if (!verdict.ok) throw verdict.error;
  expectTimeLeft(verdict.subject, verdict.notAfterMs, nowMs);
}

function expectTimeLeft(subject: string, notAfterMs: number, nowMs: number): void {
  if (notAfterMs >= nowMs + MIN_TIME_LEFT_MS) return;
  const verb = notAfterMs < nowMs ? 'expired' : 'expires within a day,';
  throw new Unusable(`the certificate of ${subject} ${verb} at ${new Date(notAfterMs).toISOString()}`);
}
