import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, watch } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const BIN = fileURLToPath(new URL('../../proxy/bin.mjs', import.meta.url));
/** A link that has its first keys in about a second. */
const QUICK = ['--length', '0', '--speed', '1000000', '--store-keys', '64'];

interface ReadyKme {
  readonly sae: string;
  readonly etsi004: string;
  readonly etsi014: string;
  readonly skip: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** `qstunnel sim up` with a TMPDIR of its own. */
class SimUp {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  stderr = '';
  readonly exited: Promise<number | null>;
  readonly #waiting = new Set<() => void>();

  constructor(temporary: string, args: readonly string[]) {
    const env = { ...process.env, TMPDIR: temporary };
    this.child = spawn(process.execPath, [BIN, 'sim', 'up', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.exited = once(this.child, 'close').then(([code]) => code);
    this.child.stderr?.on('data', (bytes: Buffer) => {
      this.stderr += bytes.toString();
    });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(line);
      for (const look of [...this.#waiting]) look();
    });
  }

  /** The first line on stdout that fits; rejects if the program ends without one. */
  line(fits: (line: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.lines.find(fits);
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
      void this.exited.then((code) => reject(new Error(`ended (${code}): ${this.stderr}${this.lines.join('\n')}`)));
    });
  }

  async ready(): Promise<readonly [ReadyKme, ReadyKme]> {
    return JSON.parse(await this.line((line) => line.startsWith('{'))).kmes;
  }

  end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return this.exited;
  }
}

async function getJson(kme: ReadyKme, url: string) {
  const [cert, key, ca] = await Promise.all([kme.cert, kme.key, kme.ca].map((path) => readFile(path)));
  const outgoing = request(url, { cert, key, ca, agent: false } as Parameters<typeof request>[1]);
  outgoing.end();
  const [incoming] = await once(outgoing, 'response');
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString());
}

describe('proxy: qstunnel sim up', function () {
  this.timeout(60_000);
  let temporary: string;
  let running: SimUp[] = [];
  const simUp = (...args: string[]) => {
    const program = new SimUp(temporary, args);
    running.push(program);
    return program;
  };

  beforeEach(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'qstunnel-test-'));
  });
  afterEach(async () => {
    await Promise.all(running.map((program) => program.end('SIGKILL')));
    running = [];
    await rm(temporary, { recursive: true, force: true });
  });

  it('prints one ready line with working addresses and files, and leaves nothing behind', async () => {
    const program = simUp('--json', ...QUICK);
    const [a, b] = await program.ready();
    expect([a.sae, b.sae]).to.deep.equal(['siteA', 'siteB']);
    for (const kme of [a, b]) {
      expect(kme).to.have.all.keys('sae', 'etsi004', 'etsi014', 'skip', 'cert', 'key', 'ca');
      for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
        expect(kme[api]).to.match(new RegExp(`^${api}://127\\.0\\.0\\.1:\\d+$`));
      }
      expect((await stat(kme.key)).mode & 0o777).to.equal(0o600);
    }
    expect((await stat(dirname(a.key))).mode & 0o777).to.equal(0o700);
    const at = (kme: ReadyKme) => `${kme.etsi014.replace('etsi014', 'https')}/api/v1/keys`;
    const drawn = await getJson(a, `${at(a)}/siteB/enc_keys`);
    const fetched = await getJson(b, `${at(b)}/siteA/dec_keys?key_ID=${drawn.keys[0].key_ID}`);
    expect(fetched.keys[0].key).to.equal(drawn.keys[0].key);
    expect(drawn.keys[0].key_extension.simulated).to.equal(true);
    expect(await program.end('SIGTERM')).to.equal(0);
    expect(program.lines.length).to.equal(1);
    expect(await readdir(temporary)).to.deep.equal([]);
  });

  it('tells a reader how the link does, and what to type', async () => {
    const program = simUp('--sae-a', 'clinic', '--sae-b', 'archive', ...QUICK);
    expect(await program.line((line) => line.startsWith('block 0'))).to.match(
      /QBER 1\.\d+ %, \d+\.\d+ kbit\/s, \d+ keys/,
    );
    // By how the suite was started: npx qstunnel client, or node with the path of bin.mjs.
    await program.line((line) => /(?:qstunnel|bin\.mjs) client/.test(line));
    await program.line((line) => line.includes('--sae clinic --peer-sae archive'));
    await program.line((line) => line.startsWith('Stores are full'));
    expect(program.lines.join('\n'), 'no terminal control in a pipe').to.not.include('\u001b');
    expect(await program.end('SIGINT')).to.equal(0);
    expect(await readdir(temporary)).to.deep.equal([]);
  });

  it('uses the certificates that are in the folder it is given', async () => {
    const dir = join(temporary, 'pki');
    const first = simUp('--json', '--dir', dir, ...QUICK);
    const [{ cert, ca }] = await first.ready();
    expect(dirname(cert)).to.equal(dir);
    const before = [await readFile(cert), await readFile(ca)];
    await first.end('SIGTERM');
    const second = simUp('--json', '--dir', dir, ...QUICK);
    await second.ready();
    expect([await readFile(cert), await readFile(ca)]).to.deep.equal(before);
    expect(await second.end('SIGTERM')).to.equal(0);
    expect((await readdir(dir)).length).to.equal(10);
  });

  it('answers a folder that can not be made, or is none, in one line', async function () {
    if (process.platform !== 'linux') return this.skip();
    for (const [dir, message] of [
      ['/proc/x/y', 'the folder /proc/x can not be made: nothing can be made in the one above it'],
      [BIN, `${BIN}/ca.pem can not be read: what should be a folder above it is a file`],
    ] as const) {
      const program = simUp('--dir', dir);
      expect(await program.exited).to.equal(1);
      expect(program.stderr).to.equal(`qstunnel: ERR_CLI_FILE: ${message}\n`);
    }
  });

  it('ends cleanly when it is told to before there are keys', async () => {
    const program = simUp('--speed', '0.001', '--eve', '0.5');
    await program.line((line) => line.includes('Waiting for its first keys'));
    expect(await program.end('SIGTERM')).to.equal(0);
    expect(program.stderr, 'and says why there would be none').to.include('no key is to be expected of this link');
    expect(await readdir(temporary)).to.deep.equal([]);
  });

  it('leaves nothing behind when it is killed', async () => {
    const program = simUp('--speed', '0.001');
    await program.line((line) => line.includes('Waiting for its first keys'));
    expect((await readdir(temporary)).length).to.equal(1);
    const watcher = watch(temporary);
    try {
      await program.end('SIGKILL');
      // Without a pause between the look and the wait, in which the event would be missed.
      while (readdirSync(temporary).length > 0) await once(watcher, 'change');
    } finally {
      watcher.close();
    }
  });

  it('says where no folder can be made', async () => {
    const program = new SimUp(join(temporary, 'nowhere'), []);
    expect(await program.exited).to.equal(1);
    expect(program.stderr).to.match(
      /^qstunnel: ERR_CLI_FILE: no folder can be made in .*nowhere \(ENOENT\); set TMPDIR to another one\n$/,
    );
  });

  it('says that a port is taken, and leaves nothing behind', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as { port: number };
    const program = simUp('--port-b', String(port));
    expect(await program.exited).to.equal(1);
    expect(program.stderr).to.match(
      /^qstunnel: ERR_SIM_LISTEN: kme-b can't listen on 127\.0\.0\.1:\d+: .* --port-b, .*\n$/,
    );
    expect(await readdir(temporary)).to.deep.equal([]);
    holder.close();
  });

  const wrong: readonly [string[], RegExp][] = [
    [['--host', '0.0.0.0'], /0\.0\.0\.0 is not a loopback address.*add --unsafe-expose/],
    [['--eve', '25'], /--eve is a fraction from 0 to 1/],
    [['--length', '-1'], /--length is 0 to 400/],
    [['--speed', '0'], /--speed is a number above 0/],
    [['--store-keys', '1.5'], /--store-keys is a whole number/],
    [['--port-a', '70000'], /--port-a is a port/],
    [['--length', '25', '--length', '30'], /--length is given 2 times, and has one value/],
    [['--sae-a', 'x', '--sae-b', 'x'], /have to differ/],
    [['--sae-a', 'with space'], /an SAE ID is/],
    [['--preset', 'metropolis'], /--preset is "metropolis", allowed: metro/],
  ];
  for (const [args, message] of wrong) {
    it(`answers ${args.join(' ')} with what to write instead`, async () => {
      const program = simUp(...args);
      expect(await program.exited).to.equal(2);
      expect(program.stderr).to.match(message);
      expect(program.stderr.trim().split('\n').length).to.equal(1);
      expect(await readdir(temporary)).to.deep.equal([]);
    });
  }
});
