/** OpenSSL's own tools (3.0 of the distribution) against both ends of ours. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { CipherSuite, createClientEngine, createServerEngine, NamedGroup, SecretBytes } from '../../tls-ext/index.ts';
import { clientOptions, serverOptions } from './engine-options.ts';
import { connectEngine, type EngineServer, type EngineSocket, listenEngine } from './engine-socket.ts';
import { PeerProcess, versionOf } from './peer-process.ts';
import { type KeyKind, type TestCertificate, TestPki } from './test-pki.ts';

const version = versionOf('openssl', 'version');
const classical = [NamedGroup.x25519, NamedGroup.secp256r1];
const pskHex = 'ab'.repeat(32);
const plainPsk = () =>
  ({
    kind: 'plain',
    identity: new TextEncoder().encode('Client_identity'),
    secret: new SecretBytes(new Uint8Array(32).fill(0xab)),
  }) as const;
const keyKinds: readonly KeyKind[] = ['P-256', 'P-384', 'ed25519', 'rsa'];
const groupNames: Readonly<Record<string, number>> = {
  X25519: NamedGroup.x25519,
  'P-256': NamedGroup.secp256r1,
  'P-384': NamedGroup.secp384r1,
};
const suiteNames: Readonly<Record<string, number>> = {
  TLS_AES_256_GCM_SHA384: CipherSuite.aes256GcmSha384,
  TLS_AES_128_GCM_SHA256: CipherSuite.aes128GcmSha256,
  TLS_CHACHA20_POLY1305_SHA256: CipherSuite.chacha20Poly1305Sha256,
};

(version === undefined ? describe.skip : describe)(`OpenSSL (${version ?? 'openssl is not installed'})`, () => {
  let pki: TestPki;
  let server: TestCertificate;
  let peer: PeerProcess | undefined;
  let ours: EngineSocket | undefined;
  let listener: EngineServer | undefined;

  before(() => {
    pki = new TestPki();
    server = pki.issue('server');
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

    async function expectEcho(socket: EngineSocket): Promise<void> {
      socket.send('from us to openssl\n');
      await peer?.says(/from us to openssl/);
      peer?.write('from openssl to us\n');
      await socket.until(() => socket.text().includes('from openssl to us'));
    }

    for (const [name, group] of Object.entries(groupNames)) {
      it(`group ${name}`, async () => {
        const port = await serve(...certificate(), '-groups', name);
        const socket = await connectTo(port, { groups: [group] });
        expect((await socket.handshake()).group).to.equal(group);
        await expectEcho(socket);
      });
    }

    for (const [name, cipherSuite] of Object.entries(suiteNames)) {
      it(`suite ${name}`, async () => {
        const port = await serve(...certificate(), '-ciphersuites', name);
        const socket = await connectTo(port);
        expect((await socket.handshake()).cipherSuite).to.equal(cipherSuite);
        await expectEcho(socket);
      });
    }

    for (const kind of keyKinds) {
      it(`a server certificate of ${kind}`, async () => {
        const { certPath, keyPath } = pki.issue(`server-${kind}`, kind);
        const socket = await connectTo(await serve('-cert', certPath, '-key', keyPath));
        expect((await socket.handshake()).peerCertificate).to.equal(true);
        await expectEcho(socket);
      });

      it(`our client certificate of ${kind}`, async () => {
        const { identity } = pki.issue(`client-${kind}`, kind);
        const port = await serve(...certificate(), '-Verify', '2', '-verify_return_error', '-CAfile', pki.caPath);
        const socket = await connectTo(port, { identity });
        await socket.handshake();
        await expectEcho(socket);
        await peer?.says(/subject=CN = client-/);
      });
    }

    it('HelloRetryRequest', async () => {
      const port = await serve(...certificate(), '-groups', 'P-256');
      const socket = await connectTo(port);
      expect((await socket.handshake()).helloRetryRequest).to.equal(true);
      await expectEcho(socket);
    });

    it('plain PSK', async () => {
      const port = await serve('-nocert', '-psk', pskHex);
      const socket = await connectTo(port, { auth: 'psk', psk: plainPsk() });
      expect((await socket.handshake()).psk).to.equal('plain');
      await expectEcho(socket);
    });

    it('ALPN', async () => {
      const port = await serve(...certificate(), '-alpn', 'h2,http/1.1');
      const socket = await connectTo(port, { alpnProtocols: ['http/1.1', 'h2'] });
      expect((await socket.handshake()).alpnProtocol).to.equal('h2');
    });

    it('KeyUpdate, asked for and answered', async () => {
      const socket = await connectTo(await serve(...certificate()));
      await socket.handshake();
      await expectEcho(socket);
      for (let updates = 0; updates < 2; updates++) {
        const { writes } = socket;
        peer?.write('K\n');
        // Our own KeyUpdate. Only then the next: s_server looks for a command at the start of what it reads.
        await socket.until(() => socket.writes > writes);
      }
      peer?.write('after two updates\n');
      await socket.until(() => socket.text().includes('after two updates'));
      socket.send('and under our new keys\n');
      await peer?.says(/and under our new keys/);
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
        psk: () => ({ action: 'use', psk: plainPsk() }),
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

    for (const [name, group] of Object.entries(groupNames)) {
      it(`group ${name}`, async () => {
        const socket = await connect({ groups: [group] }, ...verify(), '-groups', name);
        expect((await socket.handshake()).group).to.equal(group);
        await expectEcho(socket);
        await peer?.says(/Verify return code: 0 \(ok\)/);
      });
    }

    for (const [name, cipherSuite] of Object.entries(suiteNames)) {
      it(`suite ${name}`, async () => {
        const socket = await connect({}, ...verify(), '-ciphersuites', name);
        expect((await socket.handshake()).cipherSuite).to.equal(cipherSuite);
        await expectEcho(socket);
      });
    }

    for (const kind of keyKinds) {
      it(`our certificate of ${kind}`, async () => {
        const { identity } = pki.issue(`our-server-${kind}`, kind);
        const socket = await connect({ identity }, ...verify());
        await socket.handshake();
        await expectEcho(socket);
        await peer?.says(/Verify return code: 0 \(ok\)/);
      });

      it(`a client certificate of ${kind}`, async () => {
        const { certPath, keyPath } = pki.issue(`their-client-${kind}`, kind);
        const args = [...verify(), '-cert', certPath, '-key', keyPath];
        const socket = await connect({ requestClientCertificate: true }, ...args);
        expect((await socket.handshake()).peerCertificate).to.equal(true);
        await expectEcho(socket);
      });
    }

    for (const cookieKey of [undefined, new Uint8Array(32).fill(9)]) {
      it(`HelloRetryRequest ${cookieKey ? 'with' : 'without'} a cookie`, async () => {
        const groups = [NamedGroup.secp256r1];
        const socket = await connect(
          cookieKey ? { groups, cookieKey } : { groups },
          ...verify(),
          ...['-groups', 'X25519:P-256'],
        );
        expect((await socket.handshake()).helloRetryRequest).to.equal(true);
        await expectEcho(socket);
      });
    }

    it('plain PSK', async () => {
      const socket = await connect(
        { auth: 'psk', groups: classical, cipherSuites: [0x1301] },
        ...['-psk', pskHex, '-psk_identity', 'Client_identity'],
      );
      expect((await socket.handshake()).psk).to.equal('plain');
      await expectEcho(socket);
    });

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

    it('KeyUpdate, asked for and answered', async () => {
      const socket = await connect({}, ...verify());
      await socket.handshake();
      await expectEcho(socket);
      peer?.write('K\n');
      await peer?.says(/KEYUPDATE/);
      peer?.write('after the update\n');
      await socket.until(() => socket.text().includes('after the update'));
      socket.send('under our new keys\n');
      await peer?.says(/under our new keys/);
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
      const other = pki.issue('not-a-ca');
      const socket = await connect({}, '-CAfile', other.certPath, '-verify_return_error');
      const error = await socket.failure();
      expect(error.code).to.equal('ERR_TLS_PEER_ALERT');
      expect(error.alert).to.equal(48);
    });
  });
});
