/** `qstunnel sim up`: key managers for everybody who has no QKD hardware. */
import type { Argv, CommandModule } from 'yargs';
import { isSaeId, SAE_ID_SYNTAX } from '../../certs/index.ts';
import {
  type PresetName,
  presets,
  SimError,
  SimErrorCode,
  type SimulatorOptions,
  startSimulator,
} from '../../qkd-sim/index.ts';
import { CliError, CliErrorCode } from './cli-error.ts';
import { openSimFolder, type SimFiles, type SimFolder } from './sim-folder.ts';
import { readyLine, simView } from './sim-view.ts';

interface UpArguments {
  readonly preset: PresetName;
  readonly length: number;
  readonly speed: number;
  readonly eve: number;
  readonly seed?: string | undefined;
  readonly saeA?: string | undefined;
  readonly saeB?: string | undefined;
  readonly storeKeys: number;
  readonly surplus: 'pause' | 'drop';
  readonly host?: string | undefined;
  readonly portA: number;
  readonly portB: number;
  readonly httpsPortA: number;
  readonly httpsPortB: number;
  readonly dir?: string | undefined;
  readonly json: boolean;
  readonly unsafeExpose: boolean;
}

const USAGE = `$0 sim <up>

A simulated QKD link, computed from detections to privacy amplification, with a key manager
at each end that applications fetch keys from as from a real one.`;

const UP_USAGE = `$0 sim up [options]

Runs a link and its two key managers until Ctrl-C. Keys of a simulator protect nothing:
they say so in their metadata, and are served on loopback addresses only.`;

export const simCommand: CommandModule = {
  command: 'sim',
  describe: 'Run a simulated QKD link with a key manager at each end',
  builder: (parser) =>
    parser
      .usage(USAGE)
      .command('up', 'Start a link and its two key managers', upOptions, async (argv) => up(argv))
      .demandCommand(1, 'say what to do: up; "qstunnel sim up --help" has examples'),
  handler: () => {},
};

function upOptions(parser: Argv): Argv<UpArguments> {
  return parser
    .usage(UP_USAGE)
    .option('preset', {
      choices: Object.keys(presets) as PresetName[],
      requiresArg: true,
      default: 'metro' as const,
      describe: 'Hardware of the link',
    })
    .option('length', { type: 'number', requiresArg: true, default: 25, describe: 'Length of the fibre in km' })
    .option('speed', {
      type: 'number',
      requiresArg: true,
      default: 200,
      describe: 'Simulated seconds per second; as far as this machine keeps up',
    })
    .option('eve', {
      type: 'number',
      requiresArg: true,
      default: 0,
      describe: 'Fraction (0 to 1) of the pulses that an eavesdropper intercepts',
    })
    .option('seed', { type: 'string', requiresArg: true, describe: 'Same seed, same keys, bit for bit; default none' })
    .option('sae-a', {
      type: 'string',
      requiresArg: true,
      defaultDescription: '"siteA"',
      describe: "SAE at Alice's end",
    })
    .option('sae-b', { type: 'string', requiresArg: true, defaultDescription: '"siteB"', describe: "SAE at Bob's end" })
    .option('store-keys', {
      type: 'number',
      requiresArg: true,
      default: 1024,
      describe: 'Keys of 32 bytes that are kept for each direction',
    })
    .option('surplus', {
      choices: ['pause', 'drop'] as const,
      requiresArg: true,
      default: 'pause',
      describe: 'With full stores: pause the link, or let it run and drop the key',
    })
    .option('host', {
      type: 'string',
      requiresArg: true,
      defaultDescription: '"127.0.0.1"',
      describe: 'Address to listen on',
    })
    .option('port-a', portOption("004 port at Alice's end; 0: any free one"))
    .option('port-b', portOption("004 port at Bob's end; 0: any free one"))
    .option('https-port-a', portOption("014 and SKIP port at Alice's end; 0: any free one"))
    .option('https-port-b', portOption("014 and SKIP port at Bob's end; 0: any free one"))
    .option('dir', {
      type: 'string',
      requiresArg: true,
      defaultDescription: 'a folder that is removed at the end',
      describe: 'Folder of the CA and certificates; made if missing, what is there is used',
    })
    .option('json', {
      type: 'boolean',
      default: false,
      describe: 'One line of JSON on stdout, once the first keys are there',
    })
    .option('unsafe-expose', {
      type: 'boolean',
      default: false,
      describe: 'Allow a --host that other machines can reach',
    })
    .check((argv) => checkUp(argv as unknown as UpArguments))
    .example('$0 sim up', 'a 25 km link, its error rate and key rate, and commands to try')
    .example('$0 sim up --length 50 --seed lab-7', 'a longer one, the same keys each time')
    .example('$0 sim up --eve 0.25 --surplus drop', 'watch an eavesdropper end the key')
    .example(
      "$0 sim up --json | jq -r '.kmes[].etsi004'",
      'the addresses, for a script',
    ) as unknown as Argv<UpArguments>;
}

function portOption(describe: string) {
  return { type: 'number', requiresArg: true, default: 0, describe } as const;
}

function checkUp(argv: UpArguments): true {
  for (const [name, value] of Object.entries(argv)) {
    if (Array.isArray(value) && name !== '_')
      throw usage(`--${name} is given ${value.length} times, and has one value`);
  }
  const { length, speed, eve, storeKeys, saeA, saeB } = argv;
  if (!(length >= 0 && length <= 400)) throw usage('--length is 0 to 400 (km)');
  if (!(speed > 0)) throw usage('--speed is a number above 0');
  if (!(eve >= 0 && eve <= 1)) throw usage('--eve is a fraction from 0 to 1, as in --eve 0.25');
  if (!Number.isInteger(storeKeys) || storeKeys < 1 || storeKeys > 1_000_000) {
    throw usage('--store-keys is a whole number from 1 to 1000000');
  }
  for (const [name, port] of Object.entries(portsOf(argv))) {
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw usage(`--${name} is a port: 0 to 65535`);
  }
  for (const sae of [saeA, saeB]) if (sae !== undefined && !isSaeId(sae)) throw usage(`an SAE ID is ${SAE_ID_SYNTAX}`);
  if ((saeA ?? 'siteA') === (saeB ?? 'siteB')) throw usage('--sae-a and --sae-b have to differ');
  return true;
}

function portsOf({ portA, portB, httpsPortA, httpsPortB }: UpArguments): Record<string, number> {
  return { 'port-a': portA, 'port-b': portB, 'https-port-a': httpsPortA, 'https-port-b': httpsPortB };
}

async function up(argv: UpArguments): Promise<void> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
  try {
    const folder = await openSimFolder(
      argv.dir,
      [argv.saeA ?? 'siteA', argv.saeB ?? 'siteB'],
      argv.host ?? '127.0.0.1',
    );
    try {
      await run(argv, folder, stop.signal);
    } finally {
      await folder.remove();
    }
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('SIGHUP', onSignal);
  }
}

async function run(argv: UpArguments, folder: SimFolder, signal: AbortSignal): Promise<void> {
  const simulator = await startSimulator(simulatorOptions(argv, folder)).catch((error: unknown) => {
    if (!(error instanceof SimError)) throw error;
    if (error.code === SimErrorCode.exposed) throw usage(`${error.message}; if that is meant, add --unsafe-expose`);
    if (error.code !== SimErrorCode.listen) throw error;
    throw new SimError(
      error.code,
      `${error.message}; see --host, --port-a, --port-b, --https-port-a and --https-port-b (0: any free port)`,
      { cause: error },
    );
  });
  try {
    const view = simView(simulator, { json: argv.json, preset: argv.preset });
    const stopped = new Promise<'stopped'>((resolve) => {
      if (signal.aborted) resolve('stopped');
      else signal.addEventListener('abort', () => resolve('stopped'), { once: true });
    });
    const failed = simulator.failure.then((error) => {
      throw error;
    });
    const first = await Promise.race([simulator.firstKeys, stopped, failed]);
    if (first !== 'stopped') {
      if (argv.json) process.stdout.write(`${readyLine(simulator, folder.saes)}\n`);
      else view.ready(folder.saes);
      await Promise.race([stopped, failed]);
    }
    view.end();
  } finally {
    await simulator.close();
  }
}

function simulatorOptions(argv: UpArguments, folder: SimFolder): SimulatorOptions {
  const host = argv.host ?? '127.0.0.1';
  const [saeA, saeB] = folder.saes;
  const kme = (kmeId: string, sae: SimFiles, tls: SimFolder['kmes'][number], port: number, httpsPort: number) => ({
    kmeId,
    saeIds: [sae.saeId],
    tls,
    host,
    port,
    httpsPort,
  });
  return {
    preset: argv.preset,
    lengthKm: argv.length,
    speed: argv.speed,
    eavesdropperFraction: argv.eve,
    storeKeysPerDirection: argv.storeKeys,
    surplus: argv.surplus,
    unsafeExpose: argv.unsafeExpose,
    ...(argv.seed === undefined ? {} : { seed: argv.seed }),
    kmes: [
      kme('kme-a', saeA, folder.kmes[0], argv.portA, argv.httpsPortA),
      kme('kme-b', saeB, folder.kmes[1], argv.portB, argv.httpsPortB),
    ],
  };
}

function usage(message: string): CliError {
  return new CliError(CliErrorCode.usage, message);
}
