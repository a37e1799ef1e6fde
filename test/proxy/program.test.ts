import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { startKmes, type TestKmes } from './kmes.ts';
import { proxyCredential, testPki } from './pki.ts';
import { Programs, SiteFolder } from './program.ts';
import { MIB, randomStream, receive, send } from './random-stream.ts';
import { collect, TestApplication } from './sites.ts';

const run = promisify(execFile);
const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
const hasCurl = spawnSync('curl', ['--version']).status === 0;

describe('the program, as two processes', function () {
  this.timeout(60_000);
  let folder: SiteFolder;
  let kmes: TestKmes;
  const programs = new Programs();

  before(async () => {
    folder = await SiteFolder.create();
    kmes = await startKmes();
    kmes.fill(32_768);
  });
  after(async () => {
    await kmes.close();
    await folder.remove();
  });
  afterEach(() => programs.stopAll());

  const qstunnel = (...args: string[]) => programs.start(...args);

  /** One command on each side, as in the README. */
  async function startPair(backend: string) {
    const server = qstunnel(
      ...['server', '--accept', '127.0.0.1:0', '--connect', backend],
      ...folder.options('b'),
      ...['--kme', kmes.urlB],
    );
    const port = await server.port('server');
    const client = qstunnel(
      ...['client', '--accept', '127.0.0.1:0', '--connect', `127.0.0.1:${port}`],
      ...folder.options('a'),
      ...['--kme', kmes.urlA],
    );
    return { server, client, entrance: { host: '127.0.0.1', port: await client.port('client') } };
  }

  it('one command on each side joins two sites; SIGTERM lets a connection finish, then both end with 0', async () => {
    const application = await TestApplication.echo();
    const { server, client, entrance } = await startPair(`127.0.0.1:${application.address.port}`);
    await client.next('keys-ready');
    const socket = connect({ ...entrance, allowHalfOpen: true });
    socket.write('before ');
    await once(socket, 'data');
    client.child.kill('SIGTERM');
    server.child.kill('SIGTERM');
    expect(await client.next('draining')).to.include({ signal: 'SIGTERM', connections: 1 });
    await server.next('draining');
    const refused = connect(entrance);
    const [error] = await once(refused, 'error');
    expect(error.code).to.equal('ECONNREFUSED');
    socket.end('after');
    expect((await collect(socket)).toString()).to.equal('after');
    expect(await client.next('connection')).to.include({ mode: 'qkd-and-pqc', bytesToPeer: 12, bytesFromPeer: 12 });
    expect(await client.next('stopped')).to.include({ connectionsCut: 0 });
    expect(await client.exited).to.deep.equal({ code: 0, signal: null });
    expect(await server.exited).to.deep.equal({ code: 0, signal: null });
    await application.close();
  });

  it('256 MiB in each direction at once arrive unchanged (1 GiB in gigabyte.long.ts)', async () => {
    const size = 256 * MIB;
    const [up, down] = [randomStream(size), randomStream(size)];
    let receivedUp: Promise<void> | undefined;
    const application = await new TestApplication((socket) => {
      receivedUp = receive(socket, up);
      void send(socket, down);
    }).listen();
    const { client, entrance } = await startPair(`127.0.0.1:${application.address.port}`);
    await client.next('keys-ready');
    const socket = connect({ ...entrance, allowHalfOpen: true });
    const sent = send(socket, up);
    await receive(socket, down);
    await sent;
    await receivedUp;
    const line = await client.next('connection');
    expect(line).to.include({ mode: 'qkd-and-pqc', bytesToPeer: size, bytesFromPeer: size });
    await application.close();
  });

  it('warns once of a certificate that peers will refuse, however many services have it', async () => {
    const { ca } = await testPki();
    const expired = { saeIds: ['siteB'], notBeforeMs: Date.now() - 3 * 86_400_000, validityDays: 1 };
    await folder.writeCredential('old', await proxyCredential(ca, expired));
    const service = (name: string) =>
      `  - { name: ${name}, mode: server, accept: "127.0.0.1:0", connect: "127.0.0.1:1" }`;
    const config = `defaults: { cert: old.pem, key: old.key, ca: ca.pem, sae: siteB, peer-sae: [siteA], kme: "${kmes.urlB}" }
services:
${service('one')}
${service('two')}
`;
    const server = qstunnel('--config', await folder.write('old.yaml', config));
    await server.port('two');
    const warnings = server.lines.filter(({ event }) => event === 'warning');
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.include({ level: 'warn', service: 'one' });
    expect((warnings[0] as { message: string }).message).to.match(
      /^certificate .*old\.pem expired at .*: peers refuse it/,
    );
  });

  it('a second signal ends it at once', async () => {
    const application = await TestApplication.echo();
    const { client, entrance } = await startPair(`127.0.0.1:${application.address.port}`);
    const socket = connect(entrance);
    socket.on('error', () => {});
    socket.write('x');
    await once(socket, 'data');
    client.child.kill('SIGTERM');
    await client.next('draining');
    client.child.kill('SIGTERM');
    expect(await client.exited).to.deep.equal({ code: null, signal: 'SIGTERM' });
    await application.close();
  });

  it('SIGUSR1 opens no debugger', async () => {
    const application = await TestApplication.echo();
    const { client, entrance } = await startPair(`127.0.0.1:${application.address.port}`);
    client.child.kill('SIGUSR1');
    const socket = connect({ ...entrance, allowHalfOpen: true });
    socket.end('still serving');
    expect((await collect(socket)).toString()).to.equal('still serving');
    expect(client.messages).to.deep.equal([]);
    client.child.kill('SIGTERM');
    await client.exited;
    expect(client.messages.join()).not.to.match(/debugger/i);
    await application.close();
  });

  it('a port in use: one line with its code, exit status 1', async () => {
    const application = await TestApplication.echo();
    const taken = `127.0.0.1:${application.address.port}`;
    const server = qstunnel('server', '--accept', taken, '--connect', '127.0.0.1:1', ...folder.options('b'));
    expect(await server.exited).to.include({ code: 1 });
    expect(server.messages).to.deep.equal([
      `qstunnel: ERR_PROXY_ADDRESS_IN_USE: ${taken} is in use by another process or service`,
    ]);
    await application.close();
  });

  describe('--config, two services on each side', () => {
    let http: Server;
    let redis: ReturnType<typeof spawn> | undefined;

    before(async () => {
      http = createHttpServer((request, response) => {
        let length = 0;
        request.on('data', (chunk: Buffer) => {
          length += chunk.length;
        });
        request.on('end', () => response.end(`${request.method} ${request.url} ${length}`));
      });
      http.listen(0, '127.0.0.1');
      await once(http, 'listening');
    });
    after(async () => {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      if (redis !== undefined) {
        redis.kill();
        await once(redis, 'exit');
      }
    });

    async function startConfigured() {
      const httpPort = (http.address() as AddressInfo).port;
      const service = (name: string, mode: string, target: string) =>
        `  - {name: ${name}, mode: ${mode}, accept: '127.0.0.1:0', connect: '${target}'}\n`;
      const head = (site: 'a' | 'b', url: string) => {
        const [own, peer] = site === 'a' ? ['siteA', 'siteB'] : ['siteB', 'siteA'];
        return `defaults: {sae: ${own}, peer-sae: [${peer}], cert: ${site}.pem, key: ${site}.key, ca: ca.pem, kme: '${url}', keys-ahead: 32}\nservices:\n`;
      };
      const server = qstunnel(
        '--config',
        await folder.write(
          'server.yaml',
          head('b', kmes.urlB) +
            service('http', 'server', `127.0.0.1:${httpPort}`) +
            service('redis', 'server', `unix:${folder.file('redis.sock')}`),
        ),
      );
      const [httpTunnel, redisTunnel] = [await server.port('http'), await server.port('redis')];
      const client = qstunnel(
        '--config',
        await folder.write(
          'client.yaml',
          head('a', kmes.urlA) +
            service('http', 'client', `127.0.0.1:${httpTunnel}`) +
            service('redis', 'client', `127.0.0.1:${redisTunnel}`),
        ),
      );
      return { client, http: await client.port('http'), redis: await client.port('redis') };
    }

    it('an HTTP client (needs curl): many requests, a large body, connections kept alive', async function () {
      if (!hasCurl) this.skip();
      const { http: port, client } = await startConfigured();
      const url = `http://127.0.0.1:${port}`;
      const { stdout } = await run('curl', ['-s', `${url}/a`, `${url}/b`, '-d', 'x'.repeat(100_000), `${url}/c`]);
      expect(stdout).to.equal('POST /a 100000POST /b 100000POST /c 100000');
      expect(await client.next('connection')).to.include({ service: 'http' });
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, i) => (await fetch(`${url}/${i}`)).text()),
      );
      expect(answers).to.deep.equal(answers.map((_, i) => `GET /${i} 0`));
    });

    it('Redis (needs redis-server): its own client and its own load generator', async function () {
      if (!hasRedis) this.skip();
      redis = spawn('redis-server', ['--port', '0', '--unixsocket', folder.file('redis.sock'), '--save', ''], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await untilReady(redis);
      await access(folder.file('redis.sock'));
      const { redis: port } = await startConfigured();
      const cli = (...args: string[]) => run('redis-cli', ['-p', String(port), ...args]);
      expect((await cli('set', 'key', 'through the tunnel')).stdout.trim()).to.equal('OK');
      expect((await cli('get', 'key')).stdout.trim()).to.equal('through the tunnel');
      const load = ['-p', String(port), '-n', '5000', '-c', '20', '-P', '4', '-d', '200', '-t', 'set,get', '--csv'];
      const { stdout } = await run('redis-benchmark', load);
      expect(stdout).to.match(/"SET"/).and.match(/"GET"/);
    });
  });
});

function untilReady(redis: ReturnType<typeof spawn>): Promise<void> {
  return new Promise((resolve) => {
    let said = '';
    redis.stdout?.on('data', (chunk: Buffer) => {
      said += chunk;
      if (/ready to accept connections/i.test(said)) resolve();
    });
  });
}
