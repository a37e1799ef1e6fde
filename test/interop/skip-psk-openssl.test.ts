/** Our SKIP client at OpenSSL's s_server, which knows TLS by pre-shared key and hands out files as HTTP replies. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type KdiError, KdiErrorCode, parseKmeUrl, SkipSource } from '../../kdi-client/index.ts';
import { fromHex, hexOf } from '../../tls-ext/bytes/index.ts';
import { PeerProcess, versionOf } from './peer-process.ts';

const version = versionOf('openssl', 'version');
const PSK = '5c'.repeat(32);
const KEY_ID = '1d5b9ab3f0c1a2de44a1e2b3c4d5e6f7';
const KEY = '3f'.repeat(32);
const capabilities = '{"entropy":true,"key":true,"algorithm":"QKD","localSystemID":"siteA","remoteSystemID":["site?"]}';

(version === undefined ? describe.skip : describe)(
  `SKIP by pre-shared key at OpenSSL (${version ?? 'openssl is not installed'})`,
  () => {
    let folder: string;
    let peer: PeerProcess;
    let port: number;
    let source: SkipSource | undefined;

    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'qstunnel-test-'));
      const file = (path: string, body: string) =>
        writeFileSync(
          join(folder, path),
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
        );
      const key = `{"keyId":"${KEY_ID}","key":"${KEY}"}`;
      file('capabilities', capabilities);
      file('key?remoteSystemID=siteB&size=256', key);
      file('entropy?minentropy=256', `{"randomStr":"${KEY}","minentropy":256}`);
    });
    after(() => rmSync(folder, { recursive: true, force: true }));
    afterEach(async () => {
      await source?.close();
      await peer.kill();
    });

    async function serve(...args: readonly string[]): Promise<void> {
      const psk = ['-psk', PSK, '-psk_identity', 'proxy-a', '-nocert', '-HTTP'];
      peer = new PeerProcess({ command: 'openssl', cwd: folder }, [
        ...['s_server', '-accept', '127.0.0.1:0', ...psk, ...args],
      ]);
      port = Number((await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/))[1]);
    }
    function sourceWith(identity: string, psk: string): SkipSource {
      source = new SkipSource({
        address: parseKmeUrl(`skip://127.0.0.1:${port}`),
        tls: { psk: { identity, key: fromHex(psk) } },
        saeId: 'siteA',
      });
      return source;
    }

    for (const [name, ...args] of [
      ['TLS 1.3', '-tls1_3'],
      ['TLS 1.2 and DHE', '-tls1_2', '-cipher', 'DHE-PSK-AES128-GCM-SHA256'],
      ['TLS 1.2 and ECDHE', '-tls1_2', '-cipher', 'ECDHE-PSK-CHACHA20-POLY1305'],
    ] as const) {
      it(`capabilities, a key and entropy over ${name}`, async () => {
        await serve(...args);
        const skip = sourceWith('proxy-a', PSK);
        const stream = await skip.openDraw('siteB');
        const [key] = await stream.draw(1);
        expect(hexOf(key!.secret.expose())).to.equal(KEY);
        expect(hexOf((await skip.entropy(256)).secret.expose())).to.equal(KEY);
      });
    }

    it('not with another key, nor for another name', async () => {
      await serve('-tls1_3');
      for (const [identity, psk] of [
        ['proxy-a', '00'.repeat(32)],
        ['proxy-z', PSK],
      ] as const) {
        const error = await sourceWith(identity, psk)
          .capabilities()
          .catch((thrown: KdiError) => thrown);
        expect(error).to.have.property('code').that.is.oneOf([KdiErrorCode.tls, KdiErrorCode.closed]);
        await source?.close();
      }
    });
  },
);
