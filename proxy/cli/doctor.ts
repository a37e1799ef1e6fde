/** `qstunnel doctor kme|peer`: what is wrong, and which line of the configuration copes. */
import type { CommandModule } from 'yargs';
import { examineKmeCommand, kmeOptions } from './doctor-kme.ts';

const USAGE = `$0 doctor <kme>

Talks to a key manager as qstunnel would, and says what is wrong, by which clause
of the standard, and which lines of the configuration cope.`;

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
      .demandCommand(1, 'say whom to examine: kme; "qstunnel doctor kme --help" has examples')
      .example(
        '$0 doctor kme etsi014://kme-a --sae siteA --peer-sae siteB --cert a.pem --key a.key --ca ca.pem',
        'one key manager, with a verdict',
      ),
  handler: () => {},
};
