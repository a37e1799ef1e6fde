/**
 * Builds dist/ from nothing, for `npm ci` and before `npm pack`. Speaks on
 * stderr only, since what npm scripts print on stdout ends up in the output of
 * commands such as `npm pack --json`. Without the compiler (an install with
 * `--omit=dev`) there is nothing to do: proxy/bin.mjs says so when it is run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const compiler = `${root}node_modules/typescript/bin/tsc`;

if (!existsSync(compiler) || !existsSync(`${root}tsconfig.build.json`)) {
  process.stderr.write('qstunnel: no TypeScript compiler here, dist/ is left as it is\n');
} else {
  // Built beside and moved into place, so that a failed build leaves no half of one and nothing stale survives.
  const fresh = `${root}dist.${process.pid}.tmp`;
  const { status } = spawnSync(process.execPath, [compiler, '-p', `${root}tsconfig.build.json`, '--outDir', fresh], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status === 0) {
    rmSync(`${root}dist`, { recursive: true, force: true });
    renameSync(fresh, `${root}dist`);
  } else {
    rmSync(fresh, { recursive: true, force: true });
    process.stderr.write('qstunnel: the build failed\n');
    process.exitCode = 1;
  }
}
