import { connect } from 'node:net';
import { expect } from 'chai';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { type RunningProxy, startServices } from '../../proxy/services.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { CapturedLog, collect, loadedService, TestApplication } from './sites.ts';
import { Wire } from './wire.ts';

type Address = { host: string; port: number };

describe('keys shared by services', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  const ends: (() => Promise<unknown>)[] = [];

  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());
  beforeEach(async () => {
    kmes = await startKmes();
    kmes.fill(8_192);
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    await kmes.close();
  });

  async function run(mode: 'client' | 'server', services: readonly Partial<ServiceConfig>[]) {
    const log = new CapturedLog();
    const url = mode === 'client' ? kmes.urlA : kmes.urlB;
    const loaded = await Promise.all(
      services.map((one, i) =>
        loadedService({ mode, connect: application.address, ...kmesAt(url), name: `service${i}`, ...one }),
      ),
    );
    const proxy: RunningProxy = await startServices(loaded, { log: log.log });
    ends.push(() => proxy.close());
    return { proxy, log, ports: proxy.tunnels.map(({ address }) => address as Address) };
  }

  async function use(entrance: Address, log: CapturedLog) {
    const before = log.all('connection').length;
    const socket = connect({ ...entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return await log.next('connection', () => true, before + 1);
  }

  it('two addresses of one process of the peer share one pool', async () => {
    const server = await run('server', [{}, {}]);
    const [first, second] = server.ports as [Address, Address];
    const client = await run('client', [{ connect: first }, { connect: second, keysAhead: 6 }]);
    for (const { port } of [first, second]) {
      await client.log.next('keys-ready', ({ address }) => address === `127.0.0.1:${port}`);
    }
    const { drawers } = client.proxy.keyReport();
    expect(drawers).to.have.length(1);
    expect(drawers[0]?.addresses).to.have.members([first, second].map(({ port }) => `127.0.0.1:${port}`));
    expect(drawers[0]?.pool.highWatermark, 'the most that one asks for').to.equal(6);
    const [one, other] = client.ports as [Address, Address];
    const [a, b] = [await use(one, client.log), await use(other, client.log)];
    expect([a.mode, b.mode]).to.deep.equal(['qkd-and-pqc', 'qkd-and-pqc']);
    expect(a.keyId?.split(':')[2], 'one key stream').to.equal(b.keyId?.split(':')[2]);
    const { answerers } = server.proxy.keyReport();
    expect(answerers).to.have.length(1);
    expect(answerers[0]?.store.totals.burnt).to.equal(2);
  });

  it('when the connection to one address is lost, the one to the other carries the key channel on', async function () {
    this.timeout(60_000);
    const server = await run('server', [{}, {}]);
    const wires = await Promise.all(server.ports.map((port) => Wire.to(port)));
    ends.push(() => Promise.all(wires.map((wire) => wire.cut())));
    const client = await run(
      'client',
      wires.map(({ address }) => ({ connect: address })),
    );
    for (const { address } of wires) {
      await client.log.next('keys-ready', (line) => line.address === `127.0.0.1:${address.port}`);
    }
    const keyIds = new Set<string | undefined>();
    // Whichever of the two carries it: each is cut once, and then more keys are used than were agreed before.
    for (const [i, wire] of wires.entries()) {
      await wire.cut();
      await client.log.next('key-channel', ({ state }) => state === 'down', i + 1);
      const entrance = client.ports[1 - i] as Address;
      while (keyIds.size < 12 * (i + 1)) {
        const { mode, keyId } = await use(entrance, client.log);
        if (mode === 'qkd-and-pqc') keyIds.add(keyId);
      }
      await wire.mend();
      await client.log.next('key-channel', ({ state }) => state === 'up', i + 3);
    }
    const streams = new Set([...keyIds].map((keyId) => keyId?.split(':')[2]));
    expect(streams.size, 'the same key stream went on').to.equal(1);
  });

  it('two processes of a peer have a pool each: a key is offered only where it was announced', async () => {
    const servers = [await run('server', [{}]), await run('server', [{}])] as const;
    const addresses = servers.map(({ ports }) => ports[0] as Address);
    const client = await run(
      'client',
      addresses.map((address) => ({ connect: address })),
    );
    for (const { port } of addresses) {
      await client.log.next('keys-ready', ({ address }) => address === `127.0.0.1:${port}`);
    }
    expect(client.proxy.keyReport().drawers).to.have.length(2);
    const lines = [];
    for (const port of [...client.ports, ...client.ports]) lines.push(await use(port, client.log));
    expect(lines.map(({ mode }) => mode)).to.deep.equal(Array(4).fill('qkd-and-pqc'));
    const streams = lines.map(({ keyId }) => keyId?.split(':')[2]);
    expect(streams[0]).to.equal(streams[2]).and.not.to.equal(streams[1]);
    expect(servers.map(({ log }) => log.all('fallback'))).to.deep.equal([[], []]);
  });

  it('a restart behind both addresses: both lead to the new process, and to one pool again', async function () {
    this.timeout(30_000);
    const server = await run('server', [{}, {}]);
    const client = await run(
      'client',
      server.ports.map((address) => ({ connect: address })),
    );
    await client.log.next('keys-ready', () => true, 2);
    const before = await use(client.ports[0] as Address, client.log);
    await server.proxy.close();
    const again = await run(
      'server',
      server.ports.map((accept) => ({ accept })),
    );
    await client.log.next('key-channel', ({ state }) => state === 'up', 4);
    await again.log.next('keys-ready');
    for (const entrance of client.ports) {
      let line = await use(entrance, client.log);
      while (line.mode !== 'qkd-and-pqc') line = await use(entrance, client.log);
      expect(line.keyId?.split(':')[2]).not.to.equal(before.keyId?.split(':')[2]);
    }
    const { drawers } = client.proxy.keyReport();
    expect(drawers.map(({ addresses }) => addresses.length)).to.deep.equal([2]);
  });

  describe('and what they say differently', () => {
    it('of a key is judged for each: simulated keys off loopback', async () => {
      const server = await run('server', [{}]);
      const { port } = server.ports[0] as Address;
      // Linux takes 0.0.0.0 for this machine, but by its name it could be any.
      const off = { connect: { host: '0.0.0.0', port } };
      const client = await run('client', [off, { ...off, unsafeAllowSimulated: true }]);
      await client.log.next('keys-ready');
      expect(client.proxy.keyReport().drawers).to.have.length(1);
      const [strict, lenient] = client.ports as [Address, Address];
      expect(await use(strict, client.log)).to.include({ mode: 'pqc', reason: 'policy' });
      expect(await use(lenient, client.log)).to.include({ mode: 'qkd-and-pqc', simulated: true });
      expect(await use(strict, client.log)).to.include({ mode: 'pqc', reason: 'policy' });
    });

    const differing: readonly [string, (config: ServiceConfig) => Partial<ServiceConfig>][] = [
      [
        'key manager settings',
        ({ kmes }) => ({ kmes: kmes.map((kme) => ({ ...kme, settings: { etsi004: { ksid: 'chosen' } } })) }),
      ],
      ['key-ttl', () => ({ keyTtlMs: 60_000 })],
    ];
    for (const [what, change] of differing) {
      it(`of the keys gives each a pool of its own: ${what}`, async () => {
        const server = await run('server', [{}]);
        const [address] = server.ports as [Address];
        const plain = { connect: address, ...kmesAt(kmes.urlA) };
        const { config } = await loadedService({ mode: 'client', ...plain });
        const client = await run('client', [plain, { ...plain, ...change(config) }]);
        await client.log.next('keys-ready', () => true, 2);
        expect(client.proxy.keyReport().drawers).to.have.length(2);
        for (const entrance of client.ports) {
          expect((await use(entrance, client.log)).mode).to.equal('qkd-and-pqc');
        }
      });
    }

    it('of the channel gives each a channel of its own, to the same keys: verify-host', async () => {
      const server = await run('server', [{}]);
      const [address] = server.ports as [Address];
      const client = await run('client', [{ connect: address }, { connect: address, verifyHost: 'wrong.example' }]);
      await client.log.next('keys-ready');
      const refused = await client.log.next('key-channel', ({ state }) => state === 'down');
      expect(refused.code).to.match(/^ERR_/);
      expect((await use(client.ports[0] as Address, client.log)).mode).to.equal('qkd-and-pqc');
    });
  });
});
