/** Whoever writes a decoder writes a target for it, or a reason here. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { targets } from './targets/index.ts';

const FOLDERS = ['tls-ext', 'kdi-client', 'certs', 'proxy/config'];

/** Decoders without a target, each with its reason. */
const withoutTarget: Readonly<Record<string, string>> = {};

const root = fileURLToPath(new URL('../..', import.meta.url));

function exportedDecoders(): string[] {
  const names = new Set<string>();
  for (const folder of FOLDERS) {
    const files = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
    for (const file of files.filter((name) => name.endsWith('.ts'))) {
      const source = readFileSync(join(root, folder, file), 'utf8');
      for (const [, name] of source.matchAll(/^export (?:async )?(?:function|const) ((?:decode|parse)[A-Z0-9]\w*)/gm)) {
        names.add(name as string);
      }
    }
  }
  return [...names].sort();
}

describe('decoders', () => {
  const covered = new Set(targets.flatMap(({ covers = [] }) => covers));

  it('each exported one has a target of the fuzzer, or a written reason', () => {
    const decoders = exportedDecoders();
    expect(decoders.length).to.be.greaterThan(35);
    expect(decoders.filter((name) => !covered.has(name) && withoutTarget[name] === undefined)).to.deep.equal([]);
  });

  it('no reason has outlived its decoder', () => {
    const decoders = exportedDecoders();
    expect(Object.keys(withoutTarget).filter((name) => !decoders.includes(name) || covered.has(name))).to.deep.equal(
      [],
    );
  });

  it('the target of each really runs it', async function () {
    this.timeout(60_000);
    const script = fileURLToPath(new URL('./idle-covers.ts', import.meta.url));
    // A small function that an optimising compiler has put into its caller is counted no more.
    const interpreted = ['--no-opt', '--no-maglev'];
    const { stdout } = await promisify(execFile)(process.execPath, [...interpreted, '--import', 'tsx', script]);
    expect(JSON.parse(stdout)).to.deep.equal([]);
  });
});
