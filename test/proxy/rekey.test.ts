/** Rekeying of live connections, between two proxies with key managers that the test fills. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { DEFAULT_LIMITS } from '../../proxy/tunnel/settings.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { collect, startSites, TestApplication, type TwoSites } from './sites.ts';

const KEY = 64;
const KIB = 1_024;

describe('rekeying', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    application = await TestApplication.echo();
    kmes = await startKmes();
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await sites.close();
    await kmes.close();
    await application.close();
  });

  async function start(client: Partial<ServiceConfig> = {}, server: Partial<ServiceConfig> = {}) {
    sites = await startSites({
      backend: application.address,
      client: { ...kmesAt(kmes.urlA), ...client },
      server: { ...kmesAt(kmes.urlB), ...server },
    });
  }

  /** An application's connection that stays open. */
  function open(): { socket: Socket; say(text: string): Promise<string> } {
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    sockets.push(socket);
    socket.on('error', () => {});
    const say = async (text: string) => {
      socket.write(text);
      let answer = '';
      while (answer.length < text.length) answer += String((await once(socket, 'data'))[0]);
      return answer;
    };
    return { socket, say };
  }

  /** What both ends log of the connections that have ended. */
  async function ended() {
    return { atClient: await sites.clientLog.next('connection'), atServer: await sites.serverLog.next('connection') };
  }

  it('raises a connection that fell back to qkd-and-pqc as soon as there is a key, and both ends know it', async () => {
    await start();
    await sites.clientLog.next('key-channel');
    const { socket, say } = open();
    expect(await say('before')).to.equal('before');
    expect(await sites.clientLog.next('established')).to.include({ mode: 'pqc' });
    kmes.fill(KEY);
    const rekeyed = await sites.clientLog.next('rekeyed');
    expect(rekeyed).to.include({ role: 'client', epoch: 1, status: 'used', mode: 'qkd-and-pqc', peer: 'siteB' });
    expect(await sites.serverLog.next('rekeyed')).to.include({
      ...{ role: 'server', epoch: 1, status: 'used', mode: 'qkd-and-pqc', peer: 'siteA' },
      keyId: rekeyed.keyId,
    });
    expect(await say('after')).to.equal('after');
    socket.end();
    const { atClient, atServer } = await ended();
    for (const line of [atClient, atServer]) {
      expect(line).to.include({ mode: 'qkd-and-pqc', keyId: rekeyed.keyId, rekeys: 1 });
      expect(line).not.to.have.any.keys('reason', 'code');
    }
    expect(atClient.fingerprint, 'bound to the handshake').to.equal(atServer.fingerprint);
  });

  it('gives a connection a fresh key each time a limit of bytes comes near', async () => {
    kmes.fill(32 * KEY);
    await start({ rekeyAfter: { timeMs: 0, bytes: 256 * KIB, connections: 100 }, keysAhead: 16 });
    while (kmes.answered.length < 16) await new Promise((resolve) => setImmediate(resolve));
    await sites.clientLog.next('keys-ready');
    const { socket, say } = open();
    for (let round = 0; round < 12; round++) expect(await say('x'.repeat(50 * KIB))).to.have.length(50 * KIB);
    socket.end();
    const { atClient } = await ended();
    expect(atClient).to.include({ mode: 'qkd-and-pqc' }).and.not.have.property('code');
    const used = sites.clientLog.all('rekeyed').filter(({ status }) => status === 'used');
    expect(used.length).to.be.within(3, 12);
    expect(new Set(used.map(({ keyId }) => keyId)).size, 'another key each time').to.equal(used.length);
    expect(atClient.keyId, 'the last one').to.equal(used[used.length - 1]?.keyId);
    expect(sites.serverLog.all('rekeyed').map(({ keyId }) => keyId)).to.deep.equal(
      sites.clientLog.all('rekeyed').map(({ keyId }) => keyId),
    );
  });

  it('renews with ML-KEM alone where there is no key and none is required', async () => {
    await start({ rekeyAfter: { timeMs: 0, bytes: 64 * KIB, connections: 100 } });
    const { socket, say } = open();
    for (let round = 0; round < 3; round++) expect(await say('x'.repeat(50 * KIB))).to.have.length(50 * KIB);
    socket.end();
    const { atClient, atServer } = await ended();
    expect(atClient).to.include({ mode: 'pqc' }).and.not.have.property('code');
    expect(atClient.rekeys).to.be.greaterThan(1);
    expect(atServer.rekeys).to.equal(atClient.rekeys);
    for (const { status, mode } of sites.clientLog.all('rekeyed')) {
      expect({ status, mode }).to.deep.equal({ status: 'without_key', mode: 'pqc' });
    }
  });

  it('ends a connection that requires QKD when its key is too old and there is no other', async () => {
    kmes.fill(KEY);
    const policy = { require: 'qkd-and-pqc', unsafeAllowClassical: false, keyWaitMs: 5_000 } as const;
    await start({ policy, rekeyAfter: { timeMs: 0, bytes: 64 * KIB, connections: 100 } });
    const { socket } = open();
    socket.write('x'.repeat(100 * KIB));
    await new Promise((resolve) => socket.once('close', resolve));
    const { atClient, atServer } = await ended();
    expect(atClient).to.include({ mode: 'qkd-and-pqc', code: 'ERR_PROXY_KEY_EXPIRED' });
    expect(atClient.error).to.match(/beyond rekey-after \(65536 bytes\)/);
    expect(atServer).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 'insufficient_security' });
  });

  it('… however often ML-KEM alone has renewed it meanwhile', async () => {
    kmes.fill(KEY);
    const policy = { require: 'qkd', unsafeAllowClassical: false, keyWaitMs: 5_000 } as const;
    await start(
      { policy, rekeyAfter: { timeMs: 0, bytes: 100 * KIB, connections: 100 } },
      { rekeyAfter: { timeMs: 0, bytes: 16 * KIB, connections: 100 } },
    );
    const { socket, say } = open();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    for (let round = 0; round < 30 && !socket.closed; round++)
      await Promise.race([say('x'.repeat(4 * KIB)).catch(() => {}), closed]);
    await closed;
    const { atClient } = await ended();
    expect(atClient).to.include({ code: 'ERR_PROXY_KEY_EXPIRED' });
    expect(atClient.rekeys, 'the server wanted some').to.be.greaterThan(1);
  });

  it('follows the limits of the server as well', async () => {
    kmes.fill(4 * KEY);
    await start({}, { rekeyAfter: { timeMs: 0, bytes: 64 * KIB, connections: 100 } });
    await sites.clientLog.next('keys-ready');
    const { socket, say } = open();
    await say('x'.repeat(60 * KIB));
    expect(await sites.clientLog.next('rekeyed')).to.include({ epoch: 1, status: 'used' });
    socket.end();
    expect((await ended()).atServer)
      .to.include({ rekeys: 1 })
      .and.not.have.property('code');
  });

  it('renews by time, and the key channel too, which goes on delivering keys', async () => {
    kmes.fill(4 * KEY);
    await start({ rekeyAfter: { timeMs: 300, connections: 100 } });
    await sites.clientLog.next('keys-ready');
    const { say } = open();
    await say('x');
    const withKey = ({ role, status }: { role: string; status: string }) => role === 'client' && status === 'used';
    // Not the first of all: on a slow machine the pool may not have its next key in the 30 ms that a connection looks for one.
    await sites.clientLog.next('rekeyed', withKey);
    const channel = await sites.clientLog.next('rekeyed', ({ role }) => role === 'drawer');
    expect(channel).to.include({ peer: 'siteB' });
    const atServer = await sites.serverLog.next('rekeyed', ({ role }) => role === 'answerer');
    expect(atServer.keyId).to.equal(channel.keyId);
    await sites.clientLog.next('rekeyed', ({ role, status }) => role === 'client' && status === 'without_key');
    const before = sites.clientLog.all('rekeyed').filter(withKey).length;
    kmes.fill(4 * KEY);
    await sites.clientLog.next('rekeyed', withKey, before + 1);
    expect(await say('y')).to.equal('y');
    expect(sites.clientLog.all('key-channel').map(({ state }) => state)).to.deep.equal(['up']);
  });

  it('is no sign of life: a connection without data is closed as idle all the same', async () => {
    const limits = { ...DEFAULT_LIMITS, idleTimeoutMs: 600 };
    await start({ limits, rekeyAfter: { timeMs: 150, connections: 100 } });
    const { socket, say } = open();
    await say('x');
    await new Promise((resolve) => socket.once('end', resolve));
    const { atClient } = await ended();
    expect(atClient).to.include({ code: 'ERR_PROXY_IDLE_TIMEOUT' });
    expect(atClient.rekeys).to.be.greaterThan(0);
  });

  it('lets connections that end while they are rekeyed end in order', async () => {
    await start({ rekeyAfter: { timeMs: 0, bytes: 2 * KIB, connections: 100 } });
    await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const socket = connect({ ...sites.entrance, allowHalfOpen: true });
        const text = String(i).repeat(2_500);
        socket.end(text);
        expect((await collect(socket)).toString()).to.equal(text);
      }),
    );
    for (const log of [sites.clientLog, sites.serverLog]) {
      await log.next('connection', () => true, 30);
      for (const line of log.all('connection')) expect(line).not.to.have.any.keys('code', 'alert');
    }
    expect(sites.serverLog.all('rekeyed').length + sites.serverLog.all('rekey-refused').length).to.be.greaterThan(0);
  });
});
