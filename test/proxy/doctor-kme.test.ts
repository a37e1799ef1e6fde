/** `qstunnel doctor kme` as a user starts it: the built program, files, exit codes, what it prints. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { KME_SETTINGS } from '../../proxy/config/kme-schema.ts';
import { SERVICE_SETTINGS } from '../../proxy/config/schema.ts';
import { startKmes, type TestKmes } from './kmes.ts';
import { SiteFolder } from './program.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'proxy/bin.mjs');

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function qstunnel(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const [code] = await once(child, 'close');
  return { code, stdout, stderr };
}

describe('qstunnel doctor kme', () => {
  let kmes: TestKmes;
  let folder: SiteFolder;
  before(async () => {
    kmes = await startKmes();
    kmes.fill(32_768);
    folder = await SiteFolder.create();
  });
  after(async () => {
    await kmes.close();
    await folder.remove();
  });

  const names = ['--sae', 'siteA', '--peer-sae', 'siteB'];
  const files = () => ['--cert', folder.file('a.pem'), '--key', folder.file('a.key'), '--ca', folder.file('ca.pem')];
  const peer = () => ['--peer', kmes.urlB, '--peer-cert', folder.file('b.pem'), '--peer-key', folder.file('b.key')];

  it('--json: one line, nothing else, and exit status 0 exactly when it is ok', async () => {
    const good = await qstunnel('doctor', 'kme', kmes.urlA, ...names, ...files(), ...peer(), '--json');
    expect(good, good.stderr).to.include({ code: 0, stderr: '' });
    expect(good.stdout.match(/\n/g)?.length).to.equal(1);
    const verdict = JSON.parse(good.stdout);
    expect(verdict).to.have.all.keys('ok', 'api', 'dialect', 'keysEqual', 'checks');
    expect(verdict).to.include({ ok: true, api: 'etsi004', dialect: 'etsi', keysEqual: true });

    const bad = await qstunnel(
      'doctor',
      'kme',
      kmes.urlA,
      '--sae',
      'siteA',
      '--peer-sae',
      'nobody',
      ...files(),
      '--json',
    );
    expect(bad.code).to.equal(1);
    expect(JSON.parse(bad.stdout)).to.include({ ok: false, keysEqual: null });
    expect(bad.stderr).to.match(/^qstunnel: ERR_CLI_VERDICT: 1 of \d+ checks failed: open\n$/);
  });

  it('--json: one object also for options that can not be used, whoever finds that out', async () => {
    const here = ['doctor', 'kme', kmes.url('a', 'etsi014'), ...names, ...files()];
    const cases: readonly (readonly [string[], RegExp])[] = [
      [['doctor', 'kme'], /an argument is missing/],
      [[...here, '--knid', 'chosen'], /unknown option --knid/],
      [[...here, '--unknown-key-status', 'abc'], /--unknown-key-status needs a number/],
      [[...here, '--unknown-key-status', '200'], /--unknown-key-status is an HTTP status from 400 to 599, and not 200/],
      [[...here, '--ksid'], /--ksid needs a value/],
      [[...here.slice(0, 3), ...names], /--cert is missing/],
    ];
    for (const [args, expected] of cases) {
      const { code, stdout, stderr } = await qstunnel(...args, '--json');
      expect(code, stderr).to.equal(2);
      expect(stderr).to.match(expected);
      const { checks, ...rest } = JSON.parse(stdout);
      expect(rest).to.deep.equal({ ok: false, api: null, dialect: null, keysEqual: null });
      expect(checks).to.have.length(1);
      expect(checks[0]).to.include({ id: 'arguments', ok: false });
      expect(checks[0].detail).to.match(expected);
    }
    const plain = await qstunnel(...here, '--knid', 'chosen');
    expect(plain.stdout, 'without --json').to.equal('');
  });

  for (const subject of ['kme', 'peer'] as const) {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      it(`doctor ${subject} --json: ${signal} ends the wait for one that hangs, with one object`, async () => {
        const silent = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
        await once(silent, 'listening');
        try {
          const address = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
          const args = subject === 'kme' ? [`etsi014://${address}`, ...names, ...files()] : [address];
          const child = spawn(process.execPath, [BIN, 'doctor', subject, ...args, '--json']);
          let stdout = '';
          child.stdout.on('data', (bytes: Buffer) => {
            stdout += bytes.toString();
          });
          await once(silent, 'connection');
          child.kill(signal);
          expect(await once(child, 'close')).to.deep.equal([1, null]);
          const { ok, checks, problems } = JSON.parse(stdout);
          expect(ok).to.equal(false);
          const said = subject === 'kme' ? checks.at(-1) : { detail: problems[0] };
          expect(said.detail).to.include('stopped from outside');
          if (subject === 'kme') expect(said).to.include({ id: 'conversation', ok: false });
        } finally {
          silent.close();
        }
      });
    }
  }

  it('a signal while the program is being loaded ends it by that signal and without a word', async () => {
    const hooks = `export const load = (url, context, next) => {
      if (url.endsWith('/doctor-kme.js')) process.kill(process.pid, 'SIGTERM');
      return next(url, context);
    };`;
    const preload = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))});`;
    const args = ['--import', dataUrl(preload), BIN, 'doctor', 'kme', kmes.url('a', 'etsi014'), ...names, ...files()];
    const child = spawn(process.execPath, [...args, '--json']);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (said += bytes.toString()));
    expect(await once(child, 'close')).to.deep.equal([null, 'SIGTERM']);
    expect(said).to.equal('');
  });

  it('a URL with a password is not repeated', async () => {
    const { code, stdout, stderr } = await qstunnel('doctor', 'kme', 'etsi014://me:secret@kme', ...names, ...files());
    expect(code).to.equal(2);
    expect(stderr).to.include('a KME URL holds no user or password');
    expect(stdout + stderr).to.not.include('secret');
  });

  it('another ID than the one in the certificate: the line has that one', async () => {
    const here = ['doctor', 'kme', kmes.url('a', 'etsi014'), ...names, ...files()];
    const { code, stdout } = await qstunnel(...here, '--kme-id', 'kme-z', '--json');
    expect(code).to.equal(1);
    const { checks } = JSON.parse(stdout);
    expect(checks.at(-1)).to.include({ id: 'kme-certificate', ok: false, configHint: 'kme-id: kme-a' });
  });

  it('lives on when the reader of its output goes away, of messages too', async () => {
    const good = [process.execPath, BIN, 'doctor', 'kme', kmes.url('a', 'etsi014'), ...names, ...files()];
    const bad = good.map((word) => (word === 'siteB' ? 'nobody' : word));
    for (const [command, pipe, status] of [
      [good, '|', 0],
      [bad, '2>&1 |', 1],
    ] as const) {
      const script = `"$0" "$@" ${pipe} head -1 >/dev/null; exit "\${PIPESTATUS[0]}"`;
      const child = spawn('bash', ['-c', script, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
      let stderr = '';
      child.stderr.on('data', (bytes: Buffer) => {
        stderr += bytes.toString();
      });
      const [code] = await once(child, 'close');
      expect(stderr).to.equal('');
      expect(code).to.equal(status);
    }
  });

  it('a checklist for people, without control characters where there is no terminal', async () => {
    const { code, stdout } = await qstunnel('doctor', 'kme', kmes.urlA, ...names, ...files(), ...peer());
    expect(code).to.equal(0);
    expect(stdout).to.match(/^ {2}✓ draw +a chunk of 32 bytes/m);
    expect(stdout).to.match(/^ {2}! provenance +keys of a simulator/m);
    expect(stdout).to.include('Both ends have the same keys.');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for.
    expect(stdout).to.not.match(/[\u0000-\u0009\u000b-\u001f]/);
  });

  it('takes a pinned certificate, and says which one to pin', async () => {
    const args = (pin: string) => ['doctor', 'kme', kmes.urlA, ...names, ...files(), '--kme-pin', pin, '--json'];
    const refused = await qstunnel(...args('00'.repeat(32)));
    expect(refused.code).to.equal(1);
    const [, pin = ''] = /kme-pin: \[([0-9a-f]{64})\]/.exec(refused.stdout) ?? [];
    const { code, stderr } = await qstunnel(...args(pin), '--kme-pin', 'ff'.repeat(32));
    expect(code, stderr).to.equal(0);
  });

  it('names the lines to write', async () => {
    const { code, stdout } = await qstunnel(
      'doctor',
      'kme',
      kmes.urlA,
      ...names,
      ...files(),
      '--kme-server-name',
      'kme.example',
    );
    expect(code).to.equal(1);
    expect(stdout).to.match(/✗ kme-certificate .*\n(?:.*\n)*.*→ kme-server-name: 127\.0\.0\.1/);
    expect(stdout).to.include('In the configuration of the service here:\n\n    kme-server-name: 127.0.0.1');
  });

  describe('what makes no sense: exit status 2, what to write, and JSON all the same', () => {
    const cases: readonly [string, () => string[], RegExp][] = [
      ['a scheme', () => ['https://kme:443', ...names, ...files()], /write etsi014:\/\//],
      [
        'no --sae',
        () => [kmes.urlA, '--peer-sae', 'siteB', ...files()],
        /--sae is missing: an SAE ID, as in --sae siteA/,
      ],
      [
        'a file that is not there',
        () => [kmes.urlA, ...names, ...files(), '--ca', 'nowhere.pem'],
        /--ca is given 2 times/,
      ],
      ['--peer without files', () => [kmes.urlA, ...names, ...files(), '--peer', kmes.urlB], /--peer-cert is missing/],
      [
        'files without --peer',
        () => [kmes.urlA, ...names, ...files(), '--peer-ca', 'x'],
        /of no use without --peer URL/,
      ],
      [
        'a pre-shared key beside a certificate',
        () => [kmes.urlA, ...names, ...files(), '--psk', folder.file('a.pem')],
        /--psk takes the place of certificates/,
      ],
      [
        'a pin that is none',
        () => [kmes.urlA, ...names, ...files(), '--kme-pin', 'abc'],
        /--kme-pin is a SHA-256 in hex/,
      ],
      ['an age without unit', () => [kmes.urlA, ...names, ...files(), '--min-key-age', '5'], /a number with its unit/],
    ];
    for (const [name, args, expected] of cases) {
      it(name, async () => {
        const { code, stdout, stderr } = await qstunnel('doctor', 'kme', ...args(), '--json');
        expect(code, stderr).to.equal(2);
        expect(stderr)
          .to.match(/^qstunnel: ERR_CLI_USAGE: .*\n$/)
          .and.match(expected);
        const { ok, checks } = JSON.parse(stdout);
        expect(ok).to.equal(false);
        expect(checks).to.have.length(1);
        expect(checks[0]).to.include({ id: 'arguments', ok: false });
      });
    }

    it('a pre-shared key that is none', async () => {
      const { code, stderr } = await qstunnel('doctor', 'kme', 'skip://kme', ...names, '--psk', folder.file('a.pem'));
      expect(code).to.equal(1);
      expect(stderr).to.match(/^qstunnel: ERR_CLI_FILE: --psk: pre-shared key .*a\.pem must be one line IDENTITY:HEX/);
    });

    it('a file that can not be read', async () => {
      const missing = [
        ...names,
        '--cert',
        folder.file('none.pem'),
        '--key',
        folder.file('a.key'),
        '--ca',
        folder.file('ca.pem'),
      ];
      const { code, stderr } = await qstunnel('doctor', 'kme', kmes.urlA, ...missing);
      expect(code).to.equal(1);
      expect(stderr).to.match(/^qstunnel: ERR_CLI_FILE: --cert .*none\.pem can not be read: it does not exist\n$/);
    });
  });

  it('no line that it proposes is unknown to the configuration', () => {
    const known = new Set([...Object.keys(SERVICE_SETTINGS), ...Object.keys(KME_SETTINGS)]);
    const folderPath = join(ROOT, 'kdi-client/doctor');
    const texts = readdirSync(folderPath).map((name) => readFileSync(join(folderPath, name), 'utf8'));
    const hints = readFileSync(join(folderPath, 'doctor-settings.ts'), 'utf8').split('ConfigHint = {')[1] ?? '';
    const keys = [...hints.matchAll(/['"`]([a-z][a-z0-9-]+): /g)].map(([, key]) => key as string);
    expect(keys.length).to.be.greaterThan(10);
    expect(keys.filter((key) => !known.has(key))).to.deep.equal([]);
    // Lines are written in one place only.
    expect(texts.filter((text) => /['"`](?:ksid|open-as|kme-[a-z]+|[a-z]+-key-[a-z]+): /.test(text)).length).to.equal(
      1,
    );
  });

  it('docs/doctor.md lists every check that the code makes', () => {
    const folderPath = join(ROOT, 'kdi-client/doctor');
    const code = readdirSync(folderPath)
      .map((name) => readFileSync(join(folderPath, name), 'utf8'))
      .join('\n');
    const made = [
      ...code.matchAll(/\b(?:pass|note|fail|failWith|attempt)\(\s*'([a-z-]+)'/g),
      ...code.matchAll(/\.id\('([a-z-]+)'\)/g),
    ].map(([, id]) => id as string);
    const documented =
      readFileSync(join(ROOT, 'docs/doctor.md'), 'utf8').split('### The checks')[1]?.split('###')[0] ?? '';
    expect(new Set(made).size).to.be.greaterThan(20);
    expect([...new Set(made)].filter((id) => !documented.includes(`\`${id}\``))).to.deep.equal([]);
  });
});

function dataUrl(script: string): string {
  return `data:text/javascript,${encodeURIComponent(script)}`;
}
