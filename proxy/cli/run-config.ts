/** `qstunnel --config FILE`: any number of services of both modes. */
import type { CommandModule } from 'yargs';
import { loadConfigFile } from '../config/index.ts';
import { runServices } from './run.ts';

export const runConfigCommand: CommandModule<object, { config: string }> = {
  command: '$0',
  describe: 'Run the services of a configuration file',
  builder: (parser) =>
    parser
      .option('config', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe: 'YAML file with the services',
      })
      .example('$0 --config qstunnel.yaml', 'run every service of the file'),
  handler: async ({ config }) => runServices(await loadConfigFile(config)),
};
