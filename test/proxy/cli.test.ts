import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { main } from '../../proxy/cli/main.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'proxy/bin.mjs');

/** Runs the command line in this process; commands that print by themselves are run as programs instead. */
async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const output = { stdout: (text: string) => (stdout += text), stderr: (text: string) => (stderr += text) };
  const code = await main(args, '1.2.3', output);
  return { code, stdout, stderr };
}

describe('proxy cli', () => {
  it('prints help for the program and for each command, with examples', async () => {
    const help = await run('--help');
    expect(help).to.include({ code: 0, stderr: '' });
    const commands = [...help.stdout.matchAll(/^ {2}qstunnel (\w+) /gm)].map(([, name]) => name as string);
    expect(commands).to.include.members(['server', 'client', 'sim', 'certs']);
    for (const command of commands) await expectExamples(command);
  });

  /** A command has examples, or sub-commands that have some. */
  async function expectExamples(...command: string[]): Promise<void> {
    const { code, stdout } = await run(...command, '--help');
    expect(code, command.join(' ')).to.equal(0);
    if (/^Examples:/m.test(stdout)) return;
    const own = new RegExp(`^ {2}qstunnel ${command.join(' ')} (\\w+)`, 'gm');
    const subcommands = [...stdout.matchAll(own)].map(([, name]) => name as string);
    expect(subcommands, `${command.join(' ')} has neither examples nor sub-commands`).not.to.have.length(0);
    for (const name of subcommands) await expectExamples(...command, name);
  }

  it('prints its version', async () => {
    expect(await run('--version')).to.deep.equal({ code: 0, stdout: '1.2.3\n', stderr: '' });
  });

  describe('answers wrong usage with what to write instead, and exit code 2', () => {
    const cases: readonly (readonly [string, string])[] = [
      ['', 'say what to do, as in "qstunnel demo"; "qstunnel --help" lists the commands'],
      ['cert', 'unknown argument cert; did you mean certs?'],
      ['certs isue', 'unknown argument isue; did you mean issue?'],
      ['certs init --dri x', 'unknown option --dri; did you mean --dir?'],
      ['certs init --day=3', 'unknown option --day; did you mean --days?'],
      ['certs init --frobnicate', 'unknown option --frobnicate; "--help" lists what there is'],
      ['--vresion', 'unknown option --vresion; did you mean --version?'],
      ['--confg x', 'unknown option --confg; did you mean --config?'],
      ['--config', '--config needs a value'],
      ['sim up --config x', 'unknown option --config; "--help" lists what there is'],
      ['server --peer-say x', 'unknown option --peer-say; did you mean --peer-sae?'],
      ['client --keys-ahead many', '--keys-ahead needs a number'],
      ['client --require foo', '--require is "foo", allowed: qkd-and-pqc, qkd, pqc, qkd-or-pqc'],
      ['certs init --dir', '--dir needs a value'],
      ['sim up --preset', '--preset needs a value'],
      ['doctor peer x:1 --require', '--require needs a value'],
      ['client --require', '--require needs a value'],
      ['certs init --days ten', '--days needs a number'],
      ['certs issue', 'an argument is missing; write qstunnel certs issue <name> [options]'],
      ['certs show', 'an argument is missing; write qstunnel certs show <files..>'],
      ['certs issue a --profile root', '--profile is "root", allowed: proxy, sae, kme'],
      ['certs issue ../a', 'NAME becomes a file name: letters, digits, ".", "_" and "-", not "ca"'],
    ];
    for (const [args, message] of cases) {
      it(args || 'nothing', async () => {
        const result = await run(...args.split(' ').filter(Boolean));
        expect(result).to.deep.equal({ code: 2, stdout: '', stderr: `qstunnel: ERR_CLI_USAGE: ${message}\n` });
      });
    }
  });

  it('names every option that is missing or wrong, one a line', async () => {
    const missing = await run('server');
    expect(missing.code).to.equal(2);
    const options = ['accept', 'connect', 'sae', 'peer-sae', 'cert', 'key', 'ca'];
    const lines = options.map((option) => `qstunnel: ERR_CONFIG_MISSING_KEY: --${option}: is missing\n`);
    expect(missing.stderr).to.equal(lines.join(''));
    const credentials = ['--cert', 'a', '--key', 'b', '--ca', 'c', '--sae', 'x', '--peer-sae', 'y', '--peer-sae', 'x'];
    const wrong = await run('client', '--accept', '0.0.0.0:1', '--connect', 'x:2', ...credentials, '--require', 'qkd');
    expect(wrong.code).to.equal(2);
    expect(wrong.stderr.split('\n').map((line) => line.split(': ').slice(1, 3).join(' '))).to.deep.equal([
      'ERR_CONFIG_PLAINTEXT --accept',
      'ERR_CONFIG_CONFLICT --peer-sae',
      'ERR_CONFIG_CONFLICT --require',
      '',
    ]);
    expect(wrong.stderr).to.include('or set --unsafe-plaintext-off-loopback\n');
    const twice = await run('server', '--accept', '1', '--accept', '2', '--connect', '3', ...credentials.slice(0, 10));
    expect(twice.stderr).to.equal('qstunnel: ERR_CONFIG_VALUE: --accept: is given 2 times, and has one value\n');
  });

  it('answers those who asked for JSON in JSON, where a command promises it', async () => {
    const peer = await run('doctor', 'peer', 'nowhere', '--json');
    expect(peer.code).to.equal(2);
    const { problems, ...rest } = JSON.parse(peer.stdout);
    expect(rest).to.deep.equal({ ok: false });
    expect(peer.stderr).to.equal(`qstunnel: ERR_CLI_USAGE: ${problems[0]}\n`);
    for (const args of [
      ['doctor', 'peer', 'nowhere'],
      ['sim', 'up', '--speed', '0', '--json'],
    ]) {
      expect((await run(...args)).stdout, args.join(' ')).to.equal('');
    }
  });

  it('complains once of an address that is none', async () => {
    const credentials = ['--cert', 'a', '--key', 'b', '--ca', 'c', '--sae', 'x', '--peer-sae', 'y'];
    const { stderr } = await run('client', '--accept', 'here', '--connect', 'there', ...credentials);
    const message = 'must be HOST:PORT, PORT (on loopback), [IPv6]:PORT or unix:/path';
    expect(stderr).to.equal(
      `qstunnel: ERR_CONFIG_VALUE: --accept: ${message}\nqstunnel: ERR_CONFIG_VALUE: --connect: ${message}\n`,
    );
  });

  it('names the line of a configuration file', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'qstunnel-cli-')), 'q.yaml');
    try {
      writeFileSync(file, 'services:\n  - name: db\n    mode: sever\n    accept: 1\n    connect: 2\n');
      expect(await run('--config', file)).to.deep.equal({
        code: 2,
        stdout: '',
        stderr: `qstunnel: ERR_CONFIG_VALUE: ${file}:3:11: services[0].mode: is "sever", must be one of client, server\n`,
      });
    } finally {
      rmSync(dirname(file), { recursive: true });
    }
  });

  describe('as a program', () => {
    let directory: string;
    before(() => {
      if (!existsSync(join(ROOT, 'dist/proxy/cli/main.js'))) {
        throw new Error('dist/ is missing: run "npm run build" first, as "npm test" does');
      }
      directory = mkdtempSync(join(tmpdir(), 'qstunnel-cli-'));
    });
    after(() => rmSync(directory, { recursive: true, force: true }));

    const program = (...args: string[]): SpawnSyncReturns<string> =>
      spawnSync(process.execPath, [BIN, ...args], { encoding: 'utf8', cwd: directory });

    it('makes a CA and certificates, and shows them', () => {
      const init = program('certs', 'init', '--dir', 'pki', '--name', 'Lab CA');
      expect(init).to.include({ status: 0, stderr: '', stdout: 'pki/ca.pem\npki/ca.key\n' });
      const issue = program(
        'certs',
        'issue',
        'siteA',
        '--dir',
        'pki',
        '--host',
        'a.example',
        '--host',
        '::1',
        '--days',
        '3',
      );
      expect(issue).to.include({ status: 0, stderr: '', stdout: 'pki/siteA.pem\npki/siteA.key\n' });
      expect(statSync(join(directory, 'pki')).mode & 0o777).to.equal(0o700);
      expect(statSync(join(directory, 'pki/siteA.key')).mode & 0o777).to.equal(0o600);
      const shown = program('certs', 'show', '--json', 'pki/siteA.pem', 'pki/ca.pem');
      const [leaf, ca] = JSON.parse(shown.stdout);
      expect(leaf).to.deep.include({
        subject: 'CN=siteA',
        saeIds: ['siteA'],
        dnsNames: ['a.example'],
        ipAddresses: ['::1'],
        purposes: ['TLS server', 'TLS client'],
        state: 'valid',
      });
      expect(ca).to.deep.include({ subject: 'CN=Lab CA', ca: true });
      expect(program('certs', 'show', 'pki/siteA.pem').stdout).to.match(/SAE +siteA/);
    });

    it('overwrites nothing, and says one line with exit code 1', () => {
      const before = readFileSync(join(directory, 'pki/ca.key'), 'utf8');
      const again = program('certs', 'init', '--dir', 'pki');
      expect(again.status).to.equal(1);
      expect(again.stderr).to.match(
        /^qstunnel: ERR_CLI_FILE: pki\/ca.key is there already and is not overwritten.*\n$/,
      );
      expect(readFileSync(join(directory, 'pki/ca.key'), 'utf8')).to.equal(before);
    });

    it("leaves no half of a pair where the other half is somebody else's", () => {
      writeFileSync(join(directory, 'pki/taken.pem'), 'mine');
      const { status, stderr } = program('certs', 'issue', 'taken', '--dir', 'pki');
      expect(status).to.equal(1);
      expect(stderr).to.match(/^qstunnel: ERR_CLI_FILE: pki\/taken.pem is there already and is not overwritten.*\n$/);
      expect(readFileSync(join(directory, 'pki/taken.pem'), 'utf8')).to.equal('mine');
      expect(existsSync(join(directory, 'pki/taken.key'))).to.equal(false);
    });

    it('says which folder can not be made, and makes those above it', function () {
      if (process.platform !== 'linux') return this.skip();
      for (const [dir, message] of [
        ['/proc/x', 'the folder /proc/x can not be made: nothing can be made in the one above it'],
        ['pki/ca.pem/x', 'the folder pki/ca.pem can not be made: it is a file'],
      ] as const) {
        const { status, stderr } = program('certs', 'init', '--dir', dir);
        expect({ status, stderr }).to.deep.equal({ status: 1, stderr: `qstunnel: ERR_CLI_FILE: ${message}\n` });
      }
      expect(program('certs', 'init', '--dir', 'a/b//c/').status).to.equal(0);
      expect(statSync(join(directory, 'a/b')).mode & 0o777).to.equal(0o700);
    });

    it('shows no private key', () => {
      const shown = program('certs', 'show', 'pki/siteA.key');
      expect(shown).to.include({ status: 1, stdout: '' });
      expect(shown.stderr).to.equal('qstunnel: ERR_CERT_PEM: no "BEGIN CERTIFICATE" block found, but a private key\n');
    });

    it('reads from a pipe', () => {
      const command = `exec "${process.execPath}" "${BIN}" certs show --json <(cat pki/siteA.pem; cat pki/ca.pem)`;
      const { stdout, stderr } = spawnSync('bash', ['-c', command], { cwd: directory, encoding: 'utf8' });
      expect(stderr).to.equal('');
      expect(JSON.parse(stdout).map(({ subject }: { subject: string }) => subject)).to.deep.equal([
        'CN=siteA',
        'CN=Lab CA',
      ]);
    });

    it('says what to do where there is no CA', () => {
      const issue = program('certs', 'issue', 'x', '--dir', 'nowhere');
      expect(issue.status).to.equal(1);
      expect(issue.stderr).to.match(
        /ERR_CLI_FILE: nowhere\/ca.pem .*; "qstunnel certs init --dir nowhere" makes a CA\n$/,
      );
    });

    it('lives on when the reader of its output goes away', () => {
      const { status, stdout } = spawnSync(
        'bash',
        ['-c', `"${process.execPath}" "${BIN}" --help | head -1; echo "\${PIPESTATUS[0]}"`],
        {
          encoding: 'utf8',
        },
      );
      expect(status).to.equal(0);
      expect(stdout).to.equal('qstunnel <command> [options]\n0\n');
    });

    it('lives on when that happens to what a command prints when it is done', async () => {
      const child = spawn(process.execPath, [BIN, 'certs', 'show', 'pki/siteA.pem'], { cwd: directory, stdio: 'pipe' });
      child.stdout.destroy();
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      const [code] = (await once(child, 'close')) as [number];
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
    });

    it('says in one line that its output can not be written', () => {
      const { status, stderr } = spawnSync(
        'bash',
        ['-c', `exec "${process.execPath}" "${BIN}" certs show pki/siteA.pem > /dev/full`],
        { cwd: directory, encoding: 'utf8' },
      );
      expect(stderr).to.equal('qstunnel: ERR_CLI_FILE: stdout can not be written (ENOSPC)\n');
      expect(status).to.equal(1);
    });

    it('opens no inspector on SIGUSR1', async () => {
      const script = `await import(${JSON.stringify(`file://${BIN}`)}); process.stdout.write('up ' + process.listenerCount('SIGUSR1')); process.stdin.resume();`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, 'qstunnel', '--version'], {
        stdio: 'pipe',
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      let stdout = '';
      for await (const text of child.stdout.setEncoding('utf8')) {
        stdout += text;
        if (/up \d/.test(stdout)) break;
      }
      child.kill('SIGUSR1');
      child.stdin.end();
      const [code] = (await once(child, 'exit')) as [number];
      expect(stdout).to.match(/up [1-9]/);
      expect(stderr).not.to.include('Debugger listening');
      expect(code).to.equal(0);
    });
  });
});
