/** Two links between the same two sites, with a key manager at each end of each; the links know nothing of one another. */
import { connect } from 'node:net';
import { expect } from 'chai';
import type { KdiApi } from '../../kdi-client/index.ts';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { failingKme } from './failing-kme.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { collect, fastClock, startSites, TestApplication, type TwoSites } from './sites.ts';
import { Wire } from './wire.ts';

describe('several key managers', function () {
  this.timeout(60_000);
  let application: TestApplication;
  let links: readonly [TestKmes, TestKmes];
  let sites: TwoSites;
  /** In front of the first link's key managers. */
  let wires: { a: Wire; b: Wire };

  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());
  beforeEach(async () => {
    links = [await startKmes(), await startKmes()];
    for (const link of links) link.fill(32_768);
  });
  afterEach(async () => {
    await sites.close();
    await Promise.all([wires.a.cut(), wires.b.cut()]);
    for (const link of links) await link.close();
  });

  async function start(api: KdiApi, more: Partial<ServiceConfig> = {}, down?: 'a') {
    const urlOf = (address: Wire['address']) => `${api}://${address.host}:${address.port}`;
    const addressOf = (url: string) => ({ host: '127.0.0.1', port: Number(new URL(url).port) });
    wires = {
      a: await Wire.to(addressOf(links[0].url('a', api))),
      b: await Wire.to(addressOf(links[0].url('b', api))),
    };
    if (down === 'a') await wires.a.cut();
    sites = await startSites({
      backend: application.address,
      client: { ...kmesAt(urlOf(wires.a.address), links[1].url('a', api)), kmeFailBackMs: 5_000, ...more },
      server: { ...kmesAt(urlOf(wires.b.address), links[1].url('b', api)), kmeFailBackMs: 5_000, ...more },
      clock: fastClock(5),
    });
    return { first: nameOf(urlOf(wires.a.address)), second: nameOf(links[1].url('a', api)) };
  }

  const nameOf = (url: string) => url.replace(/^\w+:\/\//, '');

  async function use() {
    const before = sites.clientLog.all('connection').length;
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return await sites.clientLog.next('connection', () => true, before + 1);
  }

  /** Uses connections until one has a key that `kme` gave, as the pool says. */
  async function useUntilFrom(kme: string) {
    for (;;) {
      const { mode } = await use();
      const now = sites.client.keyReport().drawers[0]?.pool.kme;
      if (mode === 'qkd-and-pqc' && now === kme) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
    describe(`over ${api}`, () => {
      it('the first down at start: the second serves, at both ends; back up, the first is gone back to', async () => {
        const { first, second } = await start(api, {}, 'a');
        await sites.clientLog.next('kme', ({ state, kme }) => state === 'failed' && kme === first);
        await useUntilFrom(second);
        await wires.a.mend();
        await useUntilFrom(first);
        await sites.clientLog.next('kme', ({ state, kme }) => state === 'chosen' && kme === first);
      });

      it('the first lost in mid-stream: keys that were agreed stay good, and the second serves on', async () => {
        const { first, second } = await start(api);
        await useUntilFrom(first);
        await wires.a.cut();
        expect((await use()).mode, 'agreed before').to.equal('qkd-and-pqc');
        await useUntilFrom(second);
        const failed = await sites.clientLog.next('kme', ({ state, kme }) => state === 'failed' && kme === first);
        expect(failed.code).to.match(/^ERR_KDI_(CONNECT|CLOSED)$/);
        expect(failed).to.have.property('circuit');
        expect(sites.clientLog.all('key-mismatch')).to.deep.equal([]);
      });

      it("the other side's key manager lost: the drawer goes to the one whose keys the peer can have", async () => {
        const { first, second } = await start(api);
        await useUntilFrom(first);
        await wires.b.cut();
        await useUntilFrom(second);
        const { kmes } = sites.client.keyReport().drawers[0] ?? { kmes: [] };
        expect(kmes.map(({ kme, state }) => `${kme} ${state}`)).to.deep.equal([`${first} closed`, `${second} closed`]);
      });
    });
  }

  for (const [api, status] of [
    ['etsi014', 500],
    ['etsi014', 503],
    ['skip', 500],
    ['skip', 503],
  ] as const) {
    it(`the other side's key manager answers ${status} to everything over ${api}: as if it were lost`, async () => {
      const failing = await failingKme(status);
      try {
        const { first, second } = await start(api);
        await useUntilFrom(first);
        await wires.b.cut();
        await wires.b.mend(failing.address);
        await useUntilFrom(second);
        expect(failing.asked).to.be.above(2);
        const said = sites.serverLog.all('kme').find(({ state }) => state === 'unreachable');
        expect(said?.code).to.match(/^ERR_KDI_/);
      } finally {
        await failing.close();
      }
    });
  }

  it('by weight: both serve', async () => {
    const { first, second } = await start('etsi014', { kmeChoose: 'weighted' });
    await use();
    expect([first, second]).to.include(sites.client.keyReport().drawers[0]?.pool.kme);
  });
});
