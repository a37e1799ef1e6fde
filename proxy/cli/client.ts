/** `qstunnel client`: plaintext in, tunnel out. */
import type { CommandModule } from 'yargs';
import { configFromOptions, serviceOptions } from '../config/index.ts';
import { runServices } from './run.ts';

export const clientCommand: CommandModule = {
  command: 'client',
  describe: 'Accept connections of applications and carry them through tunnels to another proxy',
  builder: (parser) =>
    serviceOptions(
      parser.usage(
        '$0 client --accept ADDRESS --connect ADDRESS --cert FILE --key FILE --ca FILE --sae ID --peer-sae ID [--kme URL]\n\nAccepts connections of applications and carries each through a tunnel, with QKD keys and ML-KEM in the handshake, to another proxy. The log goes to stderr, one JSON object a line.',
      ),
      'client',
    )
      .example(
        '$0 client --accept 127.0.0.1:5432 --connect siteb:8443 --cert a.pem --key a.key --ca ca.pem --sae siteA --peer-sae siteB --kme etsi004://kme-a:25575',
        'the near end of a link to site B: applications connect to 127.0.0.1:5432',
      )
      .example(
        '$0 client --accept 5432 --connect siteb:8443 --cert a.pem --key a.key --ca ca.pem --sae siteA --peer-sae siteB --require qkd-and-pqc --key-wait 10s --kme etsi004://kme-a:25575',
        'wait up to 10 s for a QKD key, and refuse without one',
      ),
  handler: (argv) => runServices(configFromOptions('client', argv)),
};
