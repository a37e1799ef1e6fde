import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { startSites, TestApplication, type TwoSites } from './sites.ts';

describe('a tunnel between two proxies', () => {
  let application: TestApplication;
  let sites: TwoSites;

  beforeEach(async () => {
    application = await TestApplication.echo();
    sites = await startSites({ backend: application.address });
  });
  afterEach(async () => {
    await sites.close();
    await application.close();
  });

  it('carries bytes both ways, and both ends log the same connection', async () => {
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    socket.end('hello through the tunnel');
    expect((await buffer(socket)).toString()).to.equal('hello through the tunnel');
    const atClient = await sites.clientLog.next('connection');
    const atServer = await sites.serverLog.next('connection');
    expect(atClient).to.include({
      mode: 'pqc',
      group: 'X25519MLKEM768',
      cipher: 'TLS_AES_256_GCM_SHA384',
      peer: 'siteB',
      reason: 'policy',
    });
    expect(atServer).to.include({ mode: 'pqc', peer: 'siteA', reason: 'policy', bytesToPeer: 24, bytesFromPeer: 24 });
    expect(atClient.fingerprint)
      .to.match(/^[0-9a-f]{16}$/)
      .and.to.equal(atServer.fingerprint);
  });
});
