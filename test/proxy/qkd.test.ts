import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import type { PolicySettings, Requirement } from '../../proxy/policy.ts';
import { startServices } from '../../proxy/services.ts';
import type { Tunnel } from '../../proxy/tunnel/settings.ts';
import { SecretBytes } from '../../tls-ext/index.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { siteCredential } from './pki.ts';
import {
  CapturedLog,
  collect,
  loadedService,
  type SiteSettings,
  startSites,
  TestApplication,
  type TwoSites,
} from './sites.ts';
import { tlsPeer } from './tls-peer.ts';

/** Enough for one key in each direction. */
const ONE_KEY = 64;

const requiring = (require: Requirement, keyWaitMs = 5_000): { policy: PolicySettings } => ({
  policy: { require, unsafeAllowClassical: false, keyWaitMs },
});

describe('a tunnel with QKD keys', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites;

  beforeEach(async () => {
    application = await TestApplication.echo();
    kmes = await startKmes();
  });
  afterEach(async () => {
    await sites.close();
    await kmes.close();
    await application.close();
  });

  async function start(more: Partial<SiteSettings> = {}): Promise<void> {
    sites = await startSites({
      backend: application.address,
      ...more,
      client: { ...kmesAt(kmes.urlA), ...more.client },
      server: { ...kmesAt(kmes.urlB), ...more.server },
    });
  }

  /** One connection of an application, and both ends' lines about it. */
  async function use() {
    const [before, beforeServer] = [sites.clientLog, sites.serverLog].map((log) => log.all('connection').length);
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return {
      atClient: await sites.clientLog.next('connection', () => true, (before as number) + 1),
      atServer: await sites.serverLog.next('connection', () => true, (beforeServer as number) + 1),
    };
  }

  /** Uses connections until one has this mode, or this reason. */
  async function useUntil(outcome: string) {
    for (;;) {
      const lines = await use();
      if (lines.atClient.mode === outcome || lines.atClient.reason === outcome) return lines;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it('services of classical groups have a post-quantum key channel all the same', async () => {
    kmes.fill(4_096);
    const classical = { groups: ['x25519'], ...requiring('qkd') } as const;
    await start({ client: classical, server: classical });
    expect(await sites.clientLog.next('key-channel')).to.include({ state: 'up', group: 'X25519MLKEM768' });
    expect((await use()).atServer).to.include({ mode: 'qkd', group: 'x25519' });
  });

  it('refuses a key channel without ML-KEM', async () => {
    await start({ server: { groups: ['x25519'] } });
    const { failure } = await tlsPeer(sites.tunnelPort, {
      credential: await siteCredential('siteA'),
      engine: { alpnProtocols: ['qstunnel-key/1'], groups: [0x1d], qkdOffer: { offer: 'none', reason: 'policy' } },
    });
    expect(failure?.alert).to.equal(71, 'insufficient_security');
    const line = await sites.serverLog.next('connection', ({ code }) => code === 'ERR_PROXY_KEY_CHANNEL');
    expect(line.error).to.equal('a key channel over x25519');
  });

  it('uses a key that was agreed beforehand, and both ends know which', async () => {
    kmes.fill(4_096);
    await start();
    const ready = await sites.clientLog.next('keys-ready');
    expect(ready).to.include({ peer: 'siteB', sae: 'siteA', role: 'drawer' });
    const { atClient, atServer } = await use();
    expect(atClient).to.include({ mode: 'qkd-and-pqc', keyId: atServer.keyId, fingerprint: atServer.fingerprint });
    expect(atClient).not.to.have.property('reason');
    expect(atServer).to.include({ mode: 'qkd-and-pqc', peer: 'siteA' });
    expect(atClient.waitedMs).to.be.at.least(0);
    expect(atServer).not.to.have.property('waitedMs');
    expect(atClient.keyId).to.match(/^etsi004:siteA:/);
    expect(sites.clientLog.all('fallback')).to.deep.equal([]);
    expect(await sites.serverLog.next('keys-ready')).to.include({ peer: 'siteA', role: 'answerer' });
  });

  it('never uses a key twice, and falls back with pool_empty at both ends when there are no more', async () => {
    kmes.fill(3 * ONE_KEY);
    await start();
    await sites.clientLog.next('keys-ready');
    const keyIds = new Set<string | undefined>();
    let last = await use();
    for (; last.atClient.mode === 'qkd-and-pqc'; last = await use()) keyIds.add(last.atClient.keyId);
    expect(keyIds.size).to.be.within(1, 3);
    expect(last.atClient).to.include({ mode: 'pqc', reason: 'pool_empty' });
    expect(last.atServer).to.include({ mode: 'pqc', reason: 'pool_empty' });
    expect(sites.clientLog.all('fallback')[0]).to.include({ reason: 'pool_empty', level: 'warn' });
    kmes.fill(ONE_KEY);
    await useUntil('qkd-and-pqc');
  });

  it('require qkd: waits for a key and goes on as soon as it is there', async () => {
    await start({ client: requiring('qkd', 15_000) });
    const used = use();
    await sites.clientLog.next('key-channel', ({ state }) => state === 'up');
    kmes.fill(ONE_KEY);
    expect((await used).atClient.mode).to.equal('qkd-and-pqc');
  });

  it('require qkd: refuses with a reason when no key comes, and nothing is dialled', async () => {
    await start({ client: requiring('qkd', 30) });
    const socket = connect(sites.entrance);
    socket.write('secret');
    const [error] = await once(socket, 'error');
    expect(error.code).to.equal('ECONNRESET');
    const line = await sites.clientLog.next('connection');
    expect(line).to.include({ mode: 'refused', code: 'ERR_PROXY_POLICY' });
    expect(line.error).to.match(/the service requires qkd.*waited 30 ms for a key/);
    expect(sites.serverLog.all('connection')).to.deep.equal([]);
  });

  it('a server that requires qkd refuses a client that has no key manager; both ends say why', async () => {
    const server = { ...kmesAt(kmes.urlB), ...requiring('qkd-and-pqc') };
    sites = await startSites({ backend: application.address, server });
    const socket = connect(sites.entrance);
    socket.write('secret');
    await once(socket, 'error');
    const atServer = await sites.serverLog.next('connection');
    expect(atServer).to.include({
      mode: 'refused',
      alert: 'insufficient_security',
      reason: 'policy',
      reasonUnauthenticated: true,
    });
    const atClient = await sites.clientLog.next('connection');
    expect(atClient).to.include({ mode: 'refused', alert: 'insufficient_security', reason: 'policy' });
    expect(application.sockets.size).to.equal(0);
  });

  it('what the server requires holds at the client as well, once the key channel has said it', async () => {
    await start({ server: requiring('qkd'), client: requiring('qkd-or-pqc', 20) });
    for (;;) {
      const before = sites.clientLog.all('connection').length;
      const socket = connect(sites.entrance);
      await once(socket, 'error');
      const { code, error } = await sites.clientLog.next('connection', () => true, before + 1);
      if (code === 'ERR_PROXY_POLICY') {
        expect(error).to.match(/requires qkd.*waited 20 ms/);
        break;
      }
      expect(code).to.equal('ERR_TLS_PEER_ALERT');
    }
  });

  it('a wrong binder on a copied reference: an alert, counted, and the key is still there for its owner', async () => {
    kmes.fill(ONE_KEY);
    await start();
    await sites.clientLog.next('keys-ready');
    const [{ ksid, index }] = kmes.answered as [{ ksid: Uint8Array; index: number }];
    const outcome = await tlsPeer(sites.tunnelPort, {
      engine: {
        qkdOffer: { offer: 'key' },
        psk: {
          kind: 'qkd',
          reference: { api: 'etsi004', drawer: 'siteA', ksid, index, slice: 0 },
          context: { purpose: 'handshake', drawer: 'siteA', answerer: 'siteB' },
          secret: new SecretBytes(randomBytes(32)),
        },
      },
    });
    expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT' });
    expect(await sites.serverLog.next('bad-binder')).to.include({ count: 1 });
    const line = await sites.serverLog.next('connection');
    expect(line).to.include({ code: 'ERR_TLS_BAD_BINDER', alert: 'illegal_parameter' });
    const { atClient } = await use();
    expect(atClient.mode).to.equal('qkd-and-pqc');
    expect(atClient.keyId).to.contain(`:${index}:0`);
  });

  it('a key that a key channel offers is not looked up, and not used', async () => {
    kmes.fill(ONE_KEY);
    await start();
    await sites.clientLog.next('keys-ready');
    const [{ ksid, index }] = kmes.answered as [{ ksid: Uint8Array; index: number }];
    const outcome = await tlsPeer(sites.tunnelPort, {
      credential: await siteCredential('siteA'),
      established: (connection) => connection.close(),
      engine: {
        alpnProtocols: ['qstunnel-key/1'],
        qkdOffer: { offer: 'key' },
        psk: {
          kind: 'qkd',
          reference: { api: 'etsi004', drawer: 'siteA', ksid, index, slice: 0 },
          context: { purpose: 'handshake', drawer: 'siteA', answerer: 'siteB' },
          // Another one than is there: whoever looked would find a wrong binder.
          secret: new SecretBytes(randomBytes(32)),
        },
      },
    });
    expect(outcome.summary).to.include({ alpnProtocol: 'qstunnel-key/1', psk: 'none', qkdResult: 'policy' });
    expect((await use()).atClient.mode).to.equal('qkd-and-pqc');
  });

  it('a reference that names ourselves as drawer is never looked up', async () => {
    await start();
    const outcome = await tlsPeer(sites.tunnelPort, {
      credential: await siteCredential('siteA'),
      request: Buffer.from('x'),
      engine: {
        qkdOffer: { offer: 'key' },
        psk: {
          kind: 'qkd',
          reference: { api: 'etsi004', drawer: 'siteB', ksid: randomBytes(16), index: 0, slice: 0 },
          context: { purpose: 'handshake', drawer: 'siteB', answerer: 'siteA' },
          secret: new SecretBytes(randomBytes(32)),
        },
      },
    });
    expect(outcome.summary).to.include({ psk: 'none', qkdResult: 'unavailable' });
  });

  it('different keys at the two ends: found before use, named to both operators, and mended with a fresh stream', async function () {
    this.timeout(30_000);
    kmes.fillUnequal(ONE_KEY);
    await start();
    const atClient = await sites.clientLog.next('key-mismatch');
    const atServer = await sites.serverLog.next('key-mismatch');
    const [nameA, nameB] = [kmes.urlA, kmes.urlB].map((url) => url.replace('etsi004://', ''));
    expect(atClient).to.include({ level: 'error', kme: nameA, peerKme: nameB, peer: 'siteB' });
    expect(atServer).to.include({ level: 'error', kme: nameB, peerKme: nameA, peer: 'siteA' });
    const { atClient: fallback } = await use();
    expect(fallback).to.include({ mode: 'pqc', reason: 'key_mismatch' });
    kmes.fill(4 * ONE_KEY);
    await useUntil('qkd-and-pqc');
  });

  it("a simulator's keys off loopback are not used without unsafe-allow-simulated", async () => {
    kmes.fill(4 * ONE_KEY);
    const tunnel = await startServices(
      [await loadedService({ mode: 'server', connect: application.address, ...kmesAt(kmes.urlB) })],
      { log: new CapturedLog().log },
    );
    const [{ address }] = tunnel.tunnels as [Tunnel];
    const { port } = address as { port: number };
    // Linux takes 0.0.0.0 for this machine, but by its name it could be any.
    await start({ client: { connect: { host: '0.0.0.0', port } } });
    await sites.clientLog.next('keys-ready');
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('x');
    await collect(socket);
    expect(await sites.clientLog.next('connection')).to.include({ mode: 'pqc', reason: 'policy' });
    expect(await sites.clientLog.next('keys-unavailable')).to.include({ code: 'ERR_PROXY_SIMULATED_KEYS' });
    await tunnel.close();
  });

  describe('restarts', () => {
    it('of the server proxy: its keys are given up, and new ones agreed', async function () {
      this.timeout(30_000);
      kmes.fill(4_096);
      await start();
      await sites.clientLog.next('keys-ready');
      await sites.server.close();
      const log = new CapturedLog();
      const server = await startServices(
        [
          await loadedService({
            mode: 'server',
            accept: sites.tunnelPort,
            connect: application.address,
            ...kmesAt(kmes.urlB),
          }),
        ],
        { log: log.log },
      );
      await log.next('keys-ready');
      await sites.clientLog.next('key-channel', ({ state }) => state === 'up', 2);
      for (let i = 0; ; i++) {
        const before = log.all('connection').length;
        const socket = connect({ ...sites.entrance, allowHalfOpen: true });
        socket.end('x');
        await collect(socket);
        const { mode } = await log.next('connection', () => true, before + 1);
        if (mode === 'qkd-and-pqc') break;
        expect(i).to.be.lessThan(500);
      }
      await server.close();
    });

    it('of the server proxy: what was agreed with the old process is never offered to the new one', async function () {
      this.timeout(30_000);
      kmes.fill(4_096);
      await start();
      await sites.clientLog.next('keys-ready');
      const old = (await use()).atClient.keyId?.split(':')[2];
      await sites.server.close();
      const log = new CapturedLog();
      const again = { mode: 'server', accept: sites.tunnelPort, connect: application.address } as const;
      const server = await startServices([await loadedService({ ...again, ...kmesAt(kmes.urlB) })], { log: log.log });
      // From here on the client knows of the new process, and holds nothing of the old one.
      await log.next('keys-ready');
      const from = sites.clientLog.all('connection').length;
      for (let i = 0; i < 12; i++) {
        const socket = connect({ ...sites.entrance, allowHalfOpen: true });
        socket.end('x');
        await collect(socket);
        await sites.clientLog.next('connection', () => true, from + i + 1);
      }
      const lines = sites.clientLog.all('connection').slice(from);
      expect(lines.filter(({ keyId }) => keyId !== undefined)).not.to.have.length(0);
      expect(lines.filter(({ keyId }) => keyId?.split(':')[2] === old)).to.deep.equal([]);
      expect(lines.filter(({ reason }) => reason === 'reference_unavailable')).to.deep.equal([]);
      await server.close();
    });

    it('of the client proxy: a fresh stream, no key of the old one', async () => {
      kmes.fill(4_096);
      await start();
      await sites.clientLog.next('keys-ready');
      const first = await use();
      await sites.client.close();
      const log = new CapturedLog();
      const client = await startServices(
        [await loadedService({ mode: 'client', connect: sites.tunnelPort, ...kmesAt(kmes.urlA) })],
        { log: log.log },
      );
      await log.next('keys-ready');
      const socket = connect({ ...((client.tunnels as [Tunnel])[0].address as { port: number }), allowHalfOpen: true });
      socket.end('x');
      await collect(socket);
      const line = await log.next('connection');
      expect(line.mode).to.equal('qkd-and-pqc');
      expect(line.keyId?.split(':')[2]).not.to.equal(first.atClient.keyId?.split(':')[2]);
      await client.close();
    });
  });

  describe('a key manager that', () => {
    let broken: Server;
    const connections = new Set<Socket>();

    async function brokenKme(behave: (socket: Socket) => void): Promise<string> {
      broken = createServer((socket) => {
        connections.add(socket);
        socket.on('error', () => {});
        socket.once('close', () => connections.delete(socket));
        behave(socket);
      });
      broken.listen(0, '127.0.0.1');
      await once(broken, 'listening');
      return `etsi004://127.0.0.1:${(broken.address() as AddressInfo).port}`;
    }

    afterEach(async () => {
      for (const socket of connections) socket.destroy();
      await new Promise((resolve) => broken.close(resolve));
    });

    const behaviours: readonly [string, (socket: Socket) => void][] = [
      ['refuses', (socket) => socket.resetAndDestroy()],
      ['closes half-way', (socket) => socket.once('data', () => socket.end(Uint8Array.of(22, 3, 3, 0, 80)))],
      ['answers garbage', (socket) => socket.once('data', () => socket.end(Buffer.alloc(200, 0x5a)))],
    ];
    for (const [name, behave] of behaviours) {
      it(`${name}, at the client: connections fall back with kme_unreachable, and none waits`, async () => {
        const url = await brokenKme(behave);
        await start({ client: kmesAt(url) });
        const problem = await sites.clientLog.next('kme', ({ state }) => state === 'unreachable');
        expect(problem.code).to.match(/^ERR_KDI_/);
        const { atClient, atServer } = await use();
        expect(atClient).to.include({ mode: 'pqc', reason: 'kme_unreachable' });
        expect(atServer).to.include({ mode: 'pqc', reason: 'kme_unreachable' });
      });

      it(`${name}, at the server: connections fall back with peer_kme_unreachable`, async () => {
        const url = await brokenKme(behave);
        kmes.fill(ONE_KEY);
        await start({ server: kmesAt(url) });
        await sites.serverLog.next('kme', ({ state }) => state === 'unreachable');
        const { atServer } = await useUntil('peer_kme_unreachable');
        expect(atServer).to.include({ mode: 'pqc', reason: 'peer_kme_unreachable' });
      });
    }

    it('hangs: connections do not wait for it', async () => {
      const url = await brokenKme((socket) => socket.resume());
      await start({ client: kmesAt(url) });
      const { atServer } = await useUntil('stream_opening');
      expect(atServer).to.include({ mode: 'pqc', reason: 'stream_opening' });
    });
  });
});
