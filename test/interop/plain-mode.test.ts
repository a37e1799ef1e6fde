/** Services with `auth: psk` against programs that know nothing of QKD: OpenSSL, GnuTLS and stunnel, with keys from the simulator's key managers. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createKeySource, type StreamAnnouncement } from '../../kdi-client/index.ts';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { startServices } from '../../proxy/services.ts';
import {
  type DrawnKey,
  drawKey,
  fetchKey,
  kmeOf,
  kmeTlsOf,
  loadedKme,
  plainService,
  startPlainServer,
} from '../proxy/plain-sites.ts';
import { CapturedLog, loadedService, TestApplication } from '../proxy/sites.ts';
import { curlClient } from '../qkd-sim/kme/https-fixture.ts';
import { type KmePair, kmePair } from '../qkd-sim/kme/kme-fixture.ts';
import { PeerProcess, versionOf } from './peer-process.ts';

const GROUPS: ServiceConfig['groups'] = ['X25519MLKEM768', 'x25519', 'secp256r1'];
/** What these versions have of ours: no ML-KEM yet. */
const CLASSICAL: ServiceConfig['groups'] = ['x25519', 'secp256r1'];
const GNUTLS_PRIORITY = 'NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:-CIPHER-ALL:+AES-128-GCM';
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?::\d+:\d+)?/;

const openssl = versionOf('openssl', 'version');
const gnutls = versionOf('gnutls-cli', '--version');
// stunnel has no option for its version that ends with 0 on every build; that it starts is enough.
const stunnel = versionOf('which', 'stunnel');

function stock(name: string, version: string | undefined, run: () => Promise<void>): void {
  (version === undefined ? it.skip : it)(version === undefined ? `${name} (not installed)` : name, run);
}

describe('interop: plain mode with stock peers', () => {
  let kmes: KmePair;
  let folder: string;
  const open: (() => Promise<unknown>)[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'qstunnel-test-'));
    kmes = await kmePair({ capacityBytes: 4_096 });
    kmes.fill(4_096);
    open.push(
      async () => kmes.close(),
      async () => rmSync(folder, { recursive: true }),
    );
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });

  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const run = (command: string, ...args: readonly string[]): PeerProcess => {
    const peer = new PeerProcess(command, args);
    open.push(() => peer.kill());
    return peer;
  };

  describe('their client, our server', () => {
    const start = async () => {
      const application = await TestApplication.echo();
      const server = await startPlainServer(kmes, application.address, { groups: GROUPS });
      open.push(
        () => application.close(),
        () => server.close(),
      );
      return server;
    };
    const expectUsed = async (log: CapturedLog, { id }: DrawnKey) => {
      const line = await log.next('connection');
      expect(line).to.include({ mode: 'qkd', peer: 'siteA', keyId: `etsi014:siteA:${id}` });
      expect(line).not.to.have.any.keys('code', 'alert', 'reason');
    };

    stock('openssl s_client, with a key drawn by curl', openssl, async () => {
      const server = await start();
      const curl = await curlClient();
      if (curl === undefined) throw new Error('curl is not installed');
      open.push(() => curl.remove());
      const { text } = await curl.run('siteA', [`https://127.0.0.1:${kmes.httpsA}/api/v1/keys/siteB/enc_keys`]);
      const [{ key_ID: id, key }] = JSON.parse(text).keys;
      const hex = Buffer.from(key, 'base64').toString('hex');
      const peer = run(
        ...(['openssl', 's_client', '-connect', `127.0.0.1:${server.address.port}`, '-tls1_3', '-quiet'] as const),
        ...['-ciphersuites', 'TLS_AES_128_GCM_SHA256', '-psk_identity', id, '-psk', hex],
      );
      peer.write('from openssl\n');
      await peer.says(/from openssl/);
      await peer.kill();
      expect((await server.log.next('connection')).keyId).to.equal(`etsi014:siteA:${id}`);
      expect(server.log.all('established')[0]).to.include({ mode: 'qkd', group: 'x25519' });
    });

    stock('gnutls-cli', gnutls, async () => {
      const server = await start();
      const drawn = await drawKey(kmes);
      const peer = run(
        ...(['gnutls-cli', '--port', String(server.address.port), '--priority', GNUTLS_PRIORITY] as const),
        ...['--pskusername', drawn.id, '--pskkey', drawn.hex, '127.0.0.1'],
      );
      await peer.says(/Handshake was completed/);
      peer.write('from gnutls\n');
      await peer.says(/from gnutls/);
      peer.endInput();
      await expectUsed(server.log, drawn);
    });

    stock('stunnel, whose application knows nothing', stunnel, async () => {
      const server = await start();
      const drawn = await drawKey(kmes);
      const peer = run(
        'stunnel',
        file(
          'client.conf',
          `foreground = yes\npid =\ndebug = info\nsyslog = no\n[c]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:${server.address.port}\nsslVersion = TLSv1.3\nciphersuites = TLS_AES_128_GCM_SHA256\nPSKsecrets = ${file('client.psk', `${drawn.id}:${drawn.hex}\n`)}\nPSKidentity = ${drawn.id}\n`,
        ),
      );
      expect(await talkThrough(Number((await peer.says(/bound to 127\.0\.0\.1:(\d+)/))[1]))).to.equal('hello');
      await expectUsed(server.log, drawn);
    });
  });

  describe('our client, their server', () => {
    /**
     * A stock server's keys are there before it starts. So this stands between:
     * it reads the name of the key in the ClientHello, fetches the key at the
     * other key manager, and only then has the server started.
     */
    const startThrough = async (
      serve: (key: DrawnKey) => Promise<number>,
      api: 'etsi004' | 'etsi014' = 'etsi014',
      fetchBy: (id: string) => Promise<DrawnKey> = (id) => fetchKey(kmes, id),
    ) => {
      const between = createServer({ allowHalfOpen: true }, (socket) => void bridge(socket, fetchBy, serve));
      await listen(between);
      const log = new CapturedLog();
      const kme = kmeOf(kmes, 'a', api);
      const service = await loadedService({
        mode: 'client',
        connect: { host: '127.0.0.1', port: (between.address() as AddressInfo).port },
        ...plainService(kme),
        groups: CLASSICAL,
      });
      const proxy = await startServices([{ ...service, kmes: [await loadedKme(kme, 'siteA')] }], { log: log.log });
      open.push(
        async () => between.close(),
        () => proxy.close(),
      );
      const [{ address }] = proxy.tunnels as unknown as [{ address: { port: number } }];
      return { log, port: address.port };
    };
    /** Key managers that tell of the first stream that siteA opens. */
    const restartWithWatch004 = async () => {
      let tell: (announcement: StreamAnnouncement) => void = () => {};
      const opened = new Promise<StreamAnnouncement>((resolve) => {
        tell = resolve;
      });
      const first = kmes;
      kmes = await kmePair({
        capacityBytes: 4_096,
        etsi004Layer: (saeId, handle) => async (request, dialect, signal) => {
          const response = await handle(request, dialect, signal);
          if (saeId === 'siteA' && response.service === 'open-connect' && response.stream !== undefined) {
            tell(response.stream);
          }
          return response;
        },
      });
      kmes.fill(4_096);
      await first.close();
      return { opened };
    };
    const opensslServer = async ({ id, hex }: DrawnKey) => {
      const peer = run(
        ...(['openssl', 's_server', '-accept', '127.0.0.1:0', '-tls1_3', '-nocert', '-rev'] as const),
        ...['-ciphersuites', 'TLS_AES_128_GCM_SHA256', '-psk_identity', id, '-psk', hex],
      );
      return Number((await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/))[1]);
    };

    stock('openssl s_server', openssl, async () => {
      const { log, port } = await startThrough(opensslServer);
      expect(await talkThrough(port, 'hello\n')).to.equal('olleh\n');
      expect(log.all('established')[0]).to.include({ mode: 'qkd', peer: 'siteB' });
      expect((await log.next('connection')).keyId).to.match(/^etsi014:siteA:[0-9a-f-]{36}$/);
    });

    stock('openssl s_server, with a key from a 004 stream', openssl, async () => {
      const { opened } = await restartWithWatch004();
      const source = createKeySource({
        url: kmeOf(kmes, 'b', 'etsi004').url,
        saeId: 'siteB',
        tls: await kmeTlsOf('siteB'),
      });
      open.push(() => source.close());
      const { log, port } = await startThrough(opensslServer, 'etsi004', async (id) => {
        const [ksid = '', index, slice] = id.split(':');
        const reference = {
          ...({ api: 'etsi004', drawer: 'siteA' } as const),
          ksid: Uint8Array.from(Buffer.from(ksid.replaceAll('-', ''), 'hex')),
          index: Number(index),
          slice: Number(slice),
        };
        const { secret } = await (await lookUp).lookup(reference);
        return { id, key: Buffer.from(secret.expose()), hex: Buffer.from(secret.expose()).toString('hex') };
      });
      // The operator of the other side opens the same stream at its key manager; how it learns of it is its affair.
      const announcement = await opened;
      const lookUp = source.openLookup('siteA', { announcement });
      expect(await talkThrough(port, 'hello\n')).to.equal('olleh\n');
      expect((await log.next('connection')).keyId).to.match(/^etsi004:siteA:[0-9a-f-]{36}:0:0$/);
    });

    stock('gnutls-serv', gnutls, async () => {
      const { log, port } = await startThrough(async ({ id, hex }) => {
        const free = await freePort();
        const peer = run(
          ...(['gnutls-serv', '--port', String(free), '--echo', '--priority', GNUTLS_PRIORITY] as const),
          ...['--pskpasswd', file('server.psk', `${id}:${hex}\n`)],
        );
        await peer.says(/listening on IPv4 .*done/);
        return free;
      });
      expect(await talkThrough(port, 'hello\n')).to.equal('hello\n');
      expect(log.all('established')[0]).to.include({ mode: 'qkd', peer: 'siteB' });
    });

    stock('stunnel in front of an application', stunnel, async () => {
      const application = await TestApplication.echo();
      open.push(() => application.close());
      const { log, port } = await startThrough(async ({ id, hex }) => {
        const peer = run(
          'stunnel',
          file(
            'server.conf',
            `foreground = yes\npid =\ndebug = info\nsyslog = no\n[s]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:${application.address.port}\nsslVersion = TLSv1.3\nciphersuites = TLS_AES_128_GCM_SHA256\nPSKsecrets = ${file('server.psk', `${id}:${hex}\n`)}\n`,
          ),
        );
        return Number((await peer.says(/bound to 127\.0\.0\.1:(\d+)/))[1]);
      });
      expect(await talkThrough(port)).to.equal('hello');
      expect(await log.next('connection')).to.include({ mode: 'qkd', bytesFromPeer: 5 });
    });

    stock('a server that does not have the key: refused, and the key is not offered again', openssl, async () => {
      const offered: string[] = [];
      const { log, port } = await startThrough(({ id }) => {
        offered.push(id);
        return opensslServer({ id, key: Buffer.alloc(0), hex: 'ab'.repeat(32) });
      });
      for (let count = 1; count <= 2; count++) {
        const socket = connect({ port, host: '127.0.0.1' });
        await once(socket, 'error');
        const line = await log.next('connection', () => true, count);
        expect(line.code).to.equal('ERR_TLS_PEER_ALERT');
        expect(line).not.to.have.any.keys('mode', 'peer', 'keyId');
      }
      expect(new Set(offered).size, 'names offered').to.equal(2);
    });
  });
});

async function bridge(
  socket: Socket,
  fetchBy: (id: string) => Promise<DrawnKey>,
  serve: (key: DrawnKey) => Promise<number>,
): Promise<void> {
  socket.on('error', () => {});
  let hello = '';
  while (!UUID.test(hello)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    hello += chunk.toString('latin1');
  }
  socket.pause();
  const [id] = hello.match(UUID) as RegExpMatchArray;
  const port = await serve(await fetchBy(id));
  const server = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  server.on('error', () => socket.destroy());
  server.write(Buffer.from(hello, 'latin1'));
  socket.pipe(server).pipe(socket);
}

/** What comes back for `text` through a tunnel. */
async function talkThrough(port: number, text = 'hello'): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  // Not every server closes in order when it is stopped; what counts has come by then.
  socket.on('error', () => {});
  socket.write(text);
  let answer = '';
  while (answer.length < text.length) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    answer += chunk.toString();
  }
  socket.end();
  return answer;
}

async function listen(server: Server): Promise<void> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

/** For programs that can't be told to let the system choose. */
async function freePort(): Promise<number> {
  const server = createServer();
  await listen(server);
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
