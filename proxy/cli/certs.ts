/** `qstunnel certs init|issue|show`: a small CA in a folder. */
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import {
  type Certificate,
  type Credential,
  certificatesOfPem,
  createCa,
  DEFAULT_CA_VALIDITY_DAYS,
  DEFAULT_LEAF_VALIDITY_DAYS,
  ipAddressText,
  isSaeId,
  issueLeaf,
  type KeyAlgorithm,
  keyNameOf,
  type LeafProfile,
  parseCertificate,
} from '../../certs/index.ts';
import { CliError, CliErrorCode } from './cli-error.ts';
import { findPemFile, readPemFile, writePemFiles } from './pem-file.ts';

const PROFILES: readonly LeafProfile[] = ['proxy', 'sae', 'kme'];
/** Names become file names. */
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const CA_NAME = 'ca';

/** Names of algorithms as options have them. */
const ALGORITHMS: Readonly<Record<string, KeyAlgorithm>> = {
  'ecdsa-p256': 'ECDSA P-256',
  'ml-dsa-44': 'ML-DSA-44',
  'ml-dsa-65': 'ML-DSA-65',
  'ml-dsa-87': 'ML-DSA-87',
};

interface InitArguments {
  algorithm: string | undefined;
  dir: string | undefined;
  name: string | undefined;
  days: number;
}

interface IssueArguments {
  algorithm: string | undefined;
  name: string;
  dir: string | undefined;
  profile: LeafProfile;
  sae: string[] | undefined;
  host: string[] | undefined;
  days: number;
}

interface ShowArguments {
  files: string[];
  json: boolean;
}

export const certsCommand: CommandModule = {
  command: 'certs',
  describe: 'Make a small CA and certificates for proxies, SAEs and key managers',
  builder: (parser) =>
    parser
      .usage(
        '$0 certs <init|issue|show>\n\nA small CA in a folder: certificates with ECDSA P-256 or ML-DSA keys, in files that OpenSSL reads.',
      )
      .command('init', 'Make a CA', initOptions, async (argv) => init(argv))
      .command('issue <name>', 'Make a certificate under the CA', issueOptions, async (argv) => issue(argv))
      .command('show <files..>', 'Show what certificates say', showOptions, async (argv) => show(argv))
      .demandCommand(1, 'say what to do: init, issue or show; "qstunnel certs --help" has examples')
      .example('$0 certs init --dir pki', 'make pki/ca.pem and pki/ca.key')
      .example('$0 certs issue siteA --dir pki --host a.example', 'make pki/siteA.pem for the proxy of SAE siteA'),
  handler: () => {},
};

const dirOption = {
  type: 'string',
  requiresArg: true,
  defaultDescription: '"."',
  describe: 'Folder of the CA; made with mode 0700 if missing',
} as const;

const algorithmOption = {
  choices: Object.keys(ALGORITHMS),
  requiresArg: true,
  defaultDescription: '"ecdsa-p256"',
  describe: 'What the key is; ML-DSA is post-quantum',
} as const;

function algorithmOf(name: string | undefined): KeyAlgorithm {
  return ALGORITHMS[name ?? 'ecdsa-p256'] as KeyAlgorithm;
}

function initOptions(parser: Argv): Argv<InitArguments> {
  return parser
    .usage('$0 certs init [options]\n\nMakes ca.pem and ca.key (mode 0600). Existing files are not overwritten.')
    .option('dir', dirOption)
    .option('algorithm', algorithmOption)
    .option('name', {
      type: 'string',
      requiresArg: true,
      defaultDescription: '"qstunnel CA"',
      describe: 'Common name of the CA',
    })
    .option('days', {
      type: 'number',
      requiresArg: true,
      default: DEFAULT_CA_VALIDITY_DAYS,
      describe: 'Days that it is valid',
    })
    .check((argv) => checkDays(argv as unknown as InitArguments))
    .example('$0 certs init --dir pki --name "Edge lab CA"', 'make pki/ca.pem and pki/ca.key') as Argv<InitArguments>;
}

const MAX_DAYS = 36_500;

function checkDays({ days }: { readonly days: number }): true {
  if (!(days > 0 && days <= MAX_DAYS)) throw usage(`--days is a number above 0, and at most ${MAX_DAYS}`);
  return true;
}

async function init({ dir = '.', name = 'qstunnel CA', days, algorithm }: InitArguments): Promise<void> {
  const ca = await createCa({
    commonName: name,
    algorithm: algorithmOf(algorithm),
    nowMs: Date.now(),
    validityDays: days,
  });
  const files = await writePemFiles(dir, CA_NAME, ca);
  process.stdout.write(`${files.cert}\n${files.key}\n`);
}

function issueOptions(parser: Argv): Argv<IssueArguments> {
  return parser
    .usage('$0 certs issue <name> [options]\n\nMakes NAME.pem and NAME.key (mode 0600) under the CA in the folder.')
    .positional('name', { type: 'string', demandOption: true, describe: 'Common name, and name of the files' })
    .option('dir', dirOption)
    .option('algorithm', algorithmOption)
    .option('profile', {
      choices: PROFILES,
      requiresArg: true,
      default: 'proxy',
      describe: 'What the certificate is for',
    })
    .option('sae', {
      type: 'string',
      requiresArg: true,
      array: true,
      describe: 'SAE ID it names; repeatable; default NAME (not for kme)',
    })
    .option('host', {
      type: 'string',
      requiresArg: true,
      array: true,
      describe: 'DNS name or IP address it names; repeatable',
    })
    .option('days', {
      type: 'number',
      requiresArg: true,
      default: DEFAULT_LEAF_VALIDITY_DAYS,
      describe: 'Days that it is valid',
    })
    .check((argv) => checkDays(argv as unknown as IssueArguments))
    .example('$0 certs issue siteA --dir pki', 'for the proxy of SAE siteA')
    .example('$0 certs issue siteA --dir pki --algorithm ml-dsa-65', 'the same, with post-quantum signatures')
    .example(
      '$0 certs issue kme-a --dir pki --profile kme --host 127.0.0.1',
      'for a key manager',
    ) as Argv<IssueArguments>;
}

async function issue(argv: IssueArguments): Promise<void> {
  const { name, dir = '.', profile, host = [], days } = argv;
  if (!FILE_NAME.test(name) || name === CA_NAME) {
    throw usage(`NAME becomes a file name: letters, digits, ".", "_" and "-", not "${CA_NAME}"`);
  }
  const saeIds = argv.sae ?? (profile === 'kme' || !isSaeId(name) ? [] : [name]);
  const ca: Credential = {
    certPem: await readCaFile(join(dir, `${CA_NAME}.pem`), dir),
    keyPem: await readCaFile(join(dir, `${CA_NAME}.key`), dir),
  };
  const leaf = await issueLeaf(ca, profile, {
    commonName: name,
    algorithm: algorithmOf(argv.algorithm),
    saeIds,
    dnsNames: host.filter((one) => isIP(one) === 0),
    ipAddresses: host.filter((one) => isIP(one) !== 0),
    nowMs: Date.now(),
    validityDays: days,
  });
  const files = await writePemFiles(dir, name, leaf);
  process.stdout.write(`${files.cert}\n${files.key}\n`);
}

function showOptions(parser: Argv): Argv<ShowArguments> {
  return parser
    .usage('$0 certs show <files..>\n\nShows each certificate of PEM files. Private keys are never shown.')
    .positional('files', { type: 'string', array: true, demandOption: true, describe: 'PEM files' })
    .option('json', { type: 'boolean', default: false, describe: 'One JSON array on stdout' })
    .example('$0 certs show pki/siteA.pem', 'names, SAE IDs, purposes, period and fingerprint') as Argv<ShowArguments>;
}

async function show({ files, json }: ShowArguments): Promise<void> {
  const shown: CertificateFacts[] = [];
  for (const file of files) {
    const pem = await readPemFile(file);
    for (const der of certificatesOfPem(pem)) shown.push(factsOf(file, parseCertificate(der), Date.now()));
  }
  if (json) process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
  else process.stdout.write(shown.map(factsText).join('\n'));
}

interface CertificateFacts {
  readonly file: string;
  readonly subject: string;
  readonly ca: boolean;
  readonly key: string;
  readonly saeIds: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly purposes: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  readonly state: 'valid' | 'expired' | 'not yet valid';
  readonly sha256: string;
}

const PURPOSE_NAMES: Readonly<Record<string, string>> = {
  '1.3.6.1.5.5.7.3.1': 'TLS server',
  '1.3.6.1.5.5.7.3.2': 'TLS client',
};

function factsOf(file: string, certificate: Certificate, nowMs: number): CertificateFacts {
  const expired = nowMs > certificate.notAfterMs ? 'expired' : 'valid';
  return {
    file,
    subject: certificate.subjectText,
    ca: certificate.isCa,
    key: keyNameOf(certificate),
    saeIds: certificate.saeIds,
    dnsNames: certificate.dnsNames,
    ipAddresses: certificate.ipAddresses.map(ipAddressText),
    purposes: (certificate.extendedKeyUsage ?? []).map((oid) => PURPOSE_NAMES[oid] ?? oid),
    notBefore: new Date(certificate.notBeforeMs).toISOString(),
    notAfter: new Date(certificate.notAfterMs).toISOString(),
    state: nowMs < certificate.notBeforeMs ? 'not yet valid' : expired,
    sha256: createHash('sha256').update(certificate.der).digest('hex'),
  };
}

function factsText(facts: CertificateFacts): string {
  const rows: [string, string][] = [
    ['subject', facts.subject + (facts.ca ? ' (CA)' : '')],
    ['key', facts.key],
    ['SAE', facts.saeIds.join(', ')],
    ['hosts', [...facts.dnsNames, ...facts.ipAddresses].join(', ')],
    ['purposes', facts.purposes.join(', ')],
    ['valid', `${facts.notBefore} to ${facts.notAfter} (${facts.state})`],
    ['sha256', facts.sha256],
  ];
  const written = rows.filter(([, value]) => value !== '');
  return `${facts.file}\n${written.map(([label, value]) => `  ${label.padEnd(9)}${value}\n`).join('')}`;
}

async function readCaFile(path: string, dir: string): Promise<string> {
  const text = await findPemFile(path);
  if (text !== undefined) return text;
  throw new CliError(CliErrorCode.file, `${path} is not there; "qstunnel certs init --dir ${dir}" makes a CA`);
}

function usage(message: string): CliError {
  return new CliError(CliErrorCode.usage, message);
}
