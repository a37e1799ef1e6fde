import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { DemoResult } from '../../proxy/demo/demo.ts';

const BIN = fileURLToPath(new URL('../../proxy/bin.mjs', import.meta.url));

describe('qstunnel demo', function () {
  this.timeout(90_000);
  let temporary: string;

  beforeEach(() => {
    temporary = mkdtempSync(join(tmpdir(), 'qstunnel-demo-test-'));
  });
  afterEach(() => rmSync(temporary, { recursive: true, force: true }));

  const start = (...args: string[]) => {
    const child = spawn(process.execPath, [BIN, 'demo', ...args], {
      env: { ...process.env, TMPDIR: temporary },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    return { child, stdout: () => stdout, exited: once(child, 'close') };
  };

  /** Processes that still mention the demo's folder or run in its environment. */
  const survivors = () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`TMPDIR=${temporary}\0`);
        } catch {
          return false;
        }
      });

  /** Waits for the end of every process of the demo by their exit, as seen in /proc. */
  const allGone = async () => {
    while (survivors().length > 0) await new Promise((resolve) => setImmediate(resolve));
  };

  it('shows in one JSON object what each part reported by itself, and leaves nothing', async () => {
    const { stdout, exited } = start('--json');
    const [code] = await exited;
    const lines = stdout().trimEnd().split('\n');
    expect(lines).to.have.length(1);
    const result = JSON.parse(lines[0] as string) as DemoResult;
    expect(result.checks.filter(({ observed }) => !observed)).to.deep.equal([]);
    expect({ code, ok: result.ok }).to.deep.equal({ code: 0, ok: true });

    const { link, connections, tap } = result;
    expect(link.lengthKm).to.equal(25);
    // The metro table at 25 km says 1.948 % and 4021 b/s; one block scatters by a few per cent, and a real Cascade does better.
    expect(link.qber).to.be.within(0.0165, 0.0225);
    expect(link.skrBitsPerSecond).to.be.within(3400, 5600);
    expect(link.siftedBitsPerSecond).to.be.within(14_000, 16_200);
    expect(link.simulatedSeconds).to.be.within(60, 73);
    expect(link.underAttack.secretBits).to.equal(0);

    const modes = connections.map(({ mode }) => mode);
    expect(modes[0]).to.equal('qkd-and-pqc');
    expect(modes.at(-1)).to.equal('qkd-and-pqc');
    expect(modes).to.include('pqc').and.to.include('refused');
    const keyIds = connections.flatMap(({ keyId }) => keyId ?? []);
    expect(new Set(keyIds).size).to.equal(keyIds.length);
    for (const connection of connections) {
      if (connection.mode === 'refused') {
        expect(connection.reason, 'refused with a reason').to.be.a('string');
        expect(connection.applicationServed).to.equal(false);
        continue;
      }
      expect(connection.fingerprintsAgree).to.equal(true);
      expect(connection.applicationServed).to.equal(true);
      expect(connection.group).to.equal('X25519MLKEM768');
      expect(connection.handshakeMs).to.be.greaterThan(0);
      expect(connection.mode === 'qkd-and-pqc').to.equal(connection.keyId !== undefined);
      expect(connection.reason).to.equal(connection.reasonAtServer);
    }
    expect(tap).to.include({ markerInTunnel: false, markerInControl: true });
    expect(tap.recordedBytes).to.be.greaterThan(10_000);

    expect(readdirSync(temporary)).to.deep.equal([]);
    expect(survivors()).to.deep.equal([]);
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
    it(`leaves no process and no file when ${signal} ends it half-way`, async () => {
      const { child, stdout, exited } = start();
      while (!stdout().includes('site-a.yaml')) await once(child.stdout, 'data');
      expect(survivors().length).to.be.greaterThan(1);
      child.kill(signal);
      const [code, by] = await exited;
      expect(signal === 'SIGKILL' ? by : code).to.equal(signal === 'SIGKILL' ? 'SIGKILL' : 1);
      await allGone();
      expect(readdirSync(temporary)).to.deep.equal([]);
    });
  }

  it('keeps everything running with --keep, and says what to try', async () => {
    const { child, stdout, exited } = start('--keep');
    while (!stdout().includes('Ctrl-C ends it')) await once(child.stdout, 'data');
    const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(stdout())?.[0] as string;
    const answer = await fetch(url, { method: 'POST', body: 'still here' });
    expect(await answer.text()).to.equal('still here');
    child.kill('SIGINT');
    await exited;
    await allGone();
    expect(readdirSync(temporary)).to.deep.equal([]);
  });

  it('refuses a fibre that would never make key', async () => {
    const { child, exited } = start('--length', '400');
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [code] = await exited;
    expect(code).to.equal(2);
    expect(stderr).to.match(/^qstunnel: ERR_CLI_USAGE: .*--length is 0 to 75/);
  });
});
