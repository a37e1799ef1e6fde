import { connect } from 'node:net';
import { expect } from 'chai';
import type { KdiApi } from '../../kdi-client/index.ts';
import type { KmeConfig } from '../../proxy/config/index.ts';
import { startServices } from '../../proxy/services.ts';
import type { KmeSettings } from '../../qkd-sim/kme/index.ts';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { CapturedLog, collect, fastClock, loadedService, startSites, TestApplication, type TwoSites } from './sites.ts';

/** Key for this many keys of 32 bytes in each direction. */
const keys = (count: number) => 64 * count;

describe('a tunnel with keys over', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites | undefined;

  before(async () => {
    application = await TestApplication.echo();
  });
  after(() => application.close());
  afterEach(async () => {
    await sites?.close();
    sites = undefined;
    await kmes.close();
  });

  async function start(
    api: KdiApi,
    options: { kmes?: KmeSettings; quirks?: KmeConfig['settings']; faster?: number } = {},
  ) {
    kmes = await startKmes({ settings: options.kmes ?? {} });
    const at = (end: 'a' | 'b') => {
      const { kmes: list } = kmesAt(kmes.url(end, api));
      return { kmes: list.map((kme) => ({ ...kme, settings: { ...kme.settings, ...options.quirks } })) };
    };
    return {
      sites: async () => {
        sites = await startSites({
          backend: application.address,
          client: at('a'),
          server: at('b'),
          ...(options.faster === undefined ? {} : { clock: fastClock(options.faster) }),
        });
        return sites;
      },
      at,
    };
  }

  /** One connection of an application, and both ends' lines about it. */
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

  async function useUntil(running: TwoSites, outcome: string) {
    for (;;) {
      const lines = await use(running);
      if (lines.atClient.mode === outcome || lines.atClient.reason === outcome) return lines;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  for (const api of ['etsi014', 'skip'] as const) {
    describe(api, () => {
      it('uses agreed keys, each once, and says at both ends why there are no more', async () => {
        const { sites: run } = await start(api);
        kmes.fill(keys(6));
        const running = await run();
        await running.clientLog.next('keys-ready');
        const keyIds = new Set<string | undefined>();
        let last = await use(running);
        for (; last.atClient.mode === 'qkd-and-pqc'; last = await use(running)) {
          expect(last.atClient.keyId).to.match(new RegExp(`^${api}:siteA:[0-9a-f-]{32,36}$`));
          expect(last.atServer.keyId).to.equal(last.atClient.keyId);
          keyIds.add(last.atClient.keyId);
        }
        expect(keyIds.size).to.be.within(1, 6);
        expect(last.atClient).to.include({ mode: 'pqc', reason: 'pool_empty' });
        expect(last.atServer).to.include({ mode: 'pqc', reason: 'pool_empty' });
        kmes.fill(keys(2));
        const healed = await useUntil(running, 'qkd-and-pqc');
        expect(keyIds.has(healed.atClient.keyId)).to.equal(false);
      });

      it('different keys at the two ends are found before use, and mended with a fresh batch', async () => {
        const { sites: run } = await start(api);
        kmes.fillUnequal(keys(1));
        const running = await run();
        const atClient = await running.clientLog.next('key-mismatch');
        const atServer = await running.serverLog.next('key-mismatch');
        expect(atClient).to.include({ level: 'error', peer: 'siteB', peerKme: atServer.kme });
        expect(atServer).to.include({ level: 'error', peer: 'siteA', peerKme: atClient.kme });
        expect((await use(running)).atClient).to.include({ mode: 'pqc', reason: 'key_mismatch' });
        kmes.fill(keys(8));
        await useUntil(running, 'qkd-and-pqc');
      });

      it('key managers of two links: both ends say that one does not have what the other gave out', async () => {
        const { at } = await start(api);
        kmes.fill(keys(8));
        const others = await startKmes();
        others.fill(keys(8));
        sites = await startSites({
          backend: application.address,
          client: at('a'),
          server: kmesAt(others.url('b', api)),
          clock: fastClock(20),
        });
        const atServer = await sites.serverLog.next('key-not-found');
        const atClient = await sites.clientLog.next('key-not-found');
        expect(atServer).to.include({ level: 'warn', role: 'answerer', peer: 'siteA', code: 'ERR_KDI_KEY_NOT_FOUND' });
        expect(atServer.message).to.match(/^our key manager does not have a key that the peer's gave out; if it lasts/);
        expect(atClient).to.include({ level: 'warn', role: 'drawer', peer: 'siteB', keyId: atServer.keyId });
        expect(atClient.message).to.match(
          /^the peer did not get a key that our key manager gave out: see its log; if it lasts/,
        );
        expect((await use(sites)).atClient).to.include({ mode: 'pqc' });
        await sites.close();
        sites = undefined;
        await others.close();
      });

      it('a restart of the server proxy: its keys are given up, and new ones agreed', async function () {
        this.timeout(30_000);
        const { sites: run, at } = await start(api);
        kmes.fill(keys(64));
        const running = await run();
        await running.clientLog.next('keys-ready');
        await running.server.close();
        const log = new CapturedLog();
        const again = { mode: 'server', accept: running.tunnelPort, connect: application.address } as const;
        const server = await startServices([await loadedService({ ...again, ...at('b') })], { log: log.log });
        await log.next('keys-ready');
        const used = await useUntil({ ...running, serverLog: log }, 'qkd-and-pqc');
        expect(used.atServer).to.include({ mode: 'qkd-and-pqc', keyId: used.atClient.keyId });
        await server.close();
      });

      it('three mismatches in a row put the key manager under quarantine, until a probe agrees', async function () {
        this.timeout(40_000);
        const { sites: run } = await start(api, { faster: 5 });
        const running = await run();
        for (let i = 1; i <= 3; i++) {
          kmes.fillUnequal(keys(1));
          await running.clientLog.next('key-mismatch', () => true, i);
        }
        await running.clientLog.next('kme', ({ state }) => state === 'quarantined');
        kmes.fill(keys(8));
        await running.clientLog.next('keys-ready');
        await useUntil(running, 'qkd-and-pqc');
      });
    });
  }

  describe('etsi014, from a key manager that', () => {
    async function worksWith(quirk: NonNullable<KmeSettings['quirks']>['etsi014'], quirks: KmeConfig['settings']) {
      const { sites: run } = await start('etsi014', { kmes: { quirks: { etsi014: quirk ?? {} } }, quirks });
      kmes.fill(keys(12));
      const running = await run();
      await running.clientLog.next('keys-ready');
      for (let i = 0; i < 6; i++) await useUntil(running, 'qkd-and-pqc');
      return running;
    }

    it('counts sizes in bytes: key-size-in-bytes', async () => {
      await worksWith({ keySizeInBytes: true }, { etsi014: { quirks: { keySizeInBytes: true } } });
    });

    it('counts sizes in bytes, and nobody said so: the log names the option', async () => {
      const quirks = { etsi014: { keySizeInBytes: true } };
      const { sites: run } = await start('etsi014', {
        kmes: { quirks, etsi014: { minKeySizeBits: 256, maxKeySizeBits: 256 } },
      });
      const problem = await (await run()).clientLog.next('kme');
      expect(problem).to.include({ state: 'unreachable', code: 'ERR_KDI_UNSUPPORTED' });
      expect(problem.error).to.include('set key-size-in-bytes');
    });

    it('drops what is not fetched: one-batch-at-a-time', async () => {
      const running = await worksWith({ dropsUnfetched: true }, { etsi014: { quirks: { oneBatchAtATime: true } } });
      expect(running.clientLog.all('fallback').filter(({ reason }) => reason === 'peer_kme_unreachable')).to.deep.equal(
        [],
      );
    });

    it('delivers late, and answers 404 for a key that is not there yet: retried until it is', async () => {
      await worksWith(
        { deliveryDelayMs: 200, unknownKeyStatus: 404 },
        { etsi014: { quirks: { unknownKeyStatuses: [404] } } },
      );
    });

    it('delivers late: min-key-age waits for it', async () => {
      const running = await worksWith({ deliveryDelayMs: 100 }, { etsi014: { quirks: { minKeyAgeMs: 150 } } });
      expect(running.serverLog.all('kme')).to.deep.equal([]);
    });
  });
});
