/** Rekeying under load, as two processes: much data in both directions at once, many keys, and every byte compared. */
import { connect } from 'node:net';
import { expect } from 'chai';
import { startKmes, type TestKmes } from './kmes.ts';
import { type Program, Programs, SiteFolder } from './program.ts';
import { MIB, randomStream, receive, send } from './random-stream.ts';
import { TestApplication } from './sites.ts';

describe('rekeying under load, as two processes', function () {
  this.timeout(120_000);
  let folder: SiteFolder;
  let kmes: TestKmes;
  const programs = new Programs();

  before(async () => {
    folder = await SiteFolder.create();
    kmes = await startKmes();
  });
  after(async () => {
    await kmes.close();
    await folder.remove();
  });
  afterEach(() => programs.stopAll());

  const qstunnel = (...args: string[]) => programs.start(...args);

  const rekeysOf = (program: Program) =>
    program.lines.flatMap((line) =>
      line.event === 'rekeyed' && line.connectionId !== undefined ? [`${line.epoch} ${line.keyId ?? ''}`] : [],
    );

  /**
   * Up and down at once, at least so much, and until there were two rekeys: one takes as long as what is
   * buffered before its messages, so how much data that takes is up to the machine. What each end said of them.
   */
  async function transfer(size: number, withKeys: boolean) {
    const kme = (url: string) => (withKeys ? ['--kme', url, '--keys-ahead', '64'] : []);
    const rekeyedTwice = () => rekeysOf(client).length > 1 && rekeysOf(server).length > 1;
    const [up, down] = [randomStream(size, rekeyedTwice), randomStream(size, rekeyedTwice)];
    let receivedUp: Promise<void> | undefined;
    const application = await new TestApplication((socket) => {
      receivedUp = receive(socket, up);
      void send(socket, down);
    }).listen();
    const server = qstunnel(
      ...['server', '--accept', '127.0.0.1:0', '--connect', `127.0.0.1:${application.address.port}`],
      ...[...folder.options('b'), ...kme(kmes.urlB)],
    );
    const client = qstunnel(
      ...['client', '--accept', '127.0.0.1:0', '--connect', `127.0.0.1:${await server.port('server')}`],
      ...[...folder.options('a'), ...kme(kmes.urlA), '--rekey-after.bytes', '1MiB'],
    );
    const port = await client.port('client');
    if (withKeys) await client.next('keys-ready');
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    const sent = send(socket, up);
    await receive(socket, down);
    await Promise.all([sent, receivedUp]);
    const lines = { atClient: await client.next('connection'), atServer: await server.next('connection') };
    await application.close();
    return { ...lines, up, down, ofClient: rekeysOf(client), ofServer: rekeysOf(server) };
  }

  it('loses, repeats and reorders nothing, with QKD keys', async () => {
    kmes.fill(32_768);
    const { atClient, atServer, up, down, ofClient, ofServer } = await transfer(64 * MIB, true);
    expect(atClient).to.include({ bytesToPeer: up.sentBytes, bytesFromPeer: down.sentBytes });
    expect(atServer).to.include({ bytesToPeer: down.sentBytes, bytesFromPeer: up.sentBytes });
    for (const line of [atClient, atServer]) {
      expect(line).to.include({ mode: 'qkd-and-pqc', rekeys: ofClient.length }).and.not.have.any.keys('code', 'alert');
    }
    expect(ofServer, 'the same epochs with the same keys').to.deep.equal(ofClient);
    expect(ofClient.some((text) => text.includes('etsi004:'))).to.equal(true);
  });

  it('… and without any', async () => {
    const { atClient, up, down, ofClient, ofServer } = await transfer(16 * MIB, false);
    expect(atClient)
      .to.include({ bytesToPeer: up.sentBytes, bytesFromPeer: down.sentBytes, mode: 'pqc', rekeys: ofClient.length })
      .and.not.have.property('code');
    expect(ofServer).to.deep.equal(ofClient);
  });
});
