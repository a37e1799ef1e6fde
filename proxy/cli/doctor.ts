/** `qstunnel doctor kme|peer`: what is wrong, and which line of the configuration copes. */
import type { CommandModule } from 'yargs';
import { examineKmeCommand, kmeOptions } from './doctor-kme.ts';
import { examinePeerCommand, peerOptions } from './doctor-peer.ts';

const USAGE = `$0 doctor <kme|peer>

Talks to a key manager, or to the other proxy, as qstunnel would, and says what is wrong
and what to change.`;

export const doctorCommand: CommandModule = {
  command: 'doctor',
  describe: 'Examine a key manager or the other proxy, and say what to change',
  builder: (parser) =>
    parser
      .usage(USAGE)
      .command(
        'kme <url>',
        'Examine a key manager, and with --peer the one at the other end',
        kmeOptions,
        async (argv) => examineKmeCommand(argv),
      )
      .command('peer <address>', 'Examine the other proxy, or any TLS server', peerOptions, async (argv) =>
        examinePeerCommand(argv),
      )
      .demandCommand(1, 'say whom to examine: kme or peer; "qstunnel doctor kme --help" has examples')
      .example(
        '$0 doctor kme etsi014://kme-a --sae siteA --peer-sae siteB --cert a.pem --key a.key --ca ca.pem',
        'one key manager, with a verdict',
      )
      .example('$0 doctor peer siteb:8443', 'what the other proxy, or any TLS server, speaks'),
  handler: () => {},
};
