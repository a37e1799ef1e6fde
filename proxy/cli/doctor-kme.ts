/** `qstunnel doctor kme`: options and files; the conversation itself is kdi-client's. */
import type { Argv } from 'yargs';
import { isSaeId, SAE_ID_SYNTAX } from '../../certs/index.ts';
import {
  examineKme,
  isKdiError,
  type KmeExaminationOptions,
  type KmeTls,
  type KmeVerdict,
  type KnownQuirks,
  type PskTls,
} from '../../kdi-client/index.ts';
import { DURATION_FORM, parseDuration } from '../config/duration.ts';
import { ConfigError, loadPsk } from '../config/index.ts';
import { CliError, CliErrorCode } from './cli-error.ts';
import { kmeDoctorView } from './doctor-view.ts';
import { readPemFile } from './pem-file.ts';
import { untilStopped } from './until-stopped.ts';

interface KmeArguments {
  readonly url: string;
  readonly sae?: string | undefined;
  readonly peerSae?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | undefined;
  readonly kmeServerName?: string | undefined;
  readonly kmeId?: string | undefined;
  readonly kmePin?: string[] | undefined;
  readonly psk?: string | undefined;
  readonly peer?: string | undefined;
  readonly peerCert?: string | undefined;
  readonly peerKey?: string | undefined;
  readonly peerCa?: string | undefined;
  readonly peerServerName?: string | undefined;
  readonly peerKmeId?: string | undefined;
  readonly peerKmePin?: string[] | undefined;
  readonly peerPsk?: string | undefined;
  readonly ksid?: 'allocated' | 'chosen' | undefined;
  readonly openAs?: 'same' | 'swapped' | undefined;
  readonly saeUri?: string | undefined;
  readonly keySizeInBytes: boolean;
  readonly oneBatchAtATime: boolean;
  readonly unknownKeyStatus?: number[] | undefined;
  readonly minKeyAge?: string | undefined;
  readonly getOnly: boolean;
  readonly upperCaseKeyIds: boolean;
  readonly unsafePlaintextKme: boolean;
  readonly json: boolean;
}

const KME_USAGE = `$0 doctor kme <url> [options]

Has a conversation with a key manager that ends in a verdict: reachable, TLS and certificates,
whose SAE it sees in ours, status, sizes, a draw; with --peer also whether the other side has the
same key, and how soon. What it spends: a dozen keys. It never prints one. Exit status 0 exactly
when every check passes; a key manager that is silent is given up within 15 s.

URL: etsi004://HOST:PORT[?dialect=qubip], etsi014://HOST[:PORT][/PREFIX] or skip://HOST[:PORT][/PREFIX].`;

export function kmeOptions(parser: Argv): Argv<KmeArguments> {
  const file = (describe: string) => ({ type: 'string', requiresArg: true, describe }) as const;
  const list = (describe: string) => ({ type: 'string', array: true, requiresArg: true, describe }) as const;
  const flag = (describe: string) => ({ type: 'boolean', default: false, describe }) as const;
  return parser
    .usage(KME_USAGE)
    .positional('url', { type: 'string', demandOption: true, describe: 'The key manager that keys are drawn from' })
    .option('sae', file('Our own SAE ID'))
    .option('peer-sae', file("The peer's SAE ID"))
    .option('cert', file('PEM file: our certificate towards the key manager'))
    .option('key', file('PEM file: its private key'))
    .option('ca', file("PEM file: the key manager's CAs"))
    .option('kme-server-name', file("Name that the key manager's certificate must hold; default the host of URL"))
    .option('kme-id', file("KME ID that its certificate must name; the host's name is not compared then"))
    .option('kme-pin', list("SHA-256 in hex of its certificate; the host's name is not compared then; repeatable"))
    .option('psk', file('SKIP: file with IDENTITY:HEX, a pre-shared key in place of certificates (kme-psk)'))
    .option('peer', file("URL of the key manager at the peer's end; keys are looked up there"))
    .option('peer-cert', file("PEM file: the peer's certificate towards it"))
    .option('peer-key', file('PEM file: its private key'))
    .option('peer-ca', { ...file('PEM file: its CAs'), defaultDescription: 'that of --ca' })
    .option('peer-server-name', file('Name that its certificate must hold; default the host of --peer'))
    .option('peer-kme-id', file('KME ID that its certificate must name'))
    .option('peer-kme-pin', list('SHA-256 in hex of its certificate; repeatable'))
    .option('peer-psk', file("SKIP: the peer's pre-shared key there"))
    .option('ksid', {
      choices: ['allocated', 'chosen'] as const,
      requiresArg: true,
      describe: '004: who makes the key stream ID',
    })
    .option('open-as', {
      choices: ['same', 'swapped'] as const,
      requiresArg: true,
      describe: '004: how the answering side names the ends',
    })
    .option('sae-uri', file('004: how SAE IDs become URIs, with {sae} for the ID'))
    .option('key-size-in-bytes', flag('014: it counts key sizes in bytes'))
    .option('one-batch-at-a-time', flag('014: it forgets what was not fetched when more is drawn'))
    .option('unknown-key-status', {
      type: 'number',
      array: true,
      requiresArg: true,
      describe: '014: HTTP status for an unknown key_ID; repeatable',
    })
    .option('min-key-age', file('014: how long a key takes to reach the other side, as in 200ms'))
    .option('get-only', flag('014: it knows the GET forms only'))
    .option('upper-case-key-ids', flag('SKIP: it knows its key IDs in upper case only'))
    .option('unsafe-plaintext-kme', flag('004 without TLS: anyone on the way reads the keys'))
    .option('json', flag('One line of JSON on stdout, and nothing else'))
    .group(['sae', 'peer-sae', 'cert', 'key', 'ca', 'kme-server-name', 'kme-id', 'kme-pin', 'psk'], 'This end:')
    .group(
      [...['peer', 'peer-cert', 'peer-key', 'peer-ca', 'peer-server-name', 'peer-kme-id', 'peer-kme-pin'], 'peer-psk'],
      'The other end:',
    )
    .group(
      [
        ...['ksid', 'open-as', 'sae-uri', 'key-size-in-bytes', 'one-batch-at-a-time', 'unknown-key-status'],
        ...['min-key-age', 'get-only', 'upper-case-key-ids', 'unsafe-plaintext-kme'],
      ],
      'Set in the configuration already:',
    )
    .example(
      '$0 doctor kme etsi014://kme-a --sae siteA --peer-sae siteB --cert a.pem --key a.key --ca ca.pem',
      'one key manager',
    )
    .example(
      '$0 doctor kme etsi004://kme-a:25575 --sae siteA --peer-sae siteB --cert a.pem --key a.key --ca ca.pem --peer etsi004://kme-b:25575 --peer-cert b.pem --peer-key b.key --peer-ca ca.pem',
      'both ends of a link: the same keys?',
    )
    .example(
      "$0 doctor kme … --json | jq -r '.checks[].configHint | values'",
      'the lines that the configuration needs',
    ) as unknown as Argv<KmeArguments>;
}

/**
 * Prints the verdict.
 *
 * @throws CliError `ERR_CLI_USAGE` or `ERR_CLI_FILE` for options and files that make no sense, `ERR_CLI_VERDICT` if a check failed.
 */
export async function examineKmeCommand(argv: KmeArguments): Promise<void> {
  const view = kmeDoctorView(process.stdout, argv.json);
  let verdict: KmeVerdict;
  try {
    verdict = await untilStopped(async (signal) => {
      const options = await examinationOptions(argv);
      view.begin(argv.url, options);
      return examineKme({ ...options, observer: view, signal });
    });
  } catch (error) {
    throw isKdiError(error) ? usage(error.message) : error;
  } finally {
    view.end();
  }
  view.verdict(verdict);
  if (!verdict.ok) throw new CliError(CliErrorCode.verdict, failureText(verdict));
}

function failureText({ checks }: KmeVerdict): string {
  const failed = checks.filter(({ ok }) => !ok).map(({ id }) => id);
  return `${failed.length} of ${checks.length} checks failed: ${[...new Set(failed)].join(', ')}`;
}

async function examinationOptions(argv: KmeArguments): Promise<KmeExaminationOptions> {
  expectOnce(argv);
  const sae = saeOf('sae', argv.sae, 'siteA');
  const peerSae = saeOf('peer-sae', argv.peerSae, 'siteB');
  const known = knownQuirks(argv);
  const plain = argv.unsafePlaintextKme;
  const own = plain ? undefined : await tlsOf('', argv);
  const idle = PEER_OPTIONS.find((name) => argv[name]);
  if (argv.peer === undefined && idle !== undefined) {
    throw usage(`${optionText(idle)} is of no use without --peer URL, the key manager at the other end`);
  }
  const peer =
    argv.peer === undefined || plain
      ? undefined
      : await tlsOf('peer-', {
          cert: argv.peerCert,
          key: argv.peerKey,
          ca: argv.peerCa ?? argv.ca,
          kmeServerName: argv.peerServerName,
          kmeId: argv.peerKmeId,
          kmePin: argv.peerKmePin,
          psk: argv.peerPsk,
        });
  return {
    own: { url: argv.url, saeId: sae, ...(own === undefined ? {} : { tls: own }) },
    peerSaeId: peerSae,
    ...(argv.peer === undefined ? {} : { peer: { url: argv.peer, ...(peer === undefined ? {} : { tls: peer }) } }),
    known,
    unsafePlainTcp: plain,
    nowMs: Date.now(),
  };
}

const PEER_OPTIONS = [
  ...(['peerCert', 'peerKey', 'peerCa', 'peerServerName', 'peerKmeId', 'peerKmePin', 'peerPsk'] as const),
];
/** As the configuration takes it for `kme-pin`. */
const SHA256_HEX = /^(?:[0-9a-fA-F]{2}:?){32}$/;

type AccessArguments = Pick<KmeArguments, 'cert' | 'key' | 'ca' | 'kmeServerName' | 'kmeId' | 'kmePin' | 'psk'>;

async function tlsOf(prefix: '' | 'peer-', given: AccessArguments): Promise<KmeTls | PskTls> {
  const { kmeServerName: serverName, kmeId, kmePin } = given;
  if (given.psk !== undefined) {
    // `ca` may be there for the other end.
    const other = (['cert', 'key', 'kmeServerName', 'kmeId', 'kmePin'] as const).find((name) => given[name]);
    if (other !== undefined)
      throw usage(`--${prefix}psk takes the place of certificates, and of what is asked of them`);
    return { psk: await readPsk(`--${prefix}psk`, given.psk) };
  }
  const read = (name: 'cert' | 'key' | 'ca') => {
    const path = given[name];
    if (path === undefined) {
      const whose = prefix === '' ? 'our' : "the peer's";
      throw usage(
        `--${prefix}${name} is missing: the key manager wants ${whose} certificate (--${prefix}cert, --${prefix}key), and we its CA (--${prefix}ca)`,
      );
    }
    return readPemFile(path, `--${prefix}${name}`);
  };
  const wrong = kmePin?.find((pin) => !SHA256_HEX.test(pin));
  if (wrong !== undefined) throw usage(`--${prefix}kme-pin is a SHA-256 in hex: 64 digits, with or without colons`);
  return {
    cert: await read('cert'),
    key: await read('key'),
    ca: await read('ca'),
    ...(serverName === undefined ? {} : { serverName }),
    ...(kmeId === undefined ? {} : { kmeId }),
    ...(kmePin === undefined ? {} : { pinnedSha256: kmePin }),
  };
}

async function readPsk(option: string, path: string): Promise<PskTls['psk']> {
  try {
    const { identity, key } = await loadPsk(path);
    return { identity, key };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new CliError(CliErrorCode.file, `${option}: ${error.problems[0]?.message ?? error.message}`);
  }
}

function knownQuirks(argv: KmeArguments): KnownQuirks {
  const { ksid, openAs, saeUri, unknownKeyStatus, minKeyAge } = argv;
  if (saeUri !== undefined && !saeUri.includes('{sae}')) throw usage('--sae-uri has {sae} in it, as qkd://{sae}');
  const wrong = unknownKeyStatus?.find((status) => !Number.isInteger(status) || status < 400 || status > 599);
  if (wrong !== undefined) throw usage(`--unknown-key-status is an HTTP status from 400 to 599, and not ${wrong}`);
  return {
    ...(ksid === undefined ? {} : { ksid }),
    ...(openAs === undefined ? {} : { openAs }),
    ...(saeUri === undefined ? {} : { uriTemplate: saeUri }),
    ...(argv.keySizeInBytes ? { keySizeInBytes: true } : {}),
    ...(argv.oneBatchAtATime ? { oneBatchAtATime: true } : {}),
    ...(unknownKeyStatus === undefined ? {} : { unknownKeyStatuses: unknownKeyStatus }),
    ...(minKeyAge === undefined ? {} : { minKeyAgeMs: durationOf(minKeyAge) }),
    ...(argv.getOnly ? { getOnly: true } : {}),
    ...(argv.upperCaseKeyIds ? { upperCaseKeyIds: true } : {}),
  };
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw usage(`--min-key-age is ${DURATION_FORM}`);
  }
}

function saeOf(name: string, value: string | undefined, example: string): string {
  if (value === undefined) throw usage(`--${name} is missing: an SAE ID, as in --${name} ${example}`);
  if (!isSaeId(value)) throw usage(`--${name} is an SAE ID: ${SAE_ID_SYNTAX}`);
  return value;
}

const REPEATABLE = /^(?:unknown-?key-?status|(?:peer-?)?kme-?pin)$/i;

/** yargs makes a list of an option that is given twice. */
function expectOnce(argv: KmeArguments): void {
  for (const [name, value] of Object.entries(argv)) {
    if (!Array.isArray(value) || name === '_' || REPEATABLE.test(name)) continue;
    throw usage(`${optionText(name)} is given ${value.length} times, and has one value`);
  }
}

function optionText(camelCase: string): string {
  return `--${camelCase.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function usage(message: string): CliError {
  return new CliError(CliErrorCode.usage, message);
}
