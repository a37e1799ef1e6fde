import type { CommandModule } from 'yargs';
import { type DemoScene, runDemo } from '../demo/demo.ts';
import { silentView, textView } from '../demo/view.ts';
import { ownCommand } from '../own-command.ts';

interface DemoArguments {
  readonly json: boolean;
  readonly keep: boolean;
  readonly length: number;
  readonly eve: number;
}

/** `qstunnel demo`: exit status 0 only if every statement it makes was observed. */
export const demoCommand: CommandModule<object, DemoArguments> = {
  command: 'demo',
  describe:
    'Show the whole of it on this machine: a simulated QKD link, an attack, two proxies, two legacy applications',
  builder: (yargs) =>
    yargs
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object and nothing else on stdout' })
      .option('keep', {
        type: 'boolean',
        default: false,
        describe: 'Leave everything running until Ctrl-C, and print what to try',
      })
      .option('length', { type: 'number', requiresArg: true, default: 25, describe: 'Length of the fibre in km' })
      .option('eve', {
        type: 'number',
        requiresArg: true,
        default: 0.25,
        describe: 'Fraction of the pulses that the eavesdropper intercepts',
      })
      .check(({ length, eve }) => {
        if (!(length >= 0 && length <= 75)) {
          throw new Error('--length is 0 to 75 (km): farther away a block takes too long for a demo');
        }
        if (!(eve >= 0.15 && eve <= 1))
          throw new Error('--eve is 0.15 to 1: from about 0.11 down a link of 25 km still makes key');
        return true;
      })
      .example('$0 demo', 'the story, in under half a minute')
      .example('$0 demo --json | jq .connections', 'the facts alone')
      .example('$0 demo --keep', 'and then play with it'),
  handler: async ({ json, keep, length, eve }) => {
    const stop = new AbortController();
    const onSignal = (signal: NodeJS.Signals) => stop.abort(new Interrupted(signal));
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
    try {
      const result = await runDemo({
        lengthKm: length,
        interceptFraction: eve,
        view: json ? silentView : textView(process.stdout),
        signal: stop.signal,
        ...(keep ? { keep: (scene) => describe(scene, json ? process.stderr : process.stdout, stop.signal) } : {}),
      });
      if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
      process.exitCode = result.ok ? 0 : 1;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      process.stderr.write(`qstunnel: stopped by ${error.message}, nothing is left behind\n`);
      process.exitCode = 1;
    } finally {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('SIGHUP', onSignal);
    }
  },
};

class Interrupted extends Error {}

async function describe(scene: DemoScene, out: NodeJS.WritableStream, signal: AbortSignal): Promise<void> {
  const { ports, files, kmes } = scene;
  out.write(`
Everything is running. Try:

  curl -d 'hello' http://127.0.0.1:${ports.records}/                    # the HTTP application, through the tunnel
  curl -d 'hello' http://127.0.0.1:${ports.http}/                    # the same, without it
  printf 'hello\\n' | nc -N 127.0.0.1 ${ports.telemetry}                       # the TCP application, through the tunnel
  ${ownCommand()} client --accept 127.0.0.1:0 --connect 127.0.0.1:${ports['tunnel-records']} \\
    --cert ${files.cert} --key ${files.key} --ca ${files.ca} \\
    --sae siteA --peer-sae siteB --kme ${kmes[0]}

Files (removed at the end):
${Object.entries(files)
  .map(([name, path]) => `  ${name.padEnd(12)} ${path}`)
  .join('\n')}

Ctrl-C ends it.
`);
  if (signal.aborted) return;
  // A pending promise alone does not keep the process alive; the running servers do.
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
