/** What the matrix has no axis for, with Node's own TLS (of this runtime): ALPN, exporters, another version, refusals. */
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
import { createClientEngine, createServerEngine } from '../../tls-ext/index.ts';
import { Credentials, type LeafCredential } from './credentials.ts';
import { clientOptions, serverOptions } from './engine-options.ts';
import { connectEngine, type EngineServer, type EngineSocket, listenEngine } from './engine-socket.ts';

describe(`Node ${process.version} (OpenSSL ${process.versions.openssl})`, () => {
  let pki: Credentials;
  let certificate: LeafCredential;
  let ours: EngineSocket | undefined;
  let listener: EngineServer | undefined;
  let server: Server | undefined;
  let theirs: TLSSocket | undefined;

  before(async () => {
    pki = await Credentials.create();
    certificate = pki.leaf('ecdsa_secp256r1_sha256');
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
});
