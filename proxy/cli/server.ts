/** `qstunnel server`: tunnel in, plaintext out. */
import type { CommandModule } from 'yargs';
import { configFromOptions, serviceOptions } from '../config/index.ts';
import { runServices } from './run.ts';

export const serverCommand: CommandModule = {
  command: 'server',
  describe: 'Accept tunnels from other proxies and pass what they carry to an application',
  builder: (parser) =>
    serviceOptions(
      parser.usage(
        '$0 server --accept ADDRESS --connect ADDRESS --cert FILE --key FILE --ca FILE --sae ID --peer-sae ID [--kme URL]\n\nAccepts tunnels from other proxies, with QKD keys and ML-KEM in the handshake, and passes what they carry to an application. The log goes to stderr, one JSON object a line.',
      ),
      'server',
    )
      .example(
        '$0 server --accept 0.0.0.0:8443 --connect 127.0.0.1:5432 --cert b.pem --key b.key --ca ca.pem --sae siteB --peer-sae siteA --kme etsi004://kme-b:25575',
        'the far end of a link to site A, in front of a database',
      )
      .example(
        '$0 server --accept 8443 --connect unix:/run/app.sock --cert b.pem --key b.key --ca ca.pem --sae siteB --peer-sae siteA --peer-sae siteC --require qkd --kme etsi004://kme-b:25575',
        'two peers, only with QKD keys, to a unix socket',
      ),
  handler: (argv) => runServices(configFromOptions('server', argv)),
};
