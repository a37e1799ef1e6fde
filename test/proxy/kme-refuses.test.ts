/** A 004 key manager that answers, and opens no stream: the operator learns its reason, and what to do. */
import { connect } from 'node:net';
import { expect } from 'chai';
import { kmesAt, startKmes, type TestKmes } from './kmes.ts';
import { collect, startSites, TestApplication, type TwoSites } from './sites.ts';

const REFUSALS = [
  [4, 'ERR_KDI_NO_QKD_CONNECTION', /status 4: no QKD connection .*check both SAE IDs/],
  [6, 'ERR_KDI_KME_TIMEOUT', /status 6: time-out at the KME; .* set ksid: chosen/],
] as const;

describe('a key manager that opens no stream', () => {
  /** SAE whose OPEN_CONNECT is refused, and with what. */
  let refused: { readonly sae: string; readonly status: number } | undefined;
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites;

  beforeEach(async () => {
    application = await TestApplication.echo();
    kmes = await startKmes({
      etsi004Layer: (sae, handle) => async (request, dialect, signal) =>
        request.service === 'open-connect' && refused?.sae === sae
          ? { service: 'open-connect', status: refused.status }
          : handle(request, dialect, signal),
    });
    kmes.fill(4_096);
  });
  afterEach(async () => {
    await sites.close();
    await kmes.close();
    await application.close();
  });

  const start = async (): Promise<void> => {
    sites = await startSites({
      backend: application.address,
      client: kmesAt(kmes.urlA),
      server: kmesAt(kmes.urlB),
    });
  };
  const use = async () => {
    const before = sites.clientLog.all('connection').length;
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    return sites.clientLog.next('connection', () => true, before + 1);
  };

  for (const [status, code, why] of REFUSALS) {
    it(`with status ${status}, at the client: no empty pool, but a stream that is not there, and why`, async () => {
      refused = { sae: 'siteA', status };
      await start();
      const refusal = await sites.clientLog.next('kme');
      expect(refusal).to.include({ level: 'warn', state: 'refuses', code });
      expect(refusal.error).to.match(why);
      expect(await use()).to.include({ mode: 'pqc', reason: 'stream_opening' });
      const unavailable = await sites.clientLog.next('keys-unavailable');
      expect(unavailable).to.include({ reason: 'stream_opening', code });
      expect(unavailable.error).to.match(why);
      const pool = sites.client.keyReport().drawers[0]?.pool;
      expect(pool).to.include({ reason: 'stream_opening', lastErrorCode: code });
      expect(pool?.lastError).to.match(why);
      refused = undefined;
      expect(await sites.clientLog.next('kme', ({ state }) => state === 'reachable')).to.include({ level: 'info' });
      await sites.clientLog.next('keys-ready');
      expect(sites.clientLog.all('kme'), 'each is said once').to.have.length(2);
    });

    it(`with status ${status}, at the server: its log says why`, async () => {
      refused = { sae: 'siteB', status };
      await start();
      const refusal = await sites.serverLog.next('kme');
      expect(refusal).to.include({ level: 'warn', state: 'refuses', code });
      expect(refusal.error).to.match(why);
      refused = undefined;
      await sites.serverLog.next('kme', ({ state }) => state === 'reachable');
      await sites.serverLog.next('keys-ready');
      expect(sites.serverLog.all('kme'), 'each is said once').to.have.length(2);
    });
  }

  it('is not one that is gone: of that it is not said that it refuses', async () => {
    await start();
    await sites.clientLog.next('keys-ready');
    await kmes.a.close();
    for (let line = await use(); line.mode !== 'pqc'; line = await use());
    await sites.clientLog.next('kme', ({ state }) => state === 'unreachable');
    expect(sites.clientLog.all('kme').filter(({ state }) => state === 'refuses')).to.deep.equal([]);
  });
});
