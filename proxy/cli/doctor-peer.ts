/** `qstunnel doctor peer`: options and files; the questions themselves are proxy/doctor's. */
import type { Argv } from 'yargs';
import {
  CertError,
  type Identity,
  isSaeId,
  loadIdentity,
  loadTrust,
  SAE_ID_SYNTAX,
  type TrustAnchors,
} from '../../certs/index.ts';
import { isConfigError } from '../config/config-error.ts';
import { parseAddress } from '../config/index.ts';
import type { SocketAddress } from '../data-path/index.ts';
import { examinePeer } from '../doctor/examine-peer.ts';
import { errorText } from '../errors.ts';
import { DEFAULT_REQUIREMENT, REQUIREMENTS, type Requirement } from '../policy.ts';
import { CliError, CliErrorCode } from './cli-error.ts';
import { peerDoctorView } from './doctor-peer-view.ts';
import { readPemFile } from './pem-file.ts';
import { untilStopped } from './until-stopped.ts';

interface PeerArguments {
  readonly address: string;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | undefined;
  readonly peerSae?: string[] | undefined;
  readonly require: Requirement;
  readonly json: boolean;
}

const PEER_USAGE = `$0 doctor peer <address> [options]

Says what a TLS server speaks, the other proxy or any other: versions, groups, cipher suites,
pre-shared keys and tickets, qkd_psk, application protocols, certificates, and what a service here
would make of it, by each value of its "require". It makes some twenty connections, one after the
other, and sends no application data. With --cert and --key it is let in as a client proxy is,
and the application behind a proxy sees one connection that ends at once.
Exit status 0 exactly when --require would admit it.`;

export function peerOptions(parser: Argv): Argv<PeerArguments> {
  return parser
    .usage(PEER_USAGE)
    .positional('address', { type: 'string', demandOption: true, describe: 'HOST:PORT, [IPv6]:PORT or unix:/path' })
    .option('cert', {
      type: 'string',
      requiresArg: true,
      describe: 'PEM file: our certificate, shown if it is asked for',
    })
    .option('key', { type: 'string', requiresArg: true, describe: 'PEM file: its private key' })
    .option('ca', {
      type: 'string',
      requiresArg: true,
      describe: "PEM file: the CAs that judge the server's certificate",
    })
    .option('peer-sae', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe: 'SAE ID that its certificate must name; repeatable; needs --ca',
    })
    .option('require', {
      choices: REQUIREMENTS,
      requiresArg: true,
      default: DEFAULT_REQUIREMENT,
      describe: 'The policy that decides the exit status',
    })
    .option('json', { type: 'boolean', default: false, describe: 'One line of JSON on stdout, and nothing else' })
    .example('$0 doctor peer siteb:8443', 'what is there?')
    .example(
      '$0 doctor peer siteb:8443 --cert a.pem --key a.key --ca ca.pem --peer-sae siteB --require qkd-and-pqc',
      'would a client service with these settings admit it, and be admitted?',
    ) as unknown as Argv<PeerArguments>;
}

/**
 * Prints the report.
 *
 * @throws CliError `ERR_CLI_USAGE` or `ERR_CLI_FILE` for options and files that make no sense, `ERR_CLI_VERDICT` if the peer would not be admitted.
 */
export async function examinePeerCommand(argv: PeerArguments): Promise<void> {
  const address = addressOf(argv.address);
  const view = peerDoctorView(process.stdout, argv.json);
  const { identity, trust } = await readFiles(argv);
  const peerSaeIds = argv.peerSae;
  if (peerSaeIds !== undefined && trust === undefined)
    throw usage('--peer-sae needs --ca, to judge the certificate by');
  for (const sae of peerSaeIds ?? []) if (!isSaeId(sae)) throw usage(`--peer-sae is an SAE ID: ${SAE_ID_SYNTAX}`);
  try {
    const report = await untilStopped((signal) =>
      examinePeer({
        address,
        require: argv.require,
        nowMs: Date.now(),
        onWaiting: (what) => view.waiting(what),
        signal,
        ...(identity === undefined ? {} : { identity }),
        ...(trust === undefined ? {} : { trust }),
        ...(peerSaeIds === undefined ? {} : { peerSaeIds }),
      }),
    );
    view.report(report, argv.require);
    if (!report.ok) throw new CliError(CliErrorCode.verdict, report.problems.join('; '));
  } finally {
    view.end();
  }
}

async function readFiles(argv: PeerArguments): Promise<{ identity?: Identity; trust?: TrustAnchors }> {
  const { cert, key, ca } = argv;
  for (const [name, value] of Object.entries({ cert, key, ca })) {
    if (Array.isArray(value)) throw usage(`--${name} is given ${value.length} times, and has one value`);
  }
  if ((cert === undefined) !== (key === undefined)) throw usage('--cert and --key go together');
  const identity =
    cert === undefined || key === undefined
      ? undefined
      : usable('--cert and --key', loadIdentity, await readPemFile(cert, '--cert'), await readPemFile(key, '--key'));
  const trust = ca === undefined ? undefined : usable('--ca', loadTrust, await readPemFile(ca, '--ca'));
  return { ...(identity === undefined ? {} : { identity }), ...(trust === undefined ? {} : { trust }) };
}

function usable<A extends readonly unknown[], T>(what: string, load: (...args: A) => T, ...args: A): T {
  try {
    return load(...args);
  } catch (error) {
    if (!(error instanceof CertError)) throw error;
    throw usage(`${what} can not be used: ${error.message} (${error.code})`);
  }
}

function addressOf(text: string): SocketAddress {
  try {
    const address = parseAddress(text);
    if ('port' in address && address.port === 0) throw new RangeError('a port to connect to is 1 to 65535');
    return address;
  } catch (error) {
    if (!(error instanceof RangeError) && !isConfigError(error)) throw error;
    const scheme = /^[a-z0-9-]+:\/\//i.test(text) ? '; write HOST:PORT without a scheme' : '';
    throw usage(`'${text.slice(0, 100)}' ${errorText(error)}${scheme}`);
  }
}

function usage(message: string): CliError {
  return new CliError(CliErrorCode.usage, message);
}
