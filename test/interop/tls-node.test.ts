/** Node's own TLS (of this runtime), and curl, against both ends of ours. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  connect,
  createServer,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { expect } from 'chai';
import { createClientEngine, createServerEngine, NamedGroup } from '../../tls-ext/index.ts';
import { clientOptions, serverOptions } from './engine-options.ts';
import { connectEngine, type EngineServer, type EngineSocket, listenEngine } from './engine-socket.ts';
import { PeerProcess, versionOf } from './peer-process.ts';
import { type TestCertificate, TestPki } from './test-pki.ts';

const BULK_BYTES = 4 * 1024 * 1024;
const hasHybrid = Number(process.versions.openssl.split('.').slice(0, 2).join('.')) >= 3.5;
const curlVersion = versionOf('curl', '--version');

describe(`Node ${process.version} (OpenSSL ${process.versions.openssl})`, () => {
  let pki: TestPki;
  let certificate: TestCertificate;
  let client: TestCertificate;
  let ours: EngineSocket | undefined;
  let listener: EngineServer | undefined;
  let server: Server | undefined;
  let theirs: TLSSocket | undefined;

  before(() => {
    pki = new TestPki();
    certificate = pki.issue('server');
    client = pki.issue('client');
  });
  after(() => pki.remove());
  afterEach(() => {
    ours?.destroy();
    listener?.close();
    theirs?.destroy();
    server?.close();
    ours = listener = theirs = server = undefined;
  });

  async function serve(options: TlsOptions = {}): Promise<number> {
    server = createServer({ cert: certificate.cert, key: certificate.key, ...options });
    server.on('secureConnection', (socket) => {
      theirs = socket;
      socket.on('error', () => {});
    });
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  async function connectOurs(port: number, options: Parameters<typeof clientOptions>[0] = {}): Promise<EngineSocket> {
    ours = await connectEngine(port, createClientEngine(clientOptions(options)), { ca: pki.ca });
    return ours;
  }

  async function listen(options: Parameters<typeof serverOptions>[0] = {}): Promise<number> {
    const all = serverOptions({ identity: certificate.identity, ...options });
    listener = await listenEngine(() => createServerEngine(all), { ca: pki.ca });
    return listener.port;
  }

  async function connectTheirs(
    port: number,
    options: SecureContextOptions & { ALPNProtocols?: string[] } = {},
  ): Promise<TLSSocket> {
    theirs = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: pki.ca, ...options });
    theirs.on('error', () => {});
    ours = await listener?.accepted();
    await once(theirs, 'secureConnect');
    return theirs;
  }

  it('our client gets all of a large answer, and sends as much', async () => {
    const data = randomBytes(BULK_BYTES);
    const port = await serve();
    const socket = await connectOurs(port);
    await socket.handshake();
    socket.send('go');
    const [peer] = (theirs ? [theirs] : await once(server as Server, 'secureConnection')) as [TLSSocket];
    const received: Buffer[] = [];
    const ended = new Promise((resolve) => peer.on('end', resolve));
    peer.on('data', (chunk: Buffer) => received.push(chunk));
    peer.write(data);
    for (let at = 0; at < data.length; at += 100_000) socket.send(data.subarray(at, at + 100_000));
    await socket.until(() => socket.receivedBytes === data.length);
    expect(socket.bytes().equals(data)).to.equal(true);
    socket.closeWrite();
    await ended;
    expect(Buffer.concat(received).equals(Buffer.concat([Buffer.from('go'), data]))).to.equal(true);
  });

  it('our server gets all of a large request, and sends as much in place', async () => {
    const data = randomBytes(BULK_BYTES);
    const peer = await connectTheirs(await listen());
    const socket = ours as EngineSocket;
    await socket.handshake();
    const received: Buffer[] = [];
    const ended = new Promise((resolve) => peer.on('end', resolve));
    peer.on('data', (chunk: Buffer) => received.push(chunk));
    peer.write(data);
    socket.send(data);
    await socket.until(() => socket.receivedBytes === data.length);
    expect(socket.bytes().equals(data)).to.equal(true);
    socket.closeWrite();
    await ended;
    expect(Buffer.concat(received).equals(data)).to.equal(true);
  });

  it('our client shows its certificate', async () => {
    const port = await serve({ requestCert: true, rejectUnauthorized: true, ca: pki.ca });
    const socket = await connectOurs(port, { identity: client.identity });
    await socket.handshake();
    socket.send('x');
    if (theirs === undefined) await once(server as Server, 'secureConnection');
    expect(theirs?.authorized).to.equal(true);
    expect(theirs?.getPeerCertificate().subject.CN).to.equal('client');
  });

  it('our server asks for a certificate', async () => {
    const port = await listen({ requestClientCertificate: true });
    await connectTheirs(port, { cert: client.cert, key: client.key });
    expect((await (ours as EngineSocket).handshake()).peerCertificate).to.equal(true);
  });

  it('our server refuses a client without one', async () => {
    await connectTheirs(await listen({ requestClientCertificate: true }));
    expect((await (ours as EngineSocket).failure()).code).to.equal('ERR_TLS_CERTIFICATE_REQUIRED');
  });

  it('ALPN with our client', async () => {
    const socket = await connectOurs(await serve({ ALPNProtocols: ['h2'] }), { alpnProtocols: ['http/1.1', 'h2'] });
    expect((await socket.handshake()).alpnProtocol).to.equal('h2');
  });

  it('ALPN with our server', async () => {
    const peer = await connectTheirs(await listen({ alpnProtocols: ['http/1.1'] }), { ALPNProtocols: ['http/1.1'] });
    expect(peer.alpnProtocol).to.equal('http/1.1');
  });

  it('the same exporter', async () => {
    const peer = await connectTheirs(await listen());
    const socket = ours as EngineSocket;
    await socket.handshake();
    const context = Buffer.from('context');
    expect(Buffer.from(socket.engine.exportKeyingMaterial('EXPORTER-qstunnel', context, 40)).toString('hex')).to.equal(
      peer.exportKeyingMaterial(40, 'EXPORTER-qstunnel', context).toString('hex'),
    );
  });

  it('a server of TLS 1.2 only', async () => {
    const socket = await connectOurs(await serve({ maxVersion: 'TLSv1.2' }));
    expect((await socket.failure()).alert).to.equal(70);
  });

  const hybrid = hasHybrid ? it : it.skip;
  hybrid(`X25519MLKEM768 with our client${hasHybrid ? '' : ' (this runtime has no ML-KEM in its TLS)'}`, async () => {
    const socket = await connectOurs(await serve({ ecdhCurve: 'X25519MLKEM768' }));
    expect((await socket.handshake()).group).to.equal(NamedGroup.x25519MlKem768);
  });
  hybrid(`X25519MLKEM768 with our server${hasHybrid ? '' : ' (this runtime has no ML-KEM in its TLS)'}`, async () => {
    await connectTheirs(await listen({ groups: [NamedGroup.x25519MlKem768] }), { ecdhCurve: 'X25519MLKEM768' });
    expect((await (ours as EngineSocket).handshake()).group).to.equal(NamedGroup.x25519MlKem768);
  });

  (curlVersion === undefined ? it.skip : it)(`curl (${curlVersion ?? 'not installed'})`, async () => {
    const port = await listen({ alpnProtocols: ['http/1.1'] });
    const curl = new PeerProcess('curl', [
      ...['--silent', '--show-error', '--cacert', pki.caPath, '--noproxy', '*', `https://127.0.0.1:${port}/hello`],
    ]);
    try {
      const socket = await (listener as EngineServer).accepted();
      await socket.until(() => socket.text().includes('\r\n\r\n'));
      expect(socket.text()).to.match(/^GET \/hello HTTP\/1\.1\r\n/);
      socket.send('HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nquantumsafe');
      socket.closeWrite();
      await curl.ends();
      expect(curl.output).to.equal('quantumsafe');
    } finally {
      await curl.kill();
    }
  });
});
