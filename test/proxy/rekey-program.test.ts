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

  /** As much up as down, at once. What each end said of its rekeys. */
  async function transfer(size: number, withKeys: boolean) {
    const kme = (url: string) => (withKeys ? ['--kme', url, '--keys-ahead', '64'] : []);
    const [up, down] = [randomStream(size), randomStream(size)];
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
    const rekeyed = (program: Program) =>
      program.lines.flatMap((line) =>
        line.event === 'rekeyed' && line.connectionId !== undefined ? [`${line.epoch} ${line.keyId ?? ''}`] : [],
      );
    return { ...lines, ofClient: rekeyed(client), ofServer: rekeyed(server) };
  }

  it('loses, repeats and reorders nothing, with QKD keys', async () => {
    const size = 64 * MIB;
    kmes.fill(32_768);
    const { atClient, atServer, ofClient, ofServer } = await transfer(size, true);
    for (const line of [atClient, atServer]) {
      expect(line).to.include({ bytesToPeer: size, bytesFromPeer: size, mode: 'qkd-and-pqc' });
      expect(line).not.to.have.any.keys('code', 'alert');
      // A rekey takes as long as what is buffered before its messages: how many there are is up to the machine.
      expect(line.rekeys).to.be.greaterThan(1);
    }
    expect(ofServer, 'the same epochs with the same keys').to.deep.equal(ofClient);
    expect(ofClient.some((text) => text.includes('etsi004:'))).to.equal(true);
  });

  it('… and without any', async () => {
    const size = 16 * MIB;
    const { atClient, ofClient, ofServer } = await transfer(size, false);
    expect(atClient).to.include({ bytesToPeer: size, bytesFromPeer: size, mode: 'pqc' }).and.not.have.property('code');
    expect(atClient.rekeys).to.be.greaterThan(1);
    expect(ofServer).to.deep.equal(ofClient);
  });
});
