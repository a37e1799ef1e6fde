import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { startKmes, type TestKmes } from './kmes.ts';
import { startSites, TestApplication, type TwoSites } from './sites.ts';

describe('a tunnel with QKD keys', () => {
  let application: TestApplication;
  let kmes: TestKmes;
  let sites: TwoSites;

  const kmeAt = (url: string): Pick<ServiceConfig, 'kme'> => ({ kme: { url, ksid: 'allocated', openAs: 'same' } });

  beforeEach(async () => {
    application = await TestApplication.echo();
    kmes = await startKmes();
    kmes.fill(4_096);
    sites = await startSites({ backend: application.address, client: kmeAt(kmes.urlA), server: kmeAt(kmes.urlB) });
  });
  afterEach(async () => {
    await sites.close();
    await kmes.close();
    await application.close();
  });

  it('uses a key that was agreed beforehand, and both ends know which', async () => {
    await sites.clientLog.next('keys-ready');
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('with a key');
    expect((await buffer(socket)).toString()).to.equal('with a key');
    const atClient = await sites.clientLog.next('connection');
    const atServer = await sites.serverLog.next('connection');
    expect(atClient).to.include({ mode: 'qkd-and-pqc', keyId: atServer.keyId, fingerprint: atServer.fingerprint });
    expect(atServer.mode).to.equal('qkd-and-pqc');
    expect(atClient.keyId).to.match(/^etsi004:siteA:/);
  });
});
