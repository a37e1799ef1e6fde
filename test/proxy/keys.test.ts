/** `qstunnel keys`: the report of a program that stands alone, and what it prints. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type KdiApi, KdiError, KdiErrorCode, type KeySource, type KmeStatus } from '../../kdi-client/index.ts';
import type { KeyReport } from '../../proxy/key-report/key-report.ts';
import { kmeKeyReports } from '../../proxy/key-report/kme-report.ts';
import { VirtualClock } from '../kdi-client/support/virtual-clock.ts';
import { startKmes, type TestKmes } from './kmes.ts';
import { SiteFolder } from './program.ts';

const BIN = join(fileURLToPath(new URL('../..', import.meta.url)), 'proxy/bin.mjs');

describe('key report of key managers', () => {
  const clock = new VirtualClock();
  const quiet = new AbortController().signal;
  let answer: () => Promise<KmeStatus>;

  function reports(api: KdiApi = 'etsi014') {
    const source = {
      api,
      kme: 'kme-a:443',
      status: () => answer(),
      close: async () => {},
    } as unknown as KeySource;
    const pool = { service: 'db', sae: 'siteA', peerSae: 'siteB', source, keysAhead: 8 };
    return kmeKeyReports({ pools: [pool], clock, nowMs: () => 0, timeoutMs: 1_000 });
  }

  it('rate and time to exhaustion, once there are two readings', async () => {
    const watched = reports();
    const read = async (storedKeyCount: number, afterMs: number) => {
      await clock.advance(afterMs);
      answer = async () => ({ storedKeyCount, maxKeyCount: 100, keySizeBits: 256 });
      return (await watched.read(quiet)).pools[0];
    };
    expect(await read(100, 0)).to.include({ keys: 100, capacity: 100, ratePerSecond: null, exhaustionSeconds: null });
    expect(await read(90, 2_000)).to.include({ state: 'ok', ratePerSecond: -5, exhaustionSeconds: 18 });
    expect(await read(94, 2_000)).to.include({ ratePerSecond: -1.5, exhaustionSeconds: 63 });
    expect(await read(120, 6_000)).to.include({ ratePerSecond: 2, exhaustionSeconds: null });
    expect(await read(6, 1_000)).to.include({ state: 'low', lowWatermark: 6, highWatermark: 8 });
    expect(await read(0, 1_000)).to.include({ state: 'empty' });
    // What was more than a minute ago counts no more.
    expect(await read(40, 120_000)).to.include({ ratePerSecond: null });
    expect(await read(50, 10_000)).to.include({ ratePerSecond: 1 });
    answer = () => Promise.reject(new KdiError(KdiErrorCode.connect, 'it is being started again'));
    await watched.read(quiet);
    expect(await read(0, 1_000), 'an empty store after a restart').to.include({ state: 'empty', ratePerSecond: null });
    expect(await read(10, 2_000)).to.include({ ratePerSecond: 5 });
  });

  it('faults, the last five, newest first; and what each means for the state', async () => {
    const watched = reports();
    for (let i = 0; i < 7; i++) {
      answer = () => Promise.reject(new KdiError(KdiErrorCode.connect, `fault ${i}`));
      await watched.read(quiet);
    }
    answer = () => Promise.reject(new KdiError(KdiErrorCode.badRequest, 'who?'));
    const { ok, pools } = await watched.read(quiet);
    expect(ok).to.equal(false);
    expect(pools[0]?.state).to.equal('refused');
    expect(pools[0]?.faults.map(({ message }) => message)).to.deep.equal([
      'who?',
      'fault 6',
      'fault 5',
      'fault 4',
      'fault 3',
    ]);
    answer = () => Promise.reject(new KdiError(KdiErrorCode.tls, 'not trusted'));
    expect((await watched.read(quiet)).pools[0]?.state).to.equal('unreachable');
    answer = async () => ({ storedKeyCount: 50 });
    expect((await watched.read(quiet)).ok).to.equal(true);
  });

  it('an API without numbers is unknown and no fault', async () => {
    answer = () => Promise.reject(new KdiError(KdiErrorCode.unsupported, 'GS QKD 004 has no status call'));
    const { ok, pools } = await reports('etsi004').read(quiet);
    expect(ok).to.equal(true);
    expect(pools[0]).to.deep.include({ state: 'unknown', keys: null, faults: [] });
    expect(pools[0]?.note).to.include('doctor kme');
  });

  it('a key manager that does not answer is given up', async () => {
    const source = {
      api: 'etsi014',
      kme: 'kme-a:443',
      status: (_peer: string, { signal }: { signal: AbortSignal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new KdiError(KdiErrorCode.aborted, 'given up')));
        }),
      close: async () => {},
    } as unknown as KeySource;
    const silent = kmeKeyReports({
      pools: [{ service: 'db', sae: 'a', peerSae: 'b', source, keysAhead: 4 }],
      clock,
      nowMs: () => 0,
      timeoutMs: 1_000,
    });
    const reading = silent.read(quiet);
    await clock.advance(1_000);
    expect((await reading).pools[0]?.faults[0]).to.include({ code: 'ERR_KDI_TIMEOUT' });
  });
});

describe('qstunnel keys', () => {
  let kmes: TestKmes;
  let folder: SiteFolder;
  let child: ChildProcess | undefined;
  before(async () => {
    kmes = await startKmes();
    kmes.fill(32_768);
    folder = await SiteFolder.create();
    const tls = `cert: a.pem\n  key: a.key\n  ca: ca.pem`;
    await folder.write(
      'qstunnel.yaml',
      `defaults:\n  sae: siteA\n  peer-sae: [siteB]\n  ${tls}\n  kme: ${kmes.url('a', 'etsi014')}\nservices:\n` +
        '  - {name: db, mode: client, accept: 5432, connect: 127.0.0.1:8443}\n' +
        '  - {name: web, mode: client, accept: 5433, connect: 127.0.0.1:8443}\n',
    );
  });
  afterEach(() => {
    if (child?.exitCode === null) child.kill('SIGKILL');
  });
  after(async () => {
    await kmes.close();
    await folder.remove();
  });

  function start(...args: string[]): ChildProcess {
    child = spawn(process.execPath, [BIN, 'keys', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    return child;
  }

  async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const program = start(...args);
    let [stdout, stderr] = ['', ''];
    program.stdout?.on('data', (bytes: Buffer) => {
      stdout += bytes;
    });
    program.stderr?.on('data', (bytes: Buffer) => {
      stderr += bytes;
    });
    const [code] = await once(program, 'close');
    return { code, stdout, stderr };
  }

  it('status of a configuration: each key manager and peer once, with a rate', async () => {
    const { code, stdout, stderr } = await run('status', '--config', folder.file('qstunnel.yaml'), '--json');
    expect(code, stderr).to.equal(0);
    const report: KeyReport = JSON.parse(stdout);
    expect(report).to.include({ ok: true, source: 'kme' });
    expect(report.pools).to.have.length(1);
    const docs = readFileSync(new URL('../../docs/doctor.md', import.meta.url), 'utf8');
    for (const field of Object.keys(report.pools[0] ?? {}))
      expect(docs).to.match(new RegExp(`^\\|.*\`${field}\`.* \\|`, 'm'));
    expect(report.pools[0]).to.include({
      service: 'db',
      peerSae: 'siteB',
      api: 'etsi014',
      ratePerSecond: 0,
      state: 'ok',
    });
    expect(report.pools[0]?.keys).to.be.greaterThan(100);
  });

  it('status for people; an unknown peer fails it', async () => {
    const tls = ['--cert', folder.file('a.pem'), '--key', folder.file('a.key'), '--ca', folder.file('ca.pem')];
    const peers = ['--peer-sae', 'siteB', '--peer-sae', 'nobody'];
    const { code, stdout, stderr } = await run(
      'status',
      '--kme',
      kmes.url('a', 'etsi014'),
      '--sae',
      'siteA',
      ...peers,
      ...tls,
    );
    expect(code).to.equal(1);
    expect(stdout)
      .to.match(/^SERVICE +PEER +KEY MANAGER/)
      .and.match(/siteB .* ok$/m)
      .and.match(/nobody .* refused$/m);
    expect(stderr).to.match(
      /^qstunnel: ERR_CLI_VERDICT: .* for nobody is refused \(ERR_KDI_BAD_REQUEST\); "qstunnel doctor kme" says what to change\n$/,
    );
  });

  it('watch --json: a line for each reading, and Ctrl-C ends it with status 0', async () => {
    const program = start('watch', '--config', folder.file('qstunnel.yaml'), '--every', '100ms', '--json');
    const lines: KeyReport[] = [];
    const closed = once(program, 'close');
    for await (const line of createInterface({ input: program.stdout as NodeJS.ReadableStream })) {
      lines.push(JSON.parse(line));
      if (lines.length === 4) program.kill('SIGINT');
    }
    expect((await closed)[0]).to.equal(0);
    expect(lines.length).to.be.at.least(4);
    expect(lines.at(-1)?.pools[0]?.ratePerSecond).to.equal(0);
  });

  it('watch ends when its reader goes away; a status that was interrupted is no success', async () => {
    const watching = start('watch', '--config', folder.file('qstunnel.yaml'), '--every', '100ms', '--json');
    watching.stdout?.once('data', () => watching.stdout?.destroy());
    expect((await once(watching, 'exit'))[0]).to.equal(0);

    const tls = ['--cert', folder.file('a.pem'), '--key', folder.file('a.key'), '--ca', folder.file('ca.pem')];
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    try {
      const { port } = silent.address() as AddressInfo;
      const names = ['--sae', 'siteA', '--peer-sae', 'siteB'];
      const asking = start('status', '--kme', `etsi014://127.0.0.1:${port}`, ...names, ...tls);
      await once(silent, 'connection');
      asking.kill('SIGINT');
      expect(await once(asking, 'exit')).to.deep.equal([null, 'SIGINT']);
    } finally {
      silent.close();
    }
  });

  it('--json: one object also where nothing could be asked', async () => {
    for (const args of [['status'], ['status', '--config', folder.file('nowhere.yaml')], ['watch', '--evry', '1s']]) {
      const { code, stdout, stderr } = await run(...args, '--json');
      expect(code, stderr).to.equal(2);
      const { problems, ...rest } = JSON.parse(stdout);
      expect(rest).to.deep.equal({ ok: false, source: null, pools: [] });
      expect(stderr).to.include(problems[0]);
    }
  });

  it('what makes no sense is answered with what to write', async () => {
    const cases: readonly (readonly [string[], RegExp])[] = [
      [['status'], /say whom to ask: --config FILE, or --kme URL/],
      [['watch', '--config', folder.file('qstunnel.yaml'), '--every', '1ms'], /--every is at least 100ms/],
      [['status', '--config', folder.file('nowhere.yaml')], /ERR_CONFIG_FILE/],
    ];
    for (const [args, expected] of cases) {
      const { code, stdout, stderr } = await run(...args);
      expect(code, stderr).to.equal(2);
      expect(stdout).to.equal('');
      expect(stderr).to.match(expected);
    }
  });
});
