/** Tickets between two proxies: connections that share the QKD key of another one, within its budget. */
import { connect } from 'node:net';
import { expect } from 'chai';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { startServices } from '../../proxy/services.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { CapturedLog, collect, loadedService, startSites, TestApplication, type TwoSites } from './sites.ts';

const KEY = 64;
const TICKETS = { tickets: 2 };

describe('tickets', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites;
  let uses = 0;

  beforeEach(async () => {
    application = await TestApplication.echo();
    kmes = await startKmes();
    uses = 0;
  });
  afterEach(async () => {
    await sites.close();
    await kmes.close();
    await application.close();
  });

  async function start(client: Partial<ServiceConfig> = TICKETS, server: Partial<ServiceConfig> = TICKETS) {
    sites = await startSites({
      backend: application.address,
      client: { ...kmesAt(kmes.urlA), ...client },
      server: { ...kmesAt(kmes.urlB), ...server },
    });
  }

  /** One connection of an application, and both ends' lines about it. Tickets come before the echo. */
  async function use(serverLog = sites.serverLog, serverUses = uses + 1) {
    uses++;
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return {
      atClient: await sites.clientLog.next('connection', () => true, uses),
      atServer: await serverLog.next('connection', () => true, serverUses),
    };
  }

  /** A first connection with a key of its own. */
  async function useKey() {
    kmes.fill(KEY);
    await sites.clientLog.next('keys-ready');
    const first = await use();
    expect(first.atClient).to.include({ mode: 'qkd-and-pqc' }).and.not.have.property('resumed');
    return first.atClient;
  }

  it('let connections descend from one QKD key, which both ends still show, with its age', async () => {
    await start();
    const first = await useKey();
    const fingerprints = new Set([first.fingerprint]);
    for (let i = 0; i < 4; i++) {
      const { atClient, atServer } = await use();
      for (const line of [atClient, atServer]) {
        expect(line).to.include({ mode: 'qkd-and-pqc', resumed: true, keyId: first.keyId, auth: 'ECDSA P-256' });
        expect(line.keyAgeMs).to.be.at.least(0);
        expect(line).not.to.have.any.keys('reason', 'code');
      }
      expect(atClient).to.include({ peer: 'siteB', fingerprint: atServer.fingerprint });
      expect(atServer).to.include({ peer: 'siteA' });
      fingerprints.add(atClient.fingerprint);
    }
    expect(fingerprints.size, 'each with keys of its own').to.equal(5);
  });

  it('are not used beyond the connections that one key is for', async () => {
    const rekeyAfter = { timeMs: 3_600_000, connections: 2 };
    await start({ ...TICKETS, rekeyAfter });
    const { keyId } = await useKey();
    expect((await use()).atClient).to.include({ resumed: true, keyId });
    const third = await use();
    expect(third.atClient).to.include({ mode: 'pqc', reason: 'pool_empty' }).and.not.have.property('resumed');
  });

  it('are refused by a server whose own budget is narrower: the connection falls back and says so', async () => {
    await start(TICKETS, { ...TICKETS, rekeyAfter: { timeMs: 3_600_000, connections: 1 } });
    await useKey();
    const { atClient, atServer } = await use();
    expect(atClient).to.include({ mode: 'pqc', reason: 'ticket_refused' });
    expect(atServer).to.include({ mode: 'pqc', reason: 'ticket_refused' });
  });

  it('are off unless both sides want them', async () => {
    for (const [client, server] of [
      [{ tickets: 0 }, TICKETS],
      [TICKETS, { tickets: 0 }],
    ]) {
      await start(client, server);
      uses = 0;
      await useKey();
      expect((await use()).atClient).to.include({ mode: 'pqc', reason: 'pool_empty' });
      await sites.close();
    }
  });

  it('of an epoch before a rekey are void, those after it descend from the new key', async () => {
    await start({ ...TICKETS, rekeyAfter: { timeMs: 0, bytes: 22_000, connections: 2 } });
    kmes.fill(2 * KEY);
    while (kmes.answered.length < 2) await new Promise((resolve) => setImmediate(resolve));
    await sites.clientLog.next('keys-ready');
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    const answer = collect(socket);
    socket.write('x'.repeat(10_000));
    const { keyId } = await sites.serverLog.next('rekeyed');
    socket.end('y');
    expect(await answer).to.have.length(10_001);
    expect(await sites.clientLog.next('connection')).to.include({ keyId, rekeys: 1 });
    await sites.serverLog.next('connection');
    uses = 1;
    expect((await use()).atClient).to.include({ resumed: true, keyId });
    // The new key's connections are used up, and no ticket of the old one is left to try.
    expect((await use()).atClient).to.include({ mode: 'pqc', reason: 'pool_empty' });
  });

  /** The server's process ends, and another one takes its place at the same address. */
  async function restartServer() {
    await sites.server.close();
    const log = new CapturedLog();
    const config = { accept: sites.tunnelPort, connect: application.address, ...kmesAt(kmes.urlB), ...TICKETS };
    const service = await loadedService({ mode: 'server', ...config });
    const server = await startServices([service], { log: log.log });
    const { close } = sites;
    sites = {
      ...sites,
      close: async () => {
        await close();
        await server.close();
      },
    };
    return log;
  }

  it('of a server that was started anew are refused, and connections go on without', async () => {
    await start();
    await useKey();
    const log = await restartServer();
    const { atClient, atServer } = await use(log, 1);
    expect(atClient).to.include({ mode: 'pqc', reason: 'ticket_refused' });
    expect(atServer).to.include({ mode: 'pqc', reason: 'ticket_refused' });
  });

  it('… or with a key where one is required: one more try', async () => {
    const policy = { require: 'qkd', unsafeAllowClassical: false, keyWaitMs: 15_000 } as const;
    await start({ ...TICKETS, policy });
    const { keyId } = await useKey();
    const log = await restartServer();
    kmes.fill(4 * KEY);
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    const line = await log.next('connection', ({ mode }) => mode === 'qkd-and-pqc');
    expect(line).not.to.have.property('resumed');
    expect(line.keyId).not.to.equal(keyId);
    expect(await sites.clientLog.next('connection', () => true, 2)).to.include({ mode: 'qkd-and-pqc' });
  });
});
