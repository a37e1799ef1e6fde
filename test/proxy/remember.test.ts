/** `remember`: who was seen with QKD is refused without. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { siteCredential } from './pki.ts';
import { collect, startSites, TestApplication, type TwoSites } from './sites.ts';
import { tlsPeer } from './tls-peer.ts';

/** Enough for one key in each direction. */
const ONE_KEY = 64;
const DAY_MS = 86_400_000;

describe('remember', () => {
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

  async function start(client: Partial<ServiceConfig> = {}, server: Partial<ServiceConfig> = {}): Promise<void> {
    const policy = { require: 'qkd-or-pqc', unsafeAllowClassical: false, keyWaitMs: 30 } as const;
    sites = await startSites({
      backend: application.address,
      client: { ...kmesAt(kmes.urlA), policy, ...client },
      server: { ...kmesAt(kmes.urlB), ...server },
    });
  }

  async function use(): Promise<string> {
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    return (await collect(socket)).toString();
  }

  /** Uses keys up, until there is none left; the first connection had one. */
  async function useUpKeys(): Promise<void> {
    kmes.fill(ONE_KEY);
    await sites.clientLog.next('keys-ready');
    expect(await use()).to.equal('ping');
    expect(await sites.clientLog.next('connection')).to.include({ mode: 'qkd-and-pqc' });
    await sites.serverLog.next('connection');
  }

  it('lets a client that has never seen QKD go on without, and refuses it after it has', async () => {
    await start({ rememberMs: DAY_MS });
    await sites.clientLog.next('key-channel');
    expect(await use()).to.equal('ping');
    expect(await sites.clientLog.next('connection')).to.include({ mode: 'pqc' });
    kmes.fill(ONE_KEY);
    await sites.clientLog.next('keys-ready');
    expect(await use()).to.equal('ping');
    expect(await sites.clientLog.next('connection', () => true, 2)).to.include({ mode: 'qkd-and-pqc' });
    const socket = connect(sites.entrance);
    await once(socket, 'error');
    const line = await sites.clientLog.next('connection', () => true, 3);
    expect(line).to.include({ mode: 'refused', reason: 'pool_empty', code: 'ERR_PROXY_POLICY' });
    expect(line.error).to.match(/requires qkd \(remember: siteB was seen with QKD\).*waited 30 ms/);
    expect(sites.serverLog.all('connection'), 'nothing was dialled for it').to.have.length(2);
  });

  it('has a client wait for a key as if one were required', async () => {
    await start({
      rememberMs: DAY_MS,
      policy: { require: 'qkd-or-pqc', unsafeAllowClassical: false, keyWaitMs: 15_000 },
    });
    await useUpKeys();
    const waiting = use();
    await sites.clientLog.next('keys-unavailable');
    kmes.fill(ONE_KEY);
    expect(await waiting).to.equal('ping');
    expect(await sites.clientLog.next('connection', () => true, 2)).to.include({ mode: 'qkd-and-pqc' });
  });

  it('has a server refuse a peer that comes without, and no other peer', async () => {
    await start({}, { rememberMs: DAY_MS, peerSae: ['siteA', 'siteC'] });
    await useUpKeys();
    const engine = { qkdOffer: { offer: 'none', reason: 'kme_unreachable' } } as const;
    const request = Buffer.from('x');
    const again = await tlsPeer(sites.tunnelPort, { credential: await siteCredential('siteA'), engine, request });
    expect(again.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 71 });
    expect(again.received).to.have.length(0);
    const line = await sites.serverLog.next('connection', ({ mode }) => mode === 'refused');
    expect(line).to.include({ peer: 'siteA', reason: 'kme_unreachable', bytesFromPeer: 0, code: 'ERR_PROXY_POLICY' });
    expect(line.error).to.include('(remember: siteA was seen with QKD)');
    const other = await tlsPeer(sites.tunnelPort, { credential: await siteCredential('siteC'), engine, request });
    expect(other.received.toString()).to.equal('x');
    // The key channel carries no application data: it lives on, and brings the keys.
    kmes.fill(ONE_KEY);
    await sites.clientLog.next('keys-ready', () => true, 2);
    expect(await use()).to.equal('ping');
  });

  it('is off unless it is written', async () => {
    await start();
    await useUpKeys();
    expect(await use()).to.equal('ping');
    expect(await sites.clientLog.next('connection', () => true, 2)).to.include({ mode: 'pqc', reason: 'pool_empty' });
  });
});
