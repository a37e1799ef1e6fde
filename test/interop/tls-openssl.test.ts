/** What the matrix has no axis for, with OpenSSL's own tools: ALPN, exporters, early data, other versions, refusals. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { createClientEngine, createServerEngine, NamedGroup } from '../../tls-ext/index.ts';
import { Credentials, type LeafCredential } from './credentials.ts';
import { clientOptions, serverOptions } from './engine-options.ts';
import { connectEngine, type EngineServer, type EngineSocket, listenEngine } from './engine-socket.ts';
import { PeerProcess, versionOf } from './peer-process.ts';

const version = versionOf('openssl', 'version');

(version === undefined ? describe.skip : describe)(`OpenSSL (${version ?? 'openssl is not installed'})`, () => {
  let pki: Credentials;
  let server: LeafCredential;
  let peer: PeerProcess | undefined;
  let ours: EngineSocket | undefined;
  let listener: EngineServer | undefined;

  before(async () => {
    pki = await Credentials.create();
    server = pki.leaf('ecdsa_secp256r1_sha256');
  });
  after(() => pki.remove());
  afterEach(async () => {
    ours?.destroy();
    listener?.close();
    await peer?.kill();
    ours = undefined;
    listener = undefined;
    peer = undefined;
  });

  describe('s_server, our client', () => {
    async function serve(...args: readonly string[]): Promise<number> {
      peer = new PeerProcess('openssl', ['s_server', '-accept', '127.0.0.1:0', '-tls1_3', ...args]);
      const [, port] = await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
      return Number(port);
    }
    const certificate = () => ['-cert', server.certPath, '-key', server.keyPath];

    async function connectTo(port: number, options: Parameters<typeof clientOptions>[0] = {}): Promise<EngineSocket> {
      ours = await connectEngine(port, createClientEngine(clientOptions(options)), { ca: pki.ca });
      return ours;
    }

    it('ALPN', async () => {
      const port = await serve(...certificate(), '-alpn', 'h2,http/1.1');
      const socket = await connectTo(port, { alpnProtocols: ['http/1.1', 'h2'] });
      expect((await socket.handshake()).alpnProtocol).to.equal('h2');
    });

    it('the same exporter', async () => {
      const port = await serve(...certificate(), '-keymatexport', 'EXPORTER-qstunnel', '-keymatexportlen', '20');
      const socket = await connectTo(port);
      await socket.handshake();
      const exported = socket.engine.exportKeyingMaterial('EXPORTER-qstunnel', new Uint8Array(0), 20);
      const match = await peer?.says(/Keying material: ([0-9A-F]{40})/);
      expect(match?.[1]?.toLowerCase()).to.equal(Buffer.from(exported).toString('hex'));
    });

    it('close_notify both ways', async () => {
      const socket = await connectTo(await serve(...certificate(), '-rev'));
      await socket.handshake();
      socket.send('abc\n');
      await socket.until(() => socket.text() === 'cba\n');
      socket.send('CLOSE\n');
      await socket.until(() => socket.peerClosed);
      socket.closeWrite();
      await socket.until(() => socket.ended);
      expect(socket.error).to.equal(undefined);
    });

    it('a server of TLS 1.2 is told protocol_version', async () => {
      peer = new PeerProcess('openssl', ['s_server', '-accept', '127.0.0.1:0', '-tls1_2', ...certificate()]);
      const [, port] = await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
      const socket = await connectTo(Number(port));
      const error = await socket.failure();
      // OpenSSL sees that we offer nothing but TLS 1.3 and is the first to say so.
      expect(error.alert).to.equal(70);
    });
  });

  describe('s_client, our server', () => {
    async function connect(
      options: Parameters<typeof serverOptions>[0],
      ...args: readonly string[]
    ): Promise<EngineSocket> {
      const all = serverOptions({ identity: server.identity, ...options });
      listener = await listenEngine(() => createServerEngine(all), {
        ca: pki.ca,
      });
      peer = new PeerProcess('openssl', ['s_client', '-connect', `127.0.0.1:${listener.port}`, ...args]);
      ours = await listener.accepted();
      return ours;
    }
    const verify = () => ['-CAfile', pki.caPath, '-verify_return_error', '-servername', 'localhost'];

    async function expectEcho(socket: EngineSocket): Promise<void> {
      peer?.write('from openssl to us\n');
      await socket.until(() => socket.text().includes('from openssl to us'));
      socket.send('from us to openssl\n');
      await peer?.says(/from us to openssl/);
    }

    for (const [name, groups] of [
      ['at once', 'X25519'],
      ['after HelloRetryRequest', 'P-256'],
    ] as const) {
      it(`early data for somebody else is passed over, ${name}`, async () => {
        const [sessionPath, dataPath] = [join(pki.folder, `${groups}.session`), join(pki.folder, 'early')];
        writeFileSync(dataPath, 'early bird');
        const other = new PeerProcess('openssl', [
          ...['s_server', '-accept', '127.0.0.1:0', '-tls1_3', '-early_data', '-cert', server.certPath],
          ...['-key', server.keyPath],
        ]);
        try {
          const [, port] = await other.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
          const args = ['-connect', `127.0.0.1:${port}`, '-sess_out', sessionPath, '-groups', 'X25519:P-256'];
          peer = new PeerProcess('openssl', ['s_client', ...args]);
          // Tickets come before the echo, so they are written when that is read.
          peer.write('there\n');
          await other.says(/there/);
          other.write('and back\n');
          await peer.says(/and back/);
          peer.write('Q\n');
          await peer.ends();
        } finally {
          await other.kill();
        }
        const socket = await connect(
          { groups: [groups === 'X25519' ? NamedGroup.x25519 : NamedGroup.secp256r1] },
          ...['-sess_in', sessionPath, '-early_data', dataPath, '-groups', 'X25519:P-256'],
        );
        expect((await socket.handshake()).psk).to.equal('none');
        await expectEcho(socket);
        await peer?.says(/Early data was rejected/);
        expect(socket.text()).not.to.include('early bird');
      });
    }

    it('ALPN and SNI', async () => {
      const socket = await connect({ alpnProtocols: ['b', 'a'] }, ...verify(), '-alpn', 'a,b');
      const summary = await socket.handshake();
      expect(summary.alpnProtocol).to.equal('b');
      expect(summary.serverName).to.equal('localhost');
    });

    it('close_notify both ways', async () => {
      const socket = await connect({}, ...verify());
      await socket.handshake();
      peer?.write('Q\n');
      await socket.until(() => socket.peerClosed);
      expect(socket.error).to.equal(undefined);
    });

    it('a client of TLS 1.2 is told protocol_version', async () => {
      const socket = await connect({}, '-tls1_2');
      const error = await socket.failure();
      expect(error.code).to.equal('ERR_TLS_PROTOCOL_VERSION');
      await peer?.says(/alert protocol version/);
    });

    it('a client without our CA is heard', async () => {
      const notACa = pki.leaf('ed25519').certPath;
      const socket = await connect({}, '-CAfile', notACa, '-verify_return_error');
      const error = await socket.failure();
      expect(error.code).to.equal('ERR_TLS_PEER_ALERT');
      expect(error.alert).to.equal(48);
    });
  });
});
