import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { expect } from 'chai';
import { MemoryLedger, systemClock } from '../../kdi-client/index.ts';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { BulkBufferPool, type PskRequired } from '../../proxy/data-path/index.ts';
import { provenanceProblem } from '../../proxy/key-service/provenance.ts';
import { KeyServices } from '../../proxy/key-services.ts';
import { startServerTunnel } from '../../proxy/tunnel/server-tunnel.ts';
import type { ClientKeys, ServerKeys, TunnelPorts, TunnelSettings } from '../../proxy/tunnel/settings.ts';
import { hexOf, type QkdKeyReference, signatureSchemes, signingKeyFromPkcs8 } from '../../tls-ext/index.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { CapturedLog, collect, loadedService, startSites, TestApplication, type TwoSites } from './sites.ts';

const ANY = { simulatedAllowed: true, unknown: 'allow' } as const;

describe('what a service demands of a key', () => {
  it('admits everything that it does not forbid', () => {
    for (const key of [{}, { hops: 9, ageMs: 1e9, simulated: true }]) {
      expect(provenanceProblem(ANY, key)).to.equal(undefined);
    }
  });

  const rows: readonly (readonly [string, object, object, RegExp | undefined])[] = [
    ['hops at the limit', { maxHops: 2 }, { hops: 2 }, undefined],
    ['hops beyond it', { maxHops: 2 }, { hops: 3 }, /crossed 3 trusted nodes, and max-hops is 2/],
    ['unknown hops', { maxHops: 2 }, {}, undefined],
    ['unknown hops, refused', { maxHops: 2, unknown: 'refuse' }, {}, /unknown-provenance/],
    ['unknown hops, refused without a limit', { unknown: 'refuse' }, {}, /unknown-provenance/],
    ['an age at the limit', { maxAgeMs: 50 }, { ageMs: 50, hops: 0 }, undefined],
    ['an age beyond it', { maxAgeMs: 50 }, { ageMs: 51, hops: 0 }, /is 51 ms old, and max-key-age is 50 ms/],
    ['an unknown age, refused', { maxAgeMs: 50, unknown: 'refuse' }, { hops: 0 }, /how old/],
    ['an unknown age that nobody asked for', { unknown: 'refuse' }, { hops: 0 }, undefined],
    ["a simulator's key", { simulatedAllowed: false }, { simulated: true }, /unsafe-allow-simulated/],
  ];
  for (const [what, rules, key, expected] of rows) {
    it(`judges ${what}`, () => {
      const problem = provenanceProblem({ ...ANY, ...rules }, key);
      if (expected === undefined) expect(problem).to.equal(undefined);
      else expect(problem?.error).to.match(expected);
    });
  }
});

function helloWith(
  offer: 'key' | 'ticket',
  references: readonly QkdKeyReference[],
  certWithExternPsk = true,
): PskRequired {
  const offered = references.map((reference) => ({ identity: new Uint8Array(1), reference }));
  return { type: 'psk-required', offered, certWithExternPsk, qkdOffer: { offer }, alpnProtocols: [] };
}

describe('rules for keys', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  const ends: (() => Promise<unknown>)[] = [];

  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());
  beforeEach(async () => {
    kmes = await startKmes({ hops: 2 });
    kmes.fill(4_096);
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    await kmes.close();
  });

  async function sitesWith(client: Partial<ServiceConfig>, server: Partial<ServiceConfig> = {}): Promise<TwoSites> {
    const sites = await startSites({
      backend: application.address,
      client: { ...kmesAt(kmes.urlA), ...client },
      server: { ...kmesAt(kmes.urlB), ...server },
    });
    ends.push(() => sites.close());
    await sites.clientLog.next('keys-ready');
    return sites;
  }

  async function use({ clientLog, serverLog, entrance }: TwoSites) {
    const [before, beforeServer] = [clientLog, serverLog].map((log) => log.all('connection').length);
    const socket = connect({ ...entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return {
      atClient: await clientLog.next('connection', () => true, (before as number) + 1),
      atServer: await serverLog.next('connection', () => true, (beforeServer as number) + 1),
    };
  }

  describe('provenance', () => {
    it('is in the log line of each connection, as each end heard it from its own key manager', async () => {
      for (const line of Object.values(await use(await sitesWith({})))) {
        expect(line).to.include({ mode: 'qkd-and-pqc', hops: 2, simulated: true });
        expect(line.ageMs).to.be.at.least(0);
      }
    });

    it('max-hops at the client: the key is not offered, and both ends say policy', async () => {
      const sites = await sitesWith({ provenance: { maxHops: 1, unknown: 'allow' } });
      const { atClient, atServer } = await use(sites);
      expect(atClient).to.include({ mode: 'pqc', reason: 'policy' }).and.not.to.have.any.keys('keyId', 'hops');
      expect(atServer).to.include({ mode: 'pqc', reason: 'policy' });
      const said = await sites.clientLog.next('keys-unavailable');
      expect(said).to.include({ code: 'ERR_PROXY_KEY_PROVENANCE', reason: 'policy', service: 'client' });
    });

    it('max-hops at the server: the key is not accepted, and both ends say policy', async () => {
      const sites = await sitesWith({}, { provenance: { maxHops: 1, unknown: 'allow' } });
      const { atClient, atServer } = await use(sites);
      expect(atClient).to.include({ mode: 'pqc', reason: 'policy' });
      expect(atServer).to.include({ mode: 'pqc', reason: 'policy' });
      const said = await sites.serverLog.next('keys-unavailable');
      expect(said).to.include({ code: 'ERR_PROXY_KEY_PROVENANCE', peer: 'siteA', service: 'server' });
    });

    it('unknown-provenance: refuse does without the keys of SKIP, which say nothing', async () => {
      const over = (end: 'a' | 'b') => kmesAt(kmes.url(end, 'skip'));
      const sites = await sitesWith({ ...over('a'), provenance: { unknown: 'refuse' } }, over('b'));
      expect((await use(sites)).atClient).to.include({ mode: 'pqc', reason: 'policy' });
    });
  });

  /** Both ends' keys, as tunnels have them, for what no tunnel asks for by itself. */
  async function bothEnds(budgets: readonly Partial<ServiceConfig>[]) {
    const log = new CapturedLog();
    const newServices = (services: Awaited<ReturnType<typeof loadedService>>[]) => {
      const ledger = new MemoryLedger({ nowMs: () => performance.now() });
      const keys = new KeyServices(services, { log: log.log, clock: systemClock, ledger });
      ends.push(() => keys.close());
      return keys;
    };
    const server = await loadedService({ mode: 'server', connect: application.address, ...kmesAt(kmes.urlB) });
    const serverKeys = newServices([server]).serverKeys(server);
    const tunnel = await startServerTunnel({ ...portsOf(server, log), settings: settingsOf(server), ...serverKeys });
    ends.push(() => tunnel.close());
    const clients = await Promise.all(
      budgets.map((one, i) =>
        loadedService({ mode: 'client', connect: tunnel.address, ...kmesAt(kmes.urlA), name: `service${i}`, ...one }),
      ),
    );
    const services = newServices(clients);
    const clientKeys = clients.map((one) => services.clientKeys(one, settingsOf(one), portsOf(one, log)));
    await log.next('keys-ready', ({ role }) => role === 'drawer');
    return {
      clientKeys: clientKeys as [ClientKeys, ...ClientKeys[]],
      serverKeys: serverKeys.keys as ServerKeys,
      services,
      log,
    };
  }

  describe('the budget', () => {
    const withReserve = (reserve: number) => ({ keysAhead: 4, budget: { reserve, horizonMs: 60_000 } });

    /** All keys that are agreed now, and no more. */
    async function settled(services: KeyServices): Promise<number> {
      for (;;) {
        const pool = services.report().drawers[0]?.pool;
        if (pool?.ready === 4) return 4;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }

    it('keeps the reserve for rekeys: connections get the rest, with the reason budget then', async () => {
      const { clientKeys, services } = await bothEnds([withReserve(3)]);
      const [keys] = clientKeys;
      await settled(services);
      // No more come in.
      await kmes.a.close();
      expect('lease' in keys.take()).to.equal(true);
      expect(keys.take()).to.deep.equal({ reason: 'budget' });
      const forRekey = keys.takeForRekey('siteB');
      expect(forRekey?.psk.context).to.deep.equal({ purpose: 'rekey', drawer: 'siteA', answerer: 'siteB' });
      expect(services.report().drawers[0]?.budget).to.include({ reserveFloor: 3, scarce: true });
    });

    it('spares keys where a ticket would do, when they are scarce, and gives them where none is at hand', async () => {
      const { clientKeys, services } = await bothEnds([withReserve(0)]);
      const [keys] = clientKeys;
      await settled(services);
      await kmes.a.close();
      const plenty = keys.take({ ticketAtHand: true });
      expect('lease' in plenty, 'enough for everybody').to.equal(true);
      expect('lease' in keys.take()).to.equal(true);
      // More is asked for than comes in.
      for (let i = 0; i < 3; i++) {
        const offer = keys.take();
        if ('lease' in offer) offer.lease.release('unfinished');
      }
      expect(services.report().drawers[0]?.budget).to.include({ scarce: true, reserveFloor: 0 });
      expect(keys.take({ ticketAtHand: true })).to.deep.equal({ reason: 'budget' });
      expect('lease' in keys.take()).to.equal(true);
    });

    it('a service that waits is served as soon as there is more than the reserve', async () => {
      const { clientKeys, services } = await bothEnds([withReserve(3)]);
      const [keys] = clientKeys;
      await settled(services);
      const first = keys.take();
      const waiting = keys.takeWithin(10_000, new AbortController().signal);
      expect('lease' in (await waiting)).to.equal(true);
      if ('lease' in first) first.lease.commit();
    });

    it('gives plain numbers of each service', async () => {
      const { services, clientKeys } = await bothEnds([
        { budget: { reserve: 1, horizonMs: 5_000, priority: 'high', weight: 3 } },
        {},
      ]);
      await settled(services);
      const offer = clientKeys[0].take();
      if ('lease' in offer) offer.lease.commit();
      const [drawer] = services.report().drawers;
      expect(drawer).to.include({ sae: 'siteA', peer: 'siteB' });
      expect(drawer?.budget).to.include({ reserveFloor: 1 });
      expect(drawer?.budget.services.service0).to.include({ priority: 'high' });
      expect(drawer?.budget.services.service0?.usedPerSecond).to.be.greaterThan(0);
      expect(drawer?.budget.services.service1).to.include({ priority: 'normal', usedPerSecond: 0 });
      expect(() => structuredClone(services.report())).not.to.throw();
    });
  });

  it('a ClientHello without a key that is here is answered unavailable, or policy where it was not looked at', async () => {
    const unknown = { api: 'etsi014', drawer: 'siteA', keyId: new Uint8Array(16) } as const;
    const unavailable = { why: 'unavailable', reason: 'reference_unavailable' } as const;
    const policy = { why: 'policy', reason: 'policy' } as const;
    const { serverKeys } = await bothEnds([{}]);
    for (const [what, event, expected] of [
      ['never announced', helloWith('key', [unknown]), unavailable],
      ['our own, reflected (Selfie)', helloWith('key', [{ ...unknown, drawer: 'siteB' }]), unavailable],
      ['of a drawer that is not admitted', helloWith('key', [{ ...unknown, drawer: 'x' }]), unavailable],
      ['not the identity of its reference', helloWith('key', []), unavailable],
      ['without extension 33', helloWith('key', [], false), policy],
      ['a ticket', helloWith('ticket', [], false), { why: 'unavailable', reason: 'ticket_refused' }],
    ] as const) {
      expect(serverKeys.lookUp(event, '127.0.0.1:1'), what).to.deep.equal(expected);
    }
  });

  describe('a key for a rekey', () => {
    it('is known to the server for the peer that announced it, and taken: nothing else can use it meanwhile', async () => {
      const { clientKeys, serverKeys } = await bothEnds([{}]);
      const lease = clientKeys[0].takeForRekey('siteB');
      if (lease === undefined) throw new Error('no key');
      const { reference } = lease.psk;
      const found = serverKeys.lookUpForRekey(reference, 'siteA', '127.0.0.1:1');
      expect(found?.psk.context).to.deep.equal(lease.psk.context);
      expect(hexOf(found?.psk.secret.expose() ?? new Uint8Array())).to.equal(hexOf(lease.psk.secret.expose()));
      expect(found?.provenance).to.include({ hops: 2, simulated: true });
      expect(serverKeys.lookUpForRekey(reference, 'siteA', '127.0.0.1:1')).to.equal(undefined);
      const inHandshake = serverKeys.lookUp(helloWith('key', [reference]), '127.0.0.1:1');
      expect(inHandshake).to.deep.equal({ why: 'unavailable', reason: 'reference_unavailable' });
      lease.commit();
    });

    it("is not given for another peer's connection, nor looked up for another peer", async () => {
      const { clientKeys, serverKeys } = await bothEnds([{}]);
      expect(clientKeys[0].takeForRekey('siteC')).to.equal(undefined);
      const lease = clientKeys[0].takeForRekey('siteB');
      if (lease === undefined) throw new Error('no key');
      expect(serverKeys.lookUpForRekey(lease.psk.reference, 'siteC', '127.0.0.1:1')).to.equal(undefined);
      lease.release('unfinished');
    });

    it('is judged by the rules of the service at either end', async () => {
      const { clientKeys, serverKeys } = await bothEnds([{}, { provenance: { maxHops: 1, unknown: 'allow' } }]);
      expect(clientKeys[1]?.takeForRekey('siteB')).to.equal(undefined);
      const lease = clientKeys[0].takeForRekey('siteB');
      if (lease === undefined) throw new Error('no key');
      // To the server this peer is off loopback, and the key a simulator's.
      expect(serverKeys.lookUpForRekey(lease.psk.reference, 'siteA', '192.0.2.1:1')).to.equal(undefined);
      lease.release('unfinished');
    });
  });
});

type Loaded = Awaited<ReturnType<typeof loadedService>>;

function settingsOf({ config, trust }: Loaded): TunnelSettings {
  if (trust === undefined) throw new Error('no trust');
  const {
    name,
    accept,
    connect: target,
    sae,
    auth,
    peerSae,
    requireAuth,
    policy,
    limits,
    rekeyAfter,
    tickets,
  } = config;
  return {
    service: name,
    accept,
    connect: target,
    ownSae: sae,
    auth,
    peer: { trust, peerSae, requireAuth },
    policy,
    limits,
    rekeyAfter,
    tickets,
    groups: [0x11ec],
    cipherSuites: [0x1302],
    signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
  };
}

function portsOf({ identity }: Loaded, log: CapturedLog): TunnelPorts {
  if (identity === undefined) throw new Error('no identity');
  return {
    log: log.log,
    bufferPool: new BulkBufferPool(),
    random: randomBytes,
    identity: { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) },
  };
}
