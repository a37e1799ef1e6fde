import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { expect } from 'chai';
import { type Credential, issueLeaf } from '../../certs/index.ts';
import { startServices } from '../../proxy/services.ts';
import { DEFAULT_LIMITS } from '../../proxy/tunnel/settings.ts';
import { type Alert, alertName, SecretBytes } from '../../tls-ext/index.ts';
import { identityOf, makePki, proxyCredential, siteCredential, testPki } from './pki.ts';
import { CapturedLog, collect, loadedService, startSites, TestApplication, type TwoSites } from './sites.ts';
import { tlsPeer } from './tls-peer.ts';

const DAY_MS = 86_400_000;

describe('what does not belong on the tunnel port', () => {
  let application: TestApplication;
  let sites: TwoSites;
  /** A connection that was there before, and must not notice anything. */
  let bystander: Socket;

  before(async () => {
    application = await TestApplication.echo();
    sites = await startSites({ backend: application.address });
  });
  after(async () => {
    await sites.close();
    await application.close();
  });
  beforeEach(async () => {
    bystander = connect(sites.entrance);
    bystander.write('before');
    await once(bystander, 'data');
  });
  afterEach(async () => {
    bystander.write('after');
    const [echoed] = await once(bystander, 'data');
    expect(echoed.toString()).to.equal('after');
    bystander.end();
    await once(bystander, 'close');
  });

  /** The log line of the connection that this socket made. */
  async function lineOf(socket: Socket) {
    const local = `127.0.0.1:${socket.localPort}`;
    return sites.serverLog.next('connection', (line) => line.clientAddress === local);
  }

  async function sendRaw(bytes: Uint8Array | string) {
    const socket = connect({ ...sites.tunnelPort, allowHalfOpen: true });
    await once(socket, 'connect');
    const line = lineOf(socket);
    const answer = collect(socket);
    socket.write(bytes);
    const alert = alertOf(await answer);
    socket.end();
    return { alert, line: await line };
  }

  it('garbage: an alert, and the connection ends', async () => {
    const { alert, line } = await sendRaw(Uint8Array.from({ length: 512 }, (_, i) => 0xa5 ^ i));
    expect(line.code).to.match(/^ERR_TLS_/);
    expect(alert).to.equal(line.alert);
  });

  it('plaintext HTTP', async () => {
    const { alert, line } = await sendRaw('GET / HTTP/1.1\r\nHost: example.test\r\n\r\n');
    expect(line.code).to.match(/^ERR_TLS_(UNEXPECTED_MESSAGE|PROTOCOL_VERSION|DECODE)$/);
    expect(alert).to.equal(line.alert);
  });

  it('an oversized record: record_overflow', async () => {
    const { alert, line } = await sendRaw(Uint8Array.of(22, 3, 1, 0xff, 0xff, ...new Uint8Array(64)));
    expect(line).to.include({ code: 'ERR_TLS_RECORD_OVERFLOW', alert: 'record_overflow' });
    expect(alert).to.equal('record_overflow');
  });

  it('a handshake message longer than any may be', async () => {
    const { alert, line } = await sendRaw(Uint8Array.of(22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff));
    expect(line.code).to.match(/^ERR_TLS_/);
    expect(alert).to.equal(line.alert);
  });

  it('a truncated record: the end of the transport is no end of TLS', async () => {
    const socket = connect({ ...sites.tunnelPort, allowHalfOpen: true });
    await once(socket, 'connect');
    const line = lineOf(socket);
    socket.end(Uint8Array.of(22, 3, 1, 0x01, 0x00, 1, 0));
    socket.resume();
    expect(await line)
      .to.include({ code: 'ERR_TLS_TRUNCATED', error: 'the connection ended without close_notify' })
      .and.not.have.property('alert');
  });

  it('a client of TLS 1.2: protocol_version', async () => {
    const socket = tlsConnect({ ...sites.tunnelPort, maxVersion: 'TLSv1.2', rejectUnauthorized: false });
    const [error] = await once(socket, 'error');
    expect(error.code).to.equal('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    const line = await sites.serverLog.next('connection', ({ code }) => code === 'ERR_TLS_PROTOCOL_VERSION');
    expect(line.alert).to.equal('protocol_version');
  });

  describe('certificates that are not good enough', () => {
    const cases: readonly [string, () => Promise<Credential | undefined>, string, string][] = [
      ['none', async () => undefined, 'ERR_TLS_CERTIFICATE_REQUIRED', 'certificate_required'],
      ['expired', async () => expiredCredential(), 'ERR_CERT_EXPIRED', 'certificate_expired'],
      [
        'of another CA',
        async () => proxyCredential((await makePki('other CA')).ca, { saeIds: ['siteA'] }),
        'ERR_CERT_UNKNOWN_CA',
        'unknown_ca',
      ],
      ['of another SAE', () => siteCredential('siteX'), 'ERR_CERT_WRONG_SAE', 'bad_certificate'],
      [
        'for another purpose',
        async () =>
          issueLeaf((await testPki()).ca, 'kme', { commonName: 'kme', nowMs: Date.now(), dnsNames: ['kme.test'] }),
        'ERR_CERT_WRONG_SAE',
        'bad_certificate',
      ],
    ];
    for (const [name, makeCredential, code, alert] of cases) {
      it(`${name}: ${alert}, and no byte reaches the application`, async () => {
        const credential = await makeCredential();
        const seenBefore = sites.serverLog.all('connection').length;
        const before = application.sockets.size;
        const outcome = await tlsPeer(sites.tunnelPort, {
          ...(credential === undefined ? {} : { credential }),
          request: Buffer.from('secret'),
        });
        expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT' });
        expect(alertName(outcome.failure?.alert ?? 0)).to.equal(alert);
        const line = await sites.serverLog.next('connection', () => true, seenBefore + 1);
        expect(line).to.include({ code, alert }).and.not.have.property('mode');
        expect(application.sockets.size).to.equal(before);
      });
    }
  });

  it('a stranger with a key of its own making: falls back or is refused, as unknown keys are', async () => {
    const outcome = await tlsPeer(sites.tunnelPort, {
      credential: await siteCredential('siteA'),
      request: Buffer.from('hello'),
      engine: {
        qkdOffer: { offer: 'key' },
        psk: {
          kind: 'qkd',
          reference: { api: 'etsi004', drawer: 'siteA', ksid: randomBytes(16), index: 0, slice: 0 },
          context: { purpose: 'handshake', drawer: 'siteA', answerer: 'siteB' },
          secret: new SecretBytes(randomBytes(32)),
        },
      },
    });
    expect(outcome.summary).to.include({ psk: 'none', qkdResult: 'policy' });
    expect(outcome.received.toString()).to.equal('hello');
  });

  it('a key channel at a service without a key manager: closed, never forwarded', async () => {
    const before = application.sockets.size;
    const outcome = await tlsPeer(sites.tunnelPort, {
      credential: await siteCredential('siteA'),
      engine: { alpnProtocols: ['qstunnel-key/1'] },
      request: Buffer.from('not for the application'),
    });
    expect(outcome.received.length).to.equal(0);
    expect(application.sockets.size).to.equal(before);
    const line = await sites.serverLog.next('connection', ({ code }) => code === 'ERR_PROXY_KEY_CHANNEL');
    expect(line).to.include({ peer: 'siteA' });
  });
});

describe('a client proxy whose server is not the right one', () => {
  let application: TestApplication;
  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());

  const cases: readonly [string, () => Promise<Credential>, string, string][] = [
    ['expired', () => expiredCredential('siteB'), 'ERR_CERT_EXPIRED', 'certificate_expired'],
    [
      'of another CA',
      async () => proxyCredential((await makePki('other CA')).ca, { saeIds: ['siteB'] }),
      'ERR_CERT_UNKNOWN_CA',
      'unknown_ca',
    ],
    ['of another SAE', () => siteCredential('siteX'), 'ERR_CERT_WRONG_SAE', 'bad_certificate'],
  ];
  for (const [name, makeCredential, code, alert] of cases) {
    it(`certificate ${name}: ${alert}, and the application sees a reset`, async () => {
      const sites = await startSites({
        backend: application.address,
        serverService: { identity: identityOf(await makeCredential()) },
      });
      const socket = connect(sites.entrance);
      socket.write('secret');
      const [error] = await once(socket, 'error');
      expect(error.code).to.equal('ECONNRESET');
      expect(await sites.clientLog.next('connection')).to.include({ code, alert });
      expect(await sites.serverLog.next('connection')).to.include({ code: 'ERR_TLS_PEER_ALERT', alert });
      expect(application.sockets.size).to.equal(0);
      await sites.close();
    });
  }

  it('verify-host: a certificate that does not name the host is refused', async () => {
    const sites = await startSites({ backend: application.address, client: { verifyHost: 'siteb.test' } });
    const socket = connect(sites.entrance);
    await once(socket, 'error');
    const line = await sites.clientLog.next('connection');
    expect(line).to.include({ code: 'ERR_CERT_WRONG_NAME', alert: 'bad_certificate' });
    await sites.close();
  });

  it('not there at all: the connection is refused with a clear error', async () => {
    const sites = await startSites({ backend: application.address });
    await sites.server.close();
    const socket = connect(sites.entrance);
    await once(socket, 'error');
    const line = await sites.clientLog.next('connection');
    expect(line.code).to.equal('ERR_PROXY_PEER_CONNECT');
    expect(line.error).to.match(/ECONNREFUSED/);
    await sites.client.close();
  });
});

describe('limits and addresses', () => {
  it('a port in use: ERR_PROXY_ADDRESS_IN_USE, and nothing is left running', async () => {
    const application = await TestApplication.echo();
    const { log } = new CapturedLog();
    const good = await loadedService({ mode: 'server', connect: application.address });
    const bad = await loadedService({ mode: 'server', connect: application.address, accept: application.address });
    const error = await startServices([good, bad], { log }).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).to.include({ code: 'ERR_PROXY_ADDRESS_IN_USE' });
    expect(error.message).to.equal(`127.0.0.1:${application.address.port} is in use by another process or service`);
    await application.close();
  });

  it('a unix socket in a folder that is not there: says that it may be that', async () => {
    const application = await TestApplication.echo();
    const path = '/nowhere/socket';
    const service = await loadedService({ mode: 'server', connect: application.address, accept: { path } });
    const error = await startServices([service], { log: new CapturedLog().log }).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error).to.include({
      code: 'ERR_PROXY_LISTEN',
      message: `no permission to listen on unix:${path}, or there is no such folder`,
    });
    await application.close();
  });

  it('a client that sends a byte at a time: ends at the deadline of the handshake', async () => {
    const application = await TestApplication.echo();
    // Of a server of its own: honest handshakes may take longer than this.
    const limits = { ...DEFAULT_LIMITS, handshakeTimeoutMs: 400 };
    const sites = await startSites({ backend: application.address, server: { limits } });
    const socket = quietly({ ...sites.tunnelPort, allowHalfOpen: true });
    await once(socket, 'connect');
    const hello = Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, ...randomBytes(32));
    let at = 0;
    const timer = setInterval(() => socket.write(Uint8Array.of(hello[at++ % hello.length] as number)), 20);
    socket.resume();
    await once(socket, 'end');
    clearInterval(timer);
    socket.destroy();
    expect(await sites.serverLog.next('connection')).to.include({ code: 'ERR_PROXY_HANDSHAKE_TIMEOUT' });
    await sites.close();
    await application.close();
  });

  it('closes what is above max-connections, and serves again when there is room', async () => {
    const application = await TestApplication.echo();
    const limits = { ...DEFAULT_LIMITS, maxConnections: 2 };
    const sites = await startSites({ backend: application.address, client: { limits } });
    const [first, second] = [quietly(sites.entrance), quietly(sites.entrance)];
    for (const socket of [first, second]) {
      socket.write('x');
      await once(socket, 'data');
    }
    const third = quietly(sites.entrance);
    await new Promise((resolve) => third.once('close', resolve));
    expect(await sites.clientLog.next('not-accepted')).to.include({ code: 'ERR_PROXY_TOO_MANY_CONNECTIONS' });
    first.end();
    await sites.clientLog.next('connection');
    const fourth = quietly(sites.entrance);
    fourth.write('y');
    await once(fourth, 'data');
    await sites.close();
    await application.close();
  });

  it('closes what is above max-pending-handshakes', async () => {
    const application = await TestApplication.echo();
    const limits = { ...DEFAULT_LIMITS, maxPendingHandshakes: 1 };
    const sites = await startSites({ backend: application.address, server: { limits } });
    const pending = quietly(sites.tunnelPort);
    await once(pending, 'connect');
    const refused = quietly(sites.tunnelPort);
    await new Promise((resolve) => refused.once('close', resolve));
    expect(await sites.serverLog.next('not-accepted')).to.include({ code: 'ERR_PROXY_TOO_MANY_HANDSHAKES' });
    await sites.close();
    await application.close();
  });
});

/** A connection whose reset ends no test by itself. */
function quietly(address: NetConnectOpts): Socket {
  const socket = connect(address);
  socket.on('error', () => {});
  return socket;
}

function expiredCredential(sae = 'siteA'): Promise<Credential> {
  return testPki().then(({ ca }) =>
    proxyCredential(ca, { saeIds: [sae], notBeforeMs: Date.now() - 3 * DAY_MS, validityDays: 1 }),
  );
}

/** The name of the plaintext alert that ends an answer; `undefined` if there is none. */
function alertOf(answer: Uint8Array): string | undefined {
  const record = answer.subarray(-7);
  return record.length === 7 && record[0] === 21 && record[5] === 2 ? alertName(record[6] as Alert) : undefined;
}
