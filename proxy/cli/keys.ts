/** `qstunnel keys status|watch`: how many keys there are, for whom, and for how long. */
import type { Argv, CommandModule } from 'yargs';
import { createKeySource, isKdiError, systemClock } from '../../kdi-client/index.ts';
import {
  configFromOptions,
  DURATION_FORM,
  keyManagerOptions,
  loadConfigFile,
  type ProxyConfig,
  parseDuration,
} from '../config/index.ts';
import type { KeyReport, KeyReportSource } from '../key-report/key-report.ts';
import { type AskedPool, kmeKeyReports } from '../key-report/kme-report.ts';
import { CliError, CliErrorCode } from './cli-error.ts';
import { keysView } from './keys-view.ts';
import { loadKmeTls } from './kme-credentials.ts';

interface StatusArguments {
  readonly config?: string | undefined;
  readonly kme?: string[] | undefined;
  readonly json: boolean;
}

interface WatchArguments extends StatusArguments {
  readonly every?: string | undefined;
  readonly times?: number | undefined;
}

const USAGE = `$0 keys <status|watch>

Says how many keys the key managers hold for each peer, at what rate they change, and when they
would run out. It draws none. Of which key managers: those of a configuration file (--config),
or the one of --kme. It asks these key managers, and not a running proxy: what that one keeps
ready in its own memory is not shown.`;

/** Between the two readings that a rate is made of. */
const STATUS_SPAN_MS = 1_000;
const DEFAULT_EVERY = '2s';
const MIN_EVERY_MS = 100;

export const keysCommand: CommandModule = {
  command: 'keys',
  describe: 'Show how many keys there are for each peer',
  builder: (parser) =>
    parser
      .usage(USAGE)
      .command('status', 'Show it once', statusOptions, async (argv) => showStatus(argv))
      .command('watch', 'Show it again and again, until Ctrl-C', watchOptions, async (argv) => watch(argv))
      .demandCommand(1, 'say what to do: status or watch; "qstunnel keys --help" has examples')
      .example('$0 keys status --config qstunnel.yaml', 'every key manager and peer of a configuration'),
  handler: () => {},
};

function statusOptions(parser: Argv): Argv<StatusArguments> {
  return commonOptions(parser)
    .usage(
      '$0 keys status [options]\n\nTwo readings, a second apart, so that there is a rate. Exit status 0 if every pool has keys, or its key manager does not tell; 1 if one is empty or unreachable. The key managers are asked, not a running proxy.',
    )
    .example('$0 keys status --config qstunnel.yaml', 'every key manager and peer of a configuration')
    .example(
      '$0 keys status --kme etsi014://kme-a --sae siteA --peer-sae siteB --cert a.pem --key a.key --ca ca.pem',
      'one key manager, without a configuration',
    )
    .example(
      "$0 keys status --config qstunnel.yaml --json | jq '.pools[] | {peerSae, keys}'",
      'for a script',
    ) as Argv<StatusArguments>;
}

function watchOptions(parser: Argv): Argv<WatchArguments> {
  return commonOptions(parser)
    .usage(
      '$0 keys watch [options]\n\nRefreshes until Ctrl-C; with --json one line for each reading. The key managers are asked, not a running proxy.',
    )
    .option('every', {
      type: 'string',
      requiresArg: true,
      defaultDescription: `"${DEFAULT_EVERY}"`,
      describe: `Pause between readings: ${DURATION_FORM}`,
    })
    .option('times', { type: 'number', requiresArg: true, describe: 'End after so many readings' })
    .example('$0 keys watch --config qstunnel.yaml', 'every key manager and peer of a configuration')
    .example(
      '$0 keys watch --config qstunnel.yaml --every 10s --json >> keys.jsonl',
      'a record',
    ) as Argv<WatchArguments>;
}

function commonOptions(parser: Argv): Argv {
  return keyManagerOptions(parser)
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'Configuration file whose key managers are asked',
    })
    .option('json', { type: 'boolean', default: false, describe: 'JSON on stdout, and nothing else' });
}

async function showStatus(argv: StatusArguments): Promise<void> {
  // A signal ends it as it ends any program: without an answer there is no success.
  const { signal } = new AbortController();
  await withReports(argv, async (reports) => {
    const view = keysView(process.stdout, argv.json);
    await reports.read(signal);
    await pause(STATUS_SPAN_MS, signal);
    const report = await reports.read(signal);
    view.show(report);
    view.end();
    if (!report.ok) throw new CliError(CliErrorCode.verdict, troubleText(report));
  });
}

async function watch(argv: WatchArguments): Promise<void> {
  const everyMs = everyOf(argv.every ?? DEFAULT_EVERY);
  const times = argv.times ?? Number.POSITIVE_INFINITY;
  if (argv.times !== undefined && (!Number.isInteger(times) || times < 1))
    throw usage('--times is a whole number above 0');
  await withReports(argv, (reports) =>
    untilStopped(async (signal) => {
      const view = keysView(process.stdout, argv.json, everyMs);
      try {
        for (let reading = 1; !signal.aborted; reading++) {
          view.show(await reports.read(signal));
          if (reading >= times) return;
          await pause(everyMs, signal);
        }
      } finally {
        view.end();
      }
    }),
  );
}

async function withReports(argv: StatusArguments, use: (reports: KeyReportSource) => Promise<void>): Promise<void> {
  const reports = await reportsOf(argv);
  try {
    await use(reports);
  } finally {
    await reports.close();
  }
}

/** Runs `use` until it ends, or a signal or the reader's going away ends it, which is no failure. */
async function untilStopped(use: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const onStop = () => stop.abort();
  process.on('SIGINT', onStop).on('SIGTERM', onStop);
  process.stdout.on('error', onStop);
  try {
    await use(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', onStop).off('SIGTERM', onStop);
    process.stdout.off('error', onStop);
  }
}

async function reportsOf(argv: StatusArguments): Promise<KeyReportSource> {
  const config = await configOf(argv);
  const pools: AskedPool[] = [];
  const seen = new Set<string>();
  for (const { name, sae, peerSae, kmes, keysAhead } of config.services) {
    for (const { url, access, settings } of kmes) {
      for (const peer of peerSae) {
        const id = JSON.stringify([url, sae, peer]);
        if (seen.has(id)) continue;
        seen.add(id);
        const { tls } = await loadKmeTls(access);
        pools.push({ service: name, sae, peerSae: peer, keysAhead, source: sourceOf(url, sae, tls, settings) });
      }
    }
  }
  if (pools.length === 0) {
    throw usage(
      'the configuration names no key manager, and so there are no QKD keys: write kme in a service, or in defaults',
    );
  }
  return kmeKeyReports({ pools, clock: systemClock, nowMs: Date.now });
}

type KmeTlsSetting = Awaited<ReturnType<typeof loadKmeTls>>['tls'];

function sourceOf(url: string, saeId: string, tls: KmeTlsSetting, settings: object) {
  try {
    return createKeySource({
      url,
      saeId,
      ...settings,
      ...(tls === 'unsafe-plaintext' ? { unsafePlainTcp: true } : { tls }),
    });
  } catch (error) {
    throw isKdiError(error) ? usage(error.message) : error;
  }
}

async function configOf(argv: StatusArguments): Promise<ProxyConfig> {
  if (argv.config !== undefined && argv.kme !== undefined) throw usage('--config and --kme: one of the two');
  if (argv.config !== undefined) return loadConfigFile(argv.config);
  if (argv.kme === undefined)
    throw usage('say whom to ask: --config FILE, or --kme URL with --sae, --peer-sae and files');
  // The addresses are nobody's: no service is started.
  return configFromOptions('client', { ...argv, accept: '127.0.0.1:0', connect: '127.0.0.1:1' });
}

function troubleText({ pools }: KeyReport): string {
  const trouble = pools.filter(({ state }) => state === 'empty' || state === 'refused' || state === 'unreachable');
  const doctor = trouble.some(({ state }) => state !== 'empty') ? '; "qstunnel doctor kme" says what to change' : '';
  const list = trouble.map(
    ({ kme, peerSae, state, faults }) =>
      `${kme} for ${peerSae} is ${state}${faults[0] === undefined ? '' : ` (${faults[0].code})`}`,
  );
  return `${list.join('; ')}${doctor}`;
}

function everyOf(text: string): number {
  try {
    const everyMs = parseDuration(text);
    if (everyMs >= MIN_EVERY_MS) return everyMs;
  } catch {
    throw usage(`--every is ${DURATION_FORM}`);
  }
  throw usage(`--every is at least ${MIN_EVERY_MS}ms: a key manager has other things to do`);
}

/** Resolves after `ms`, or when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end);
  });
}

function usage(message: string): CliError {
  return new CliError(CliErrorCode.usage, message);
}
