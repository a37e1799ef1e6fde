import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { expect } from 'chai';
import { FOLDERS, type Import, importsOf, ROOT, type SourceFile, sourceFiles } from './source-files.ts';

const BYTES = 'tls-ext/bytes/index.ts';

/** What a folder may import of its siblings: DESIGN's arrows. */
const ALLOWED: Readonly<Record<(typeof FOLDERS)[number], readonly string[]>> = {
  'tls-ext': [],
  'kdi-client': [BYTES],
  certs: [BYTES],
  'qkd-sim': [BYTES, 'kdi-client/wire/index.ts'],
  proxy: [BYTES, 'tls-ext/index.ts', 'kdi-client/index.ts', 'qkd-sim/index.ts', 'certs/index.ts'],
};

/** The one file of proxy/ that knows both TLS and key delivery. */
const PSK_RESOLVER = 'proxy/psk-resolver.ts';

describe('architecture: imports', () => {
  const files = FOLDERS.flatMap((folder) => sourceFiles(folder));
  const folderOf = (path: string) => path.split('/')[0] as (typeof FOLDERS)[number];
  const arrows = (wrong: (file: SourceFile, one: Import) => boolean) =>
    files.flatMap((file) =>
      file.imports.filter((one) => wrong(file, one)).map((one) => `${file.path} → ${one.target}`),
    );

  it('are read as they are written', () => {
    const text = `import a, { b } from './b.ts';
import type { C } from '../c/index.ts';
export {
  d,
} from './d.ts';
export * from 'e';
import 'f';
// import g from 'g';
/* import h from 'h'; */
const i = "import j from 'j'";
export const k = 'from';
const l = await import('./l.ts');
type M = import('./m.ts').M;
`;
    const found = importsOf('x/y.ts', text).map(({ target, typeOnly, dynamic }) => `${target} ${typeOnly} ${dynamic}`);
    expect(found).to.have.members([
      'x/b.ts false false',
      'c/index.ts true false',
      'x/d.ts false false',
      'e false false',
      'f false false',
      'x/l.ts false true',
      'x/m.ts true true',
    ]);
    expect(files.length).to.be.greaterThan(50);
    for (const folder of FOLDERS)
      expect(
        files.some(({ path }) => path.startsWith(`${folder}/`)),
        folder,
      ).to.equal(true);
  });

  it('follow the arrows of the design', () => {
    const wrong = arrows(({ path }, { relative, target }) => {
      const folder = folderOf(path);
      return relative && folderOf(target) !== folder && !ALLOWED[folder].includes(target);
    });
    expect(wrong).to.deep.equal([]);
  });

  it('of tls-ext/bytes are its own files only', () => {
    const wrong = arrows(
      ({ path }, { target }) => path.startsWith('tls-ext/bytes/') && !target.startsWith('tls-ext/bytes/'),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('of tls-ext/bytes go through its index', () => {
    const wrong = arrows(
      ({ path }, { target }) =>
        target.startsWith('tls-ext/bytes/') && target !== BYTES && !path.startsWith('tls-ext/bytes/'),
    );
    expect(wrong).to.deep.equal([]);
  });

  it('bring TLS and key delivery together in one file only', () => {
    const both = files.filter(({ path, imports }) => {
      const has = (folder: string) => imports.some(({ target }) => target === `${folder}/index.ts`);
      return path.startsWith('proxy/') && has('tls-ext') && has('kdi-client');
    });
    expect(both.map(({ path }) => path)).to.deep.equal([PSK_RESOLVER]);
  });

  it('end in .ts if relative, and name literals', () => {
    const wrong = arrows((_file, { relative, specifier }) => relative && !specifier.endsWith('.ts'));
    expect(wrong).to.deep.equal([]);
    const computed = files.filter(({ code, imports }) => {
      return (code.match(/\bimport\(/g)?.length ?? 0) > imports.filter(({ dynamic }) => dynamic).length;
    });
    expect(computed.map(({ path }) => path)).to.deep.equal([]);
  });

  it('name packages that are dependencies, and built-in modules with node:', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const wrong = arrows((_file, { relative, specifier }) => {
      if (relative || specifier.startsWith('node:')) return false;
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      return builtinModules.includes(name) || !(name in dependencies);
    });
    expect(wrong).to.deep.equal([]);
  });

  it('make no circles at run time', () => {
    const next = new Map(
      files.map(({ path, imports }) => [
        path,
        imports
          .filter(({ relative, typeOnly, dynamic }) => relative && !typeOnly && !dynamic)
          .map(({ target }) => target),
      ]),
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (path: string, trail: readonly string[]) => {
      const at = trail.indexOf(path);
      if (at !== -1) circles.push([...trail.slice(at), path].join(' → '));
      if (at !== -1 || done.has(path)) return;
      for (const target of next.get(path) ?? []) visit(target, [...trail, path]);
      done.add(path);
    };
    for (const { path } of files) visit(path, []);
    expect(circles).to.deep.equal([]);
  });
});
