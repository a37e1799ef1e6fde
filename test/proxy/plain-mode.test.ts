/** `auth: psk` between our own ends, and what strangers can cause at a server that looks keys up on demand. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import {
  LOOK_UPS_IN_ALL,
  LOOK_UPS_PER_SOURCE,
  LookUpLimits,
  sourceOf,
} from '../../proxy/key-service/look-up-limits.ts';
import { plainIdentityText, referenceOfIdentity } from '../../proxy/key-service/plain-identity.ts';
import { CipherSuite, SecretBytes } from '../../tls-ext/index.ts';
import { type KmePair, kmePair } from '../qkd-sim/kme/kme-fixture.ts';
import { drawKey, kmeOf, loadedKme, plainServerKeysOf, plainService, startPlainServer } from './plain-sites.ts';
import { collect, startSites, TestApplication, type TwoSites } from './sites.ts';
import { tlsPeer } from './tls-peer.ts';

describe('plain mode', () => {
  let kmes: KmePair;
  let application: TestApplication;
  let sites: TwoSites | undefined;
  let server: Awaited<ReturnType<typeof startPlainServer>> | undefined;

  beforeEach(async () => {
    kmes = await kmePair({ capacityBytes: 8_192 });
    kmes.fill(8_192);
    application = await TestApplication.echo();
  });
  afterEach(async () => {
    await sites?.close();
    await server?.close();
    sites = undefined;
    server = undefined;
    await application.close();
    await kmes.close();
  });

  const startPair = async (api: 'etsi014' | 'skip', both: Partial<ServiceConfig> = {}) => {
    const client = { ...plainService(kmeOf(kmes, 'a', api)), ...both };
    const server = { ...plainService(kmeOf(kmes, 'b', api)), ...both };
    sites = await startSites({
      backend: application.address,
      client,
      server,
      clientService: { kmes: await Promise.all((client.kmes ?? []).map((kme) => loadedKme(kme, 'siteA'))) },
      serverService: { kmes: await Promise.all((server.kmes ?? []).map((kme) => loadedKme(kme, 'siteB'))) },
    });
    return sites;
  };

  for (const api of ['etsi014', 'skip'] as const) {
    it(`carries connections with a key of their own each, over ${api}`, async () => {
      const { entrance, clientLog, serverLog } = await startPair(api);
      for (const text of ['one', 'two']) {
        const socket = connect({ ...entrance, allowHalfOpen: true });
        socket.end(text);
        expect((await collect(socket)).toString()).to.equal(text);
      }
      const [ofClient, ofServer] = [await linesOf(clientLog, 2), await linesOf(serverLog, 2)];
      for (const line of ofClient) {
        expect(line).to.include({ mode: 'qkd-and-pqc', group: 'X25519MLKEM768', peer: 'siteB' });
        expect(line).to.include({ cipher: 'TLS_AES_128_GCM_SHA256' });
        expect(line).not.to.have.any.keys('code', 'reason');
        const other = ofServer.find(({ fingerprint }) => fingerprint === line.fingerprint);
        expect(other).to.include({ mode: 'qkd-and-pqc', keyId: line.keyId, peer: 'siteA' });
      }
      expect(new Set(ofClient.map(({ keyId }) => keyId)).size).to.equal(2);
    });
  }

  it('over a classical group is qkd', async () => {
    const { entrance, clientLog } = await startPair('etsi014', { groups: ['x25519'] });
    const socket = connect({ ...entrance, allowHalfOpen: true });
    socket.end('x');
    await collect(socket);
    expect((await linesOf(clientLog, 1))[0]).to.include({ mode: 'qkd' });
  });

  it('without a key there is no connection: refused after key-wait, with the reason', async () => {
    const { clientLog, entrance } = await startPair('etsi014', {
      policy: { require: 'qkd', because: 'auth: psk', unsafeAllowClassical: false, keyWaitMs: 50 },
      kmes: [{ ...kmeOf(kmes, 'a', 'etsi014'), url: 'etsi014://127.0.0.1:1' }],
    });
    const socket = connect(entrance);
    await once(socket, 'error');
    const line = await clientLog.next('connection');
    expect(line).to.include({ mode: 'refused', reason: 'kme_unreachable', code: 'ERR_PROXY_POLICY' });
    expect(line.error).to.match(/auth: psk.*key manager of the client side does not answer; waited 50 ms/);
  });

  describe('as server', () => {
    const suite = { groups: [0x11ec], cipherSuites: [CipherSuite.aes128GcmSha256], auth: 'psk' as const };
    const offering = (identity: string, secret: Uint8Array) => ({
      ...suite,
      psk: {
        kind: 'plain' as const,
        identity: new TextEncoder().encode(identity),
        secret: SecretBytes.copyOf(secret),
      },
    });
    const start = async (more: Partial<ServiceConfig> = {}) => {
      server = await startPlainServer(kmes, application.address, more);
      return server;
    };
    const fetched = () => kmes.events.filter(({ type }) => type === 'key-delivered').length;

    it('serves a key once', async () => {
      const { address, log } = await start();
      const { id, key } = await drawKey(kmes);
      const first = await tlsPeer(address, { engine: offering(id, key), request: Buffer.from('first') });
      expect(first.received.toString()).to.equal('first');
      const second = await tlsPeer(address, { engine: offering(id, key), request: Buffer.from('second') });
      expect(second.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 51 });
      expect(await log.next('unknown-key')).to.include({ why: 'used-before', count: 1 });
      expect((await log.next('connection', ({ mode }) => mode === 'refused')).reason).to.equal('reference_unavailable');
    });

    it('keeps a key that a stranger named without having it, for the peer that has it', async () => {
      const { address, log } = await start();
      const { id, key } = await drawKey(kmes);
      const before = fetched();
      for (let stranger = 1; stranger <= 3; stranger++) {
        const outcome = await tlsPeer(address, { engine: offering(id, randomBytes(32)) });
        expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 51 });
        expect(await log.next('bad-binder', ({ count }) => count === stranger)).to.include({ service: 'server' });
      }
      const outcome = await tlsPeer(address, { engine: offering(id.toUpperCase(), key), request: Buffer.from('mine') });
      expect(outcome.received.toString()).to.equal('mine');
      expect(fetched() - before, 'one request for all four').to.equal(1);
    });

    it('answers made-up names with an alert, and asks the key manager for none that has not the form of one', async () => {
      const { address, log } = await start();
      for (const identity of ['Client_identity', `${'a'.repeat(36)}`, `\xff\x00`, 'x'.repeat(1_000)]) {
        const outcome = await tlsPeer(address, { engine: offering(identity, randomBytes(32)) });
        expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 51 });
      }
      expect(await log.next('unknown-key', ({ count }) => count === 4)).to.include({ why: 'malformed' });
      const unknown = 'ffffffff-ffff-4fff-8fff-ffffffffffff';
      await tlsPeer(address, { engine: offering(unknown, randomBytes(32)) });
      expect(await log.next('unknown-key', ({ why }) => why === 'not-found')).to.include({ count: 5 });
    });

    it('has a client without PSK refused before anything is looked up', async () => {
      const { address, log } = await start();
      const outcome = await tlsPeer(address, { engine: { cipherSuites: [CipherSuite.aes128GcmSha256] } });
      expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 40 });
      expect(await log.next('connection')).to.include({ code: 'ERR_TLS_HANDSHAKE_FAILURE' });
      expect(log.all('unknown-key')).to.have.length(0);
    });

    it('gives a key manager that does not answer no more than key-wait', async () => {
      const silent = await new TestApplication(() => {}).listen();
      const { address, log } = await start({
        kmes: [{ ...kmeOf(kmes, 'b', 'etsi014'), url: `etsi014://127.0.0.1:${silent.address.port}` }],
        policy: { require: 'qkd', unsafeAllowClassical: false, keyWaitMs: 30 },
      });
      const { id, key } = await drawKey(kmes);
      const outcome = await tlsPeer(address, { engine: offering(id, key) });
      expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 51 });
      expect(await log.next('connection')).to.include({ mode: 'refused', reason: 'peer_kme_unreachable' });
      await silent.close();
    });

    it('takes no simulated key off loopback', async () => {
      const { id } = await drawKey(kmes);
      const keys = await plainServerKeysOf(kmes);
      const event = { type: 'psk-required', offered: [{ identity: Buffer.from(id) }] } as never;
      const rules = {
        service: 's',
        lookUpTimeoutMs: 5_000,
        provenance: () => ({ simulatedAllowed: false, unknown: 'allow' as const }),
      };
      const pending = keys.lookUp(event, rules, '192.0.2.1:1');
      expect('answer' in pending && (await pending.answer)).to.deep.equal({ why: 'policy', reason: 'policy' });
      await keys.close();
    });
  });

  describe('limits on look-ups', () => {
    it('hold for one source, and leave others alone', () => {
      const limits = new LookUpLimits(() => 0);
      for (let i = 0; i < LOOK_UPS_PER_SOURCE.burst; i++) expect(limits.permit('192.0.2.1:1')).to.be.a('function');
      expect(limits.permit('192.0.2.1:2')).to.equal(undefined);
      expect(limits.permit('192.0.2.2:1')).to.be.a('function');
    });

    it('hold for all sources together', () => {
      const limits = new LookUpLimits(() => 0);
      for (let i = 0; i < LOOK_UPS_IN_ALL.burst; i++) expect(limits.permit(`10.0.${i >> 4}.1:1`)).to.be.a('function');
      expect(limits.permit('192.0.2.9:1')).to.equal(undefined);
    });

    it('are no limits for those who complete their handshakes, and grow back for the others', () => {
      let nowMs = 0;
      const limits = new LookUpLimits(() => nowMs);
      for (let i = 0; i < 3 * LOOK_UPS_IN_ALL.burst; i++) {
        const giveBack = limits.permit('192.0.2.1:1');
        giveBack?.();
        giveBack?.();
      }
      for (let i = 0; i < LOOK_UPS_PER_SOURCE.burst; i++) limits.permit('192.0.2.1:1');
      expect(limits.permit('192.0.2.1:1'), 'given back once each').to.equal(undefined);
      nowMs = 1_000;
      for (let i = 0; i < LOOK_UPS_PER_SOURCE.perSecond; i++) expect(limits.permit('192.0.2.1:1')).to.be.a('function');
      expect(limits.permit('192.0.2.1:1')).to.equal(undefined);
    });

    it('count an IPv6 network of one host as one source', () => {
      expect(sourceOf('192.0.2.1:4711')).to.equal('192.0.2.1');
      expect(sourceOf('unix')).to.equal('unix');
      expect(sourceOf('[2001:db8:1:2::5]:1')).to.equal(sourceOf('[2001:db8:1:2:ffff:1:2:3]:2'));
      expect(sourceOf('[2001:db8::1]:1')).to.equal('2001:db8:0:0');
      expect(sourceOf('[::1]:1')).to.equal('0:0:0:0');
      expect(sourceOf('[fe80::1%eth0]:1')).to.equal('fe80:0:0:0');
    });
  });

  describe('names of keys', () => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const keyId = Uint8Array.from({ length: 16 }, (_, i) => i);

    it('are the UUID of 014, the hex of SKIP, ksid:index:slice of 004', () => {
      expect(plainIdentityText({ api: 'etsi014', drawer: 'siteA', keyId })).to.equal(
        '00010203-0405-0607-0809-0a0b0c0d0e0f',
      );
      expect(plainIdentityText({ api: 'skip', drawer: 'siteA', keyId: keyId.subarray(0, 3) })).to.equal('000102');
      expect(plainIdentityText({ api: 'etsi004', drawer: 'siteA', ksid: keyId, index: 7, slice: 2 })).to.equal(
        '00010203-0405-0607-0809-0a0b0c0d0e0f:7:2',
      );
    });

    it('lead back to the key, or nowhere', () => {
      for (const api of ['etsi014', 'skip'] as const) {
        const reference = { api, drawer: 'siteA', keyId };
        expect(referenceOfIdentity(api, 'siteA', bytes(plainIdentityText(reference)))).to.deep.equal(reference);
      }
      const bad = ['', '0', 'zz', '0'.repeat(130), '00010203-0405-0607-0809-0a0b0c0d0e0', 'a/../b', '00\u0000'];
      for (const text of bad) {
        for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
          expect(referenceOfIdentity(api, 'siteA', bytes(text)), `${api} ${text}`).to.equal(undefined);
        }
      }
    });
  });
});

async function linesOf(log: TwoSites['clientLog'], count: number) {
  await log.next('connection', () => true, count);
  return log.all('connection');
}
