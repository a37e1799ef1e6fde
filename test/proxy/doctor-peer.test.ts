import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { expect } from 'chai';
import { examinePeer, type PeerExaminationOptions } from '../../proxy/doctor/examine-peer.ts';
import type { RequirementVerdict } from '../../proxy/doctor/peer-policy.ts';
import type { PeerReport } from '../../proxy/doctor/peer-report.ts';
import { startServices } from '../../proxy/services.ts';
import { hasNativeMlKem } from '../../tls-ext/index.ts';
import { PeerProcess, versionOf } from '../interop/peer-process.ts';
import { identityOf, makePki, proxyCredential, siteCredential, testPki } from './pki.ts';
import { CapturedLog, loadedService, type ServiceOverrides, TestApplication } from './sites.ts';

type Address = { host: string; port: number };

function examine(address: Address, options: Partial<PeerExaminationOptions> = {}): Promise<PeerReport> {
  return examinePeer({ address, require: 'qkd-or-pqc', nowMs: Date.now(), ...options });
}

function admissions(report: PeerReport): Record<string, RequirementVerdict['admitted']> {
  return Object.fromEntries(report.policy.map(({ require, admitted }) => [require, admitted]));
}

function accepted(answers: readonly { readonly name: string; readonly accepted: boolean | null }[]): string[] {
  return answers.filter((answer) => answer.accepted).map(({ name }) => name);
}

describe('doctor peer: our own proxy', () => {
  let application: TestApplication;
  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());

  async function withServer<T>(
    overrides: Partial<ServiceOverrides>,
    use: (address: Address) => Promise<T>,
  ): Promise<T> {
    const log = new CapturedLog();
    const service = await loadedService({ mode: 'server', connect: application.address, ...overrides });
    const proxy = await startServices([service], { log: log.log });
    try {
      return await use(proxy.tunnels[0]?.address as Address);
    } finally {
      await proxy.close();
    }
  }

  it('what it speaks, and that it wants a client certificate', async () => {
    const report = await withServer({}, (address) => examine(address));
    expect(report.problems).to.deep.equal([]);
    expect(report).to.include({ ok: true, chosenGroup: 'X25519MLKEM768', clientCertificate: 'required', trust: null });
    expect(report.summary).to.include('qkd_psk and a key channel');
    expect(report.versions).to.deep.equal({ 'TLS 1.3': true, 'TLS 1.2': false, 'TLS 1.1': false, 'TLS 1.0': false });
    expect(accepted(report.groups)).to.deep.equal(['X25519MLKEM768']);
    expect(accepted(report.cipherSuites)).to.have.members(['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256']);
    expect(report.qkdPsk).to.include({ spoken: true, answer: 'not_offered', demandsKey: false });
    expect(report.psk).to.include({ unknownIdentity: 'ignored', besideCertificate: 'ignored' });
    expect(report.alpn).to.deep.include({ name: 'qstunnel-key/1', answer: 'accepted' });
    expect(report.alpn).to.deep.include({ name: 'h2', answer: 'refused' });
    expect(report.certificates[0]).to.deep.include({ saeIds: ['siteB'], keyAlgorithm: 'ECDSA P-256' });
    expect(report.certificates[0]).to.include({ signatureAlgorithm: 'ECDSA with SHA-256', daysLeft: 364 });
    expect(admissions(report)).to.deep.equal({
      'qkd-and-pqc': 'with-key',
      qkd: 'with-key',
      pqc: 'yes',
      'qkd-or-pqc': 'yes',
    });
    expect(application.sockets.size, 'no application saw any of it').to.equal(0);
  });

  it('with our certificate: no objection, and its own is judged', async () => {
    const { trust } = await testPki();
    const identity = identityOf(await siteCredential('siteA'));
    await withServer({}, async (address) => {
      const good = await examine(address, { identity, trust, peerSaeIds: ['siteB'] });
      expect(good).to.include({ ok: true, clientCertificate: 'accepted' });
      expect(good.trust?.trusted).to.equal(true);
      const wrong = await examine(address, { trust, peerSaeIds: ['siteC'] });
      expect(wrong).to.include({ ok: false });
      expect(wrong.problems.join()).to.include('ERR_CERT_WRONG_SAE');
      const other = await examine(address, { trust: (await makePki('other CA')).trust });
      expect(other.trust?.why).to.include('ERR_CERT_UNKNOWN_CA');
      const stranger = identityOf(await proxyCredential((await makePki('other CA')).ca, { saeIds: ['siteA'] }));
      const refused = await examine(address, { identity: stranger });
      expect(refused).to.include({ ok: false, clientCertificate: 'refused: unknown_ca' });
    });
  });

  it('one that demands a key says so, and shows its certificate on the key channel', async () => {
    const policy = { require: 'qkd-and-pqc', unsafeAllowClassical: false, keyWaitMs: 5_000 } as const;
    const report = await withServer({ policy }, (address) => examine(address));
    expect(report.qkdPsk).to.include({ spoken: true, demandsKey: true });
    expect(accepted(report.groups)).to.deep.equal(['X25519MLKEM768']);
    expect(report.certificates[0]).to.deep.include({ saeIds: ['siteB'] });
    expect(new Set(Object.values(admissions(report)))).to.deep.equal(new Set(['with-key']));
  });

  it('one with a classical group', async () => {
    const report = await withServer({ groups: ['x25519'] }, (address) => examine(address));
    expect(accepted(report.groups)).to.deep.equal(['x25519']);
    expect(admissions(report)).to.include({ pqc: 'no', 'qkd-and-pqc': 'no', qkd: 'with-key' });
  });
});

describe('doctor peer: other TLS servers', () => {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  });

  async function listen(server: Server): Promise<Address> {
    servers.push(server);
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {}).once('close', () => sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  }

  async function nodeServer(options: TlsOptions): Promise<Address> {
    const { certPem, keyPem } = await siteCredential('siteB');
    const server = createTlsServer({ cert: certPem, key: keyPem, ...options }, (socket) =>
      socket.on('error', () => {}),
    );
    return listen(server.on('tlsClientError', () => {}));
  }

  it('node:tls: tickets that are taken, application protocols, older versions', async () => {
    const report = await examine(await nodeServer({ ALPNProtocols: ['h2'] }));
    expect(report.versions).to.include({ 'TLS 1.3': true, 'TLS 1.2': true, 'TLS 1.1': false });
    expect(report.qkdPsk.spoken).to.equal(false);
    expect(report.psk).to.include({ unknownIdentity: 'ignored', tickets: 2, resumption: true });
    expect(report.alpn.map(({ answer }) => answer)).to.deep.equal(['refused', 'accepted', 'refused']);
    expect(report.clientCertificate).to.equal('none');
    expect(accepted(report.groups)).to.include('x25519');
    expect(report.groups.find(({ name }) => name === 'X25519MLKEM768')?.accepted).to.equal(hasNativeMlKem);
    expect(admissions(report)).to.include(
      hasNativeMlKem ? { pqc: 'yes', qkd: 'no' } : { pqc: 'no', 'qkd-or-pqc': 'no' },
    );
  });

  it('node:tls of TLS 1.2 only: no qstunnel, and its certificate all the same', async () => {
    const report = await examine(await nodeServer({ maxVersion: 'TLSv1.2' }));
    expect(report.versions).to.include({ 'TLS 1.3': false, 'TLS 1.2': true });
    expect(report.problems).to.deep.equal(['no TLS 1.3, only TLS 1.2: qstunnel speaks TLS 1.3 alone']);
    expect(report.certificates[0]).to.deep.include({ saeIds: ['siteB'] });
  });

  it('HTTP without TLS', async () => {
    const report = await examine(await listen(createHttpServer((_request, response) => response.end())));
    expect(report).to.include({ ok: false, summary: 'no TLS' });
    expect(report.problems.join()).to.include('not TLS; it begins with "HTTP/1.1": compare host and port');
  });

  it('a server that is silent: ends by its limits', async () => {
    const report = await examine(await listen(createServer((socket) => socket.resume())), {
      limits: { attemptMs: 100, totalMs: 1_000 },
    });
    expect(report).to.include({ ok: false, summary: 'silent' });
    expect(report.problems).to.deep.include(
      'it accepts the connection and says nothing: is TLS spoken there? compare host and port',
    );
  });

  it('a server that hangs up', async () => {
    const report = await examine(await listen(createServer((socket) => socket.on('error', () => {}).end())));
    expect(report).to.include({ ok: false, summary: 'no TLS' });
    expect(report.problems).to.deep.equal([
      'it closes the connection without a word: is TLS spoken there? compare host and port',
    ]);
  });

  it('stopped from outside: no opinion', async () => {
    const stop = new AbortController();
    const silent = createServer((socket) => {
      socket.on('error', () => {}).resume();
      stop.abort();
    });
    const limits = { attemptMs: 3_600_000, totalMs: 3_600_000 };
    const report = await examine(await listen(silent), { signal: stop.signal, limits });
    expect(report).to.include({ ok: false, summary: 'stopped from outside; what is missing was not asked' });
    expect(report.problems).to.deep.equal([report.summary]);
    expect(report.policy).to.deep.equal([]);
  });

  it('nobody', async () => {
    const address = await listen(createServer());
    await new Promise((resolve) => servers.pop()?.close(resolve));
    const report = await examine(address);
    expect(report.summary).to.equal('no connection (ECONNREFUSED)');
    expect(new Set(Object.values(admissions(report)))).to.deep.equal(new Set(['no']));
  });
});

const openssl = versionOf('openssl', 'version');
(openssl === undefined ? describe.skip : describe)(`doctor peer: ${openssl ?? 'openssl is not installed'}`, () => {
  let folder: string;
  let peer: PeerProcess | undefined;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qstunnel-test-'));
    const { certPem, keyPem } = await siteCredential('siteB');
    writeFileSync(join(folder, 'b.pem'), certPem);
    writeFileSync(join(folder, 'b.key'), keyPem, { mode: 0o600 });
    writeFileSync(join(folder, 'ca.pem'), (await testPki()).ca.certPem);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => peer?.kill());

  async function serve(...args: string[]): Promise<Address> {
    peer = new PeerProcess('openssl', ['s_server', '-accept', '127.0.0.1:0', ...args]);
    const [, port] = await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
    return { host: '127.0.0.1', port: Number(port) };
  }
  const certificate = () => ['-cert', join(folder, 'b.pem'), '-key', join(folder, 'b.key')];

  it('s_server as it comes', async () => {
    const report = await examine(await serve(...certificate()));
    expect(report.versions).to.include({ 'TLS 1.3': true, 'TLS 1.2': true });
    expect(accepted(report.groups)).to.include.members(['x25519', 'secp256r1', 'secp384r1']);
    expect(accepted(report.cipherSuites).length).to.equal(3);
    expect(report.psk).to.include({ tickets: 2, ticketLifetimeSeconds: 7200, resumption: true });
    expect(report.alpn.every(({ answer }) => answer === 'ignored')).to.equal(true);
  });

  it('s_server that demands a client certificate', async () => {
    const report = await examine(await serve(...certificate(), '-Verify', '1', '-CAfile', join(folder, 'ca.pem')));
    expect(report.clientCertificate).to.equal('required');
    expect(report.psk.besideCertificate).to.equal('ignored');
  });

  it('s_server with a pre-shared key only', async () => {
    const report = await examine(await serve('-nocert', '-psk', 'ab'.repeat(16)));
    expect(report.versions['TLS 1.3']).to.equal(null);
    expect(report.problems.join()).to.include('it may know pre-shared keys only');
  });
});

const nginx = versionOf('nginx', '-V') ?? versionOf('/usr/sbin/nginx', '-V');
(nginx === undefined ? describe.skip : describe)(
  `doctor peer: nginx${nginx === undefined ? ' is not installed' : ''}`,
  () => {
    it('as a web server has it', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'qstunnel-test-'));
      const { certPem, keyPem } = await siteCredential('siteB');
      writeFileSync(join(folder, 'b.pem'), certPem);
      writeFileSync(join(folder, 'b.key'), keyPem, { mode: 0o600 });
      const address = { path: join(folder, 'nginx.sock') };
      writeFileSync(
        join(folder, 'nginx.conf'),
        `daemon off; master_process off; pid ${folder}/pid; error_log stderr notice;
       events {}
       http {
         access_log off;
         ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp;`).join(' ')}
         server {
           listen unix:${address.path} ssl http2;
           ssl_certificate ${folder}/b.pem; ssl_certificate_key ${folder}/b.key;
           ssl_protocols TLSv1.2 TLSv1.3;
         }
       }`,
      );
      const server = new PeerProcess('/usr/sbin/nginx', [
        '-p',
        folder,
        '-e',
        'stderr',
        '-c',
        join(folder, 'nginx.conf'),
      ]);
      try {
        await server.says(/start (?:cache|worker)|using the "epoll"|OS: Linux/);
        const report = await examinePeer({ address, require: 'qkd-or-pqc', nowMs: Date.now() });
        expect(report.versions, report.problems.join()).to.include({ 'TLS 1.3': true, 'TLS 1.2': true });
        expect(report.alpn.map(({ answer }) => answer)).to.deep.equal(['refused', 'accepted', 'accepted']);
        expect(report.psk.resumption).to.equal(true);
        expect(report.certificates[0]).to.deep.include({ saeIds: ['siteB'] });
      } finally {
        await server.kill();
        rmSync(folder, { recursive: true, force: true });
      }
    });
  },
);
