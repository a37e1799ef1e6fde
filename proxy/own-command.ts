import { basename } from 'node:path';

/**
 * How whoever started this program would start it again, for command lines
 * that are printed to be pasted: in a checkout there is no `qstunnel` on the path.
 */
export function ownCommand(argv: readonly string[] = process.argv, env: NodeJS.ProcessEnv = process.env): string {
  const [, script = 'qstunnel'] = argv;
  // `npm start`, `npx qstunnel`
  if (env.npm_command !== undefined) return 'npx qstunnel';
  return basename(script) === 'qstunnel' ? 'qstunnel' : `node ${script}`;
}
