import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { DEFAULT_LIMITS } from '../../proxy/tunnel/settings.ts';
import { MIB, randomStream, receive, send } from './random-stream.ts';
import { collect, type SiteSettings, startSites, TestApplication, type TwoSites } from './sites.ts';

describe('the data path', () => {
  let application: TestApplication;
  let sites: TwoSites;

  async function start(app: TestApplication, more: Partial<SiteSettings> = {}): Promise<void> {
    application = await app.listen();
    sites = await startSites({ backend: application.address, ...more });
  }

  function open(): Socket {
    const socket = connect({ ...sites.entrance, allowHalfOpen: true, noDelay: true });
    // What a test does not wait for must not end the process.
    socket.on('error', () => {});
    return socket;
  }

  afterEach(async () => {
    await sites.close();
    await application.close();
  });

  it('carries large data in both directions at once, every byte in its place', async function () {
    this.timeout(60_000);
    const size = 64 * MIB;
    const [up, down] = [randomStream(size), randomStream(size)];
    let receivedUp: Promise<void> | undefined;
    await start(
      new TestApplication((socket) => {
        receivedUp = receive(socket, up);
        send(socket, down);
      }),
    );
    const socket = open();
    send(socket, up);
    await receive(socket, down);
    await receivedUp;
    const line = await sites.serverLog.next('connection');
    expect(line).to.include({ bytesToPeer: size, bytesFromPeer: size }).and.not.have.property('code');
  });

  it('delivers single bytes as they come', async () => {
    await start(new TestApplication((socket) => socket.pipe(socket)));
    const socket = open();
    for (let i = 0; i < 200; i++) {
      socket.write(Uint8Array.of(i));
      const [echoed] = await once(socket, 'data');
      expect([...echoed]).to.deep.equal([i]);
    }
    socket.end();
    await once(socket, 'close');
  });

  it('keeps a half-close: the application answers after the end of the request', async () => {
    await start(
      new TestApplication((socket) => {
        collect(socket).then((request) => socket.end(`got ${request}`));
      }),
    );
    const socket = open();
    socket.end('request');
    expect((await collect(socket)).toString()).to.equal('got request');
  });

  it('keeps a half-close the other way: the client goes on sending after the application has ended', async () => {
    let received: Promise<Buffer> | undefined;
    await start(
      new TestApplication((socket) => {
        received = collect(socket);
        socket.end('bye');
      }),
    );
    const socket = open();
    expect((await collect(socket)).toString()).to.equal('bye');
    socket.end('still here');
    expect((await received)?.toString()).to.equal('still here');
    expect(await sites.serverLog.next('connection')).to.include({ bytesToPeer: 3, bytesFromPeer: 10 });
  });

  it('serves 100 connections at once, and no byte of one appears in another', async function () {
    this.timeout(60_000);
    await start(new TestApplication((socket) => socket.pipe(socket)));
    const rounds = 20;
    await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const socket = open();
        // Every byte says whose it is, and sizes differ so that chunks, records and batches do.
        const chunk = Buffer.alloc(1_000 + 977 * i, i);
        let received = 0;
        socket.on('data', (bytes: Buffer) => {
          received += bytes.length;
          if (!bytes.every((byte) => byte === i)) socket.destroy(new Error(`a foreign byte in connection ${i}`));
        });
        for (let round = 0; round < rounds; round++) socket.write(chunk);
        socket.end();
        await once(socket, 'end');
        expect(received).to.equal(rounds * chunk.length);
      }),
    );
    await sites.serverLog.next('connection', () => true, 100);
    const fingerprints = sites.serverLog.all('connection').map((line) => line.fingerprint);
    expect(new Set(fingerprints)).to.have.property('size', 100);
  });

  it('stops reading from a fast sender while the receiver is slow, and loses nothing', async function () {
    this.timeout(60_000);
    const accepted = new Promise<Socket>((resolve) => {
      application = new TestApplication((socket) => {
        socket.pause();
        resolve(socket);
      });
    });
    await start(application);
    const size = 64 * MIB;
    const data = randomStream(size);
    const socket = open();
    const sent = send(socket, data);
    const slow = await accepted;
    // With nobody reading, the sender is stopped by full buffers long before it is done.
    await untilStalled(socket);
    expect(socket.bytesWritten - socket.writableLength).to.be.lessThan(size / 2);
    slow.resume();
    await receive(slow, data);
    await sent;
    slow.end();
  });

  it('passes a reset on to the application behind the tunnel', async () => {
    const accepted = new Promise<Socket>((resolve) => {
      application = new TestApplication(resolve);
    });
    await start(application);
    const socket = open();
    socket.write('x');
    const atApplication = await accepted;
    await once(atApplication, 'data');
    const failed = once(atApplication, 'error');
    socket.resetAndDestroy();
    expect((await failed)[0]).to.have.property('code', 'ECONNRESET');
    expect(await sites.clientLog.next('connection')).to.include({ code: 'ERR_PROXY_APPLICATION_RESET' });
    expect(await sites.serverLog.next('connection')).to.include({
      code: 'ERR_TLS_PEER_ALERT',
      alert: 'internal_error',
    });
  });

  it('passes a reset of the application on to the client', async () => {
    await start(new TestApplication((socket) => socket.once('data', () => socket.resetAndDestroy())));
    const socket = open();
    socket.write('x');
    const [error] = await once(socket, 'error');
    expect(error).to.have.property('code', 'ECONNRESET');
    expect(await sites.serverLog.next('connection')).to.include({ level: 'info', code: 'ERR_PROXY_APPLICATION_RESET' });
  });

  it('ends in order towards the client when the application is down, and says so in the log', async () => {
    await start(new TestApplication(() => {}));
    await new Promise((resolve) => application.server.close(resolve));
    const socket = open();
    expect((await collect(socket)).length).to.equal(0);
    socket.destroy();
    const line = await sites.serverLog.next('connection');
    expect(line).to.include({ level: 'warn', code: 'ERR_PROXY_BACKEND_CONNECT', mode: 'pqc' });
    expect(line.error).to.match(/^no connection to the application: .*ECONNREFUSED/);
    expect((await sites.clientLog.next('connection')).code).to.equal(undefined);
    application = await TestApplication.echo();
  });

  it('closes what is idle for too long', async () => {
    const limits = { ...DEFAULT_LIMITS, idleTimeoutMs: 50 };
    await start(new TestApplication((socket) => socket.resume()), { server: { limits } });
    const socket = open();
    expect((await collect(socket)).length).to.equal(0);
    socket.destroy();
    expect(await sites.serverLog.next('connection')).to.include({ code: 'ERR_PROXY_IDLE_TIMEOUT' });
  });
});

/** Resolves when nothing more of what was written goes out. */
async function untilStalled(socket: Socket): Promise<void> {
  for (let before = -1, same = 0; same < 200; ) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = socket.bytesWritten - socket.writableLength;
    same = now === before && socket.writableLength > 0 ? same + 1 : 0;
    before = now;
  }
}
