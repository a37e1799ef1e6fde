/** `require-auth: pq`, and what the log says of how peers authenticate. */
import { connect } from 'node:net';
import { expect } from 'chai';
import { type Credential, createCa, type KeyAlgorithm, loadTrust } from '../../certs/index.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { identityOf, proxyCredential } from './pki.ts';
import { collect, type SiteSettings, startSites, TestApplication, type TwoSites } from './sites.ts';

describe('require-auth', () => {
  let application: TestApplication;
  let sites: TwoSites;
  let kmes: TestKmes | undefined;
  let mlDsaCa: Credential;
  let ecdsaCa: Credential;

  before(async () => {
    mlDsaCa = await createCa({ commonName: 'ML-DSA CA', nowMs: Date.now(), algorithm: 'ML-DSA-65' });
    ecdsaCa = await createCa({ commonName: 'ECDSA CA', nowMs: Date.now() });
  });
  beforeEach(async () => {
    application = await TestApplication.echo();
  });
  afterEach(async () => {
    await sites.close();
    await kmes?.close();
    kmes = undefined;
    await application.close();
  });

  async function start(
    algorithms: { readonly a: KeyAlgorithm; readonly b: KeyAlgorithm; readonly caOfB?: Credential },
    more: Partial<SiteSettings> = {},
  ): Promise<void> {
    const trust = loadTrust(mlDsaCa.certPem + ecdsaCa.certPem);
    const { a, b, caOfB = mlDsaCa } = algorithms;
    const ofA = await proxyCredential(mlDsaCa, { saeIds: ['siteA'], algorithm: a });
    const ofB = await proxyCredential(caOfB, { saeIds: ['siteB'], algorithm: b });
    sites = await startSites({
      backend: application.address,
      clientService: { trust, identity: identityOf(ofA) },
      serverService: { trust, identity: identityOf(ofB) },
      ...more,
    });
  }

  it('pq admits peers whose chain is ML-DSA from leaf to CA, and says so', async () => {
    await start({ a: 'ML-DSA-65', b: 'ML-DSA-44' }, { client: { requireAuth: 'pq' }, server: { requireAuth: 'pq' } });
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    expect(await sites.clientLog.next('connection')).to.include({ mode: 'pqc', auth: 'ML-DSA-44 under ML-DSA-65' });
    expect(await sites.serverLog.next('connection')).to.include({ mode: 'pqc', auth: 'ML-DSA-65' });
  });

  it('pq at the client refuses a server with a classical CA', async () => {
    await start({ a: 'ML-DSA-65', b: 'ML-DSA-65', caOfB: ecdsaCa }, { client: { requireAuth: 'pq' } });
    connect(sites.entrance).on('error', () => {});
    const line = await sites.clientLog.next('connection');
    expect(line).to.include({ code: 'ERR_PROXY_WEAK_AUTHENTICATION', alert: 'insufficient_security' });
    expect(line.error).to.include('ML-DSA-65 under ECDSA P-256');
    expect(line).not.to.have.property('mode');
  });

  it('pq at the server refuses a client with a classical leaf, and its key channel as well', async () => {
    kmes = await startKmes();
    await start(
      { a: 'ECDSA P-256', b: 'ML-DSA-65' },
      { client: kmesAt(kmes.urlA), server: { ...kmesAt(kmes.urlB), requireAuth: 'pq' } },
    );
    connect(sites.entrance).on('error', () => {});
    const lines = [await sites.serverLog.next('connection'), await sites.serverLog.next('connection', () => true, 2)];
    for (const line of lines) expect(line).to.include({ code: 'ERR_PROXY_WEAK_AUTHENTICATION' });
    const channel = await sites.clientLog.next('key-channel');
    expect(channel).to.include({ state: 'down', code: 'ERR_TLS_PEER_ALERT' });
  });

  it('a key channel that the server refuses is never up, and is dialled less and less often', async () => {
    kmes = await startKmes();
    await start(
      { a: 'ECDSA P-256', b: 'ML-DSA-65' },
      { client: kmesAt(kmes.urlA), server: { ...kmesAt(kmes.urlB), requireAuth: 'pq' } },
    );
    const last = await sites.serverLog.next('connection', () => true, 4);
    // In TLS 1.3 a client is done before the server has judged its certificate.
    expect(sites.clientLog.all('key-channel').map(({ state }) => state)).to.deep.equal(['down']);
    const [first] = sites.serverLog.all('connection');
    // At least half of 250, 500 and 1000 ms lie between the four.
    expect(Date.parse(last.time) - Date.parse((first as typeof last).time)).to.be.at.least(875);
  });

  it('any admits them all, and the log says what they are', async () => {
    await start({ a: 'ECDSA P-256', b: 'ECDSA P-256', caOfB: ecdsaCa });
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    await collect(socket);
    expect(await sites.clientLog.next('connection')).to.include({ auth: 'ECDSA P-256' });
    expect(await sites.serverLog.next('connection')).to.include({ auth: 'ECDSA P-256 under ML-DSA-65' });
  });
});
