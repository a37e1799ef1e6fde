/** A ledger that can't be written any more: no key is used, and the log says why, of the ledger and not of the key manager. */
import { connect } from 'node:net';
import { expect } from 'chai';
import { KdiError, KdiErrorCode, type SpentLedger } from '../../kdi-client/index.ts';
import { toldLedger } from '../../proxy/psk-resolver.ts';
import { startServices } from '../../proxy/services.ts';
import { kmesAt, startKmes } from './kmes.ts';
import { CapturedLog, collect, loadedService, TestApplication } from './sites.ts';

const diskFull: SpentLedger = {
  spend: () => Promise.reject(new KdiError(KdiErrorCode.ledger, 'no space is left')),
  close: async () => {},
};

describe('a ledger that fails', () => {
  it('is told of once, and again for another reason, and when it works again, but not when it is being closed', async () => {
    const { log, all } = captured();
    let problem: string | undefined = 'no space is left';
    const ledger = toldLedger(
      {
        spend: async (ids) => {
          if (problem !== undefined) throw new KdiError(KdiErrorCode.ledger, problem);
          return ids.map(() => true);
        },
        close: async () => {},
      },
      log,
    );
    const spend = () => ledger.spend([new Uint8Array(32)]);
    for (let i = 0; i < 3; i++) {
      const error = await spend().catch((reason) => reason);
      expect(error).to.include({ code: 'ERR_KDI_LEDGER' });
    }
    const failed = { level: 'error', state: 'failed', code: 'ERR_KDI_LEDGER' };
    expect(all()).to.have.length(1);
    expect(all()[0]).to.include({ ...failed, error: 'no space is left' });
    problem = 'it is in use';
    await spend().catch(() => {});
    problem = undefined;
    await spend();
    await spend();
    problem = 'it is in use';
    await spend().catch(() => {});
    expect(
      all()
        .slice(1)
        .map(({ state, error }) => [state, error]),
    ).to.deep.equal([
      ['failed', 'it is in use'],
      ['written', undefined],
      ['failed', 'it is in use'],
    ]);
    const closing = captured();
    const other = toldLedger(diskFull, closing.log);
    await other.close();
    await other.spend([new Uint8Array(32)]).catch(() => {});
    expect(closing.all()).to.deep.equal([]);
  });

  for (const side of ['client', 'server'] as const) {
    it(`at the ${side}: connections fall back, and no key manager is blamed in its log`, async () => {
      const kmes = await startKmes();
      kmes.fill(64 * 32);
      const application = await TestApplication.echo();
      const logs = { client: new CapturedLog(), server: new CapturedLog() };
      const run = async (mode: 'client' | 'server', to: { host: string; port: number }, url: string) => {
        const { log } = logs[mode];
        const ledger = mode === side ? { ledger: toldLedger(diskFull, log) } : {};
        return startServices([await loadedService({ mode, connect: to, ...kmesAt(url) })], { log, ...ledger });
      };
      const server = await run('server', application.address, kmes.urlB);
      const client = await run('client', server.tunnels[0]?.address as typeof application.address, kmes.urlA);
      await logs[side].next('ledger');
      const socket = connect({ ...(client.tunnels[0]?.address as typeof application.address), allowHalfOpen: true });
      socket.end('ping');
      expect((await collect(socket)).toString()).to.equal('ping');
      expect(await logs.client.next('connection')).to.include({ mode: 'pqc' });
      expect(logs[side].all('ledger')).to.have.length(1);
      expect(logs[side].all('kme').filter(({ state }) => state !== 'reachable')).to.deep.equal([]);
      await client.close();
      await server.close();
      await kmes.close();
      await application.close();
    });
  }
});

function captured() {
  const log = new CapturedLog();
  return { log: log.log, all: () => log.all('ledger') };
}
