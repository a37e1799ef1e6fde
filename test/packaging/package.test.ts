import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ROOT, relativeLinks } from './documents.ts';

const { version, bin, exports, dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

/** Without npm's own variables, which a test run by `npm test` inherits. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));

describe('packaging', function () {
  this.timeout(60_000);
  let directory: string;

  const run = (command: string, args: readonly string[], cwd: string) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', env: environment });
    return { status, stdout, stderr };
  };

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'qstunnel-packaging-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  describe('the tarball of npm pack', () => {
    let installed: string;
    let files: string[];

    before(() => {
      const packed = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', directory], ROOT);
      // npm may warn on stderr; stdout is the JSON and nothing else.
      const [{ filename }] = Object.values(JSON.parse(packed.stdout)) as [{ filename: string }];
      const modules = join(directory, 'app/node_modules');
      installed = join(modules, 'qstunnel');
      mkdirSync(installed, { recursive: true });
      const unpacked = run(
        'tar',
        ['-xzf', join(directory, filename), '-C', installed, '--strip-components=1'],
        directory,
      );
      expect(unpacked.stderr).to.equal('');
      // What npm would install beside it, taken from this checkout: the test needs no network.
      for (const name of readdirSync(join(ROOT, 'node_modules'))) {
        if (!name.startsWith('.')) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
      }
      files = readdirSync(installed, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1));
    });

    it('runs', () => {
      const program = join(installed, bin.qstunnel);
      expect(statSync(program).mode & 0o111, 'executable').to.not.equal(0);
      expect(run(process.execPath, [program, '--version'], directory)).to.deep.equal({
        status: 0,
        stdout: `${version}\n`,
        stderr: '',
      });
      const certs = run(process.execPath, [program, 'certs', 'init', '--dir', 'pki'], directory);
      expect(certs).to.deep.equal({ status: 0, stdout: 'pki/ca.pem\npki/ca.key\n', stderr: '' });
    });

    it('exports what package.json says', () => {
      for (const [subpath, { types, default: entry }] of Object.entries(exports) as [
        string,
        { types: string; default: string },
      ][]) {
        expect(existsSync(join(installed, types)), `${subpath}: ${types}`).to.equal(true);
        expect(existsSync(join(installed, entry)), `${subpath}: ${entry}`).to.equal(true);
      }
      const script =
        "import { parseCertificate } from 'qstunnel/certs'; process.stdout.write(typeof parseCertificate);";
      const app = join(directory, 'app');
      expect(run(process.execPath, ['--input-type=module', '-e', script], app)).to.deep.equal({
        status: 0,
        stdout: 'function',
        stderr: '',
      });
    });

    it('holds the program and its documents, and no sources, tests or keys', () => {
      expect(files).to.include.members([
        'LICENSE',
        'README.md',
        'CHANGELOG.md',
        'docs/errors.md',
        'docs/qstunnel.schema.json',
      ]);
      const outside = files.filter(
        (file) =>
          !/^(?:dist|docs|proxy\/bin\.mjs$|scripts\/prepare\.mjs$|tls-ext\/.*\.(?:md|pml)$|[A-Z]+(?:\.md)?$|package\.json$)/.test(
            file,
          ),
      );
      expect(outside).to.deep.equal([]);
      expect(files.filter((file) => /\.(?:key|pem)$|\.test\./.test(file))).to.deep.equal([]);
    });

    it('holds what its documents link to', () => {
      const links = relativeLinks();
      expect(links.length).to.be.greaterThan(40);
      for (const { document, file } of links)
        expect(files, `a link of ${document}`).to.include.members([document, file]);
    });

    it('imports nothing that is no dependency', () => {
      const imported = new Set<string>();
      for (const file of files.filter((one) => one.startsWith('dist/') && one.endsWith('.js'))) {
        const text = readFileSync(join(installed, file), 'utf8');
        for (const [, name] of text.matchAll(
          /^(?:import|export)\b[^'"();=]*?from\s*'((?:@[\w-]+\/)?[\w-]+)[^']*';$/gm,
        )) {
          imported.add(name as string);
        }
      }
      imported.delete('node');
      expect(Object.keys(dependencies)).to.include.members([...imported]);
    });
  });

  describe('a checkout that was not built', () => {
    let checkout: string;
    const compiler = () => join(checkout, 'node_modules/typescript/bin');

    before(() => {
      checkout = join(directory, 'checkout');
      for (const path of ['package.json', 'proxy/bin.mjs', 'scripts/prepare.mjs'])
        cpSync(join(ROOT, path), join(checkout, path));
    });

    it('says in one line how to build it', () => {
      expect(run(process.execPath, ['proxy/bin.mjs', 'demo'], checkout)).to.deep.equal({
        status: 1,
        stdout: '',
        stderr:
          'qstunnel: ERR_CLI_NOT_BUILT: dist/ is missing: run "npm ci" (with development dependencies) or "npm run build" in the package first\n',
      });
    });

    it('is left as it is by prepare where there is no compiler', () => {
      expect(run(process.execPath, ['scripts/prepare.mjs'], checkout)).to.deep.equal({
        status: 0,
        stdout: '',
        stderr: 'qstunnel: no TypeScript compiler here, dist/ is left as it is\n',
      });
      expect(existsSync(join(checkout, 'dist'))).to.equal(false);
    });

    it('is built from nothing by prepare, which speaks on stderr only', () => {
      cpSync(join(ROOT, 'tsconfig.json'), join(checkout, 'tsconfig.json'));
      writeFileSync(
        join(checkout, 'tsconfig.build.json'),
        '{ "extends": "./tsconfig.json", "compilerOptions": { "noEmit": false, "allowImportingTsExtensions": false, "rootDir": ".", "outDir": "dist", "types": [] }, "include": ["certs"] }',
      );
      mkdirSync(join(checkout, 'certs'));
      writeFileSync(join(checkout, 'certs/one.ts'), 'export const one: number = 1;\n');
      symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
      mkdirSync(join(checkout, 'dist'));
      writeFileSync(join(checkout, 'dist/stale.js'), '');
      expect(existsSync(compiler())).to.equal(true);
      expect(run('npm', ['run', '--silent', 'prepare'], checkout)).to.include({ status: 0, stdout: '' });
      expect(readdirSync(join(checkout, 'dist'), { recursive: true }).sort()).to.deep.equal(['certs', 'certs/one.js']);
    });

    it('keeps the last good build when prepare fails', () => {
      writeFileSync(join(checkout, 'certs/one.ts'), "export const one: number = 'two';\n");
      const failed = run(process.execPath, ['scripts/prepare.mjs'], checkout);
      expect(failed).to.include({ status: 1, stdout: '' });
      expect(failed.stderr)
        .to.match(/TS2322/)
        .and.match(/qstunnel: the build failed\n$/);
      expect(readdirSync(checkout).filter((name) => name.startsWith('dist'))).to.deep.equal(['dist']);
      expect(existsSync(join(checkout, 'dist/certs/one.js'))).to.equal(true);
    });
  });
});
