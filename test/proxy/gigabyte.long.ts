import { connect } from 'node:net';
import { expect } from 'chai';
import { MIB, randomStream, receive, send } from './random-stream.ts';
import { startSites, TestApplication } from './sites.ts';

describe('1 GiB in each direction at once', function () {
  this.timeout(300_000);

  it('arrives byte for byte, with half-closes in both orders', async () => {
    const size = 1024 * MIB;
    const [up, down] = [randomStream(size), randomStream(size)];
    let receivedUp: Promise<void> | undefined;
    const application = await new TestApplication((socket) => {
      receivedUp = receive(socket, up);
      void send(socket, down);
    }).listen();
    const sites = await startSites({ backend: application.address });
    const socket = connect({ ...sites.entrance, allowHalfOpen: true });
    const sent = send(socket, up);
    await receive(socket, down);
    await sent;
    await receivedUp;
    const line = await sites.serverLog.next('connection');
    expect(line).to.include({ bytesToPeer: size, bytesFromPeer: size }).and.not.have.property('code');
    await sites.close();
    await application.close();
  });
});
