/** Single use after a crash: processes of the program that are killed, and others with the same ledger. */
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { expect } from 'chai';
import { issueLeaf, parseCertificate } from '../../certs/index.ts';
import { TlsConnection } from '../../proxy/data-path/index.ts';
import { KEY_CHANNEL_ALPN } from '../../proxy/tunnel/settings.ts';
import {
  createClientEngine,
  KeyChannelDrawer,
  type QkdKeyReference,
  SecretBytes,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../../tls-ext/index.ts';
import { type HttpsKme, httpsKme } from '../kdi-client/support/https-kme.ts';
import { testPki as kmePki } from '../kdi-client/support/test-pki.ts';
import { startKmes } from './kmes.ts';
import { identityOf, siteCredential, testPki } from './pki.ts';
import { type Program, Programs, SiteFolder } from './program.ts';
import { collect, TestApplication } from './sites.ts';

describe('the ledger of the program', function () {
  this.timeout(60_000);
  let folder: SiteFolder;
  let application: TestApplication;
  const programs = new Programs();

  before(async () => {
    folder = await SiteFolder.create();
    application = await TestApplication.echo();
  });
  after(async () => {
    await application.close();
    await folder.remove();
  });
  afterEach(() => programs.stopAll());

  const qstunnel = (...args: string[]) => programs.start(...args);

  function server(kme: string, ledger: string): Program {
    return qstunnel(
      ...['server', '--accept', '127.0.0.1:0', '--connect', `127.0.0.1:${application.address.port}`],
      ...[...folder.options('b'), '--kme', kme, '--ledger', folder.file(ledger)],
    );
  }

  describe('at the answerer', () => {
    const reference: QkdKeyReference = { api: 'etsi014', drawer: 'siteA', keyId: new Uint8Array(16).fill(7) };
    const key = new Uint8Array(32).fill(9);
    let kme: HttpsKme;

    before(async () => {
      const { ca } = await testPki();
      const leaf = await issueLeaf(ca, 'kme', { commonName: 'kme', nowMs: Date.now(), ipAddresses: ['127.0.0.1'] });
      // It gives the same key as often as it is asked: nothing but the ledger is in the way of a second use.
      const container = { keys: [{ key_ID: uuidOf(reference), key: Buffer.from(key).toString('base64') }] };
      kme = await httpsKme(await kmePki(), () => ({ json: container }), {
        cert: leaf.certPem,
        key: leaf.keyPem,
        ca: ca.certPem,
      });
    });
    after(() => kme.close());

    /** Announces the key as a drawer would; what the answerer says of it. */
    async function announce(port: number): Promise<string> {
      const { chainDer, privateKeyPkcs8 } = identityOf(await siteCredential('siteA'));
      const drawer = new KeyChannelDrawer({
        ...{
          ownSae: 'siteA',
          peerSae: 'siteB',
          instance: randomBytes(16),
          quota: 8,
          kmeName: 'scripted',
          services: [],
        },
      });
      const engine = createClientEngine({
        random: randomBytes,
        groups: [0x11ec],
        cipherSuites: [0x1302],
        signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
        auth: 'certificate',
        alpnProtocols: [KEY_CHANNEL_ALPN],
        identity: { chain: chainDer, ...signingKeyFromPkcs8(privateKeyPkcs8) },
      });
      return await new Promise((resolve, reject) => {
        const handle = (events: ReturnType<typeof drawer.connected>): void => {
          for (const event of events) {
            if (event.type === 'write') connection.send(event.bytes);
            if (event.type === 'ready') {
              handle(drawer.announce([{ reference, secret: SecretBytes.copyOf(key) }], 600_000, 0));
            }
            if (event.type === 'key-offerable') end('acked');
            if (event.type === 'key-withdrawn') end(event.reason);
          }
        };
        const end = (what: string): void => {
          connection.close();
          resolve(what);
        };
        const connection = TlsConnection.dial(
          { host: '127.0.0.1', port },
          {
            engine,
            handshakeTimeoutMs: 20_000,
            handler: {
              peerCertificate: ({ chain }) => {
                const { publicKeySpki } = parseCertificate(chain[0] as Uint8Array);
                connection.provideVerdict({ ok: true, publicKeySpki });
              },
              handshakeComplete: () => {
                connection.setDataHandler({
                  plaintext: (bytes, release) => {
                    handle(drawer.receive(Uint8Array.from(bytes), 0));
                    release?.();
                  },
                  readEnded: () => connection.close(),
                  relieved: () => {},
                  idle: () => {},
                });
                handle(drawer.connected());
              },
              ended: (failure) => reject(failure ?? new Error('the channel was closed')),
            },
          },
        );
      });
    }

    it('a key that the killed process had taken is not taken by the next one', async () => {
      const url = `etsi014://127.0.0.1:${kme.port}`;
      const first = server(url, 'answerer.ledger');
      expect(await announce(await first.port('server'))).to.equal('acked');
      first.child.kill('SIGKILL');
      await first.exited;
      const asked = kme.requests.length;
      const second = server(url, 'answerer.ledger');
      expect(await announce(await second.port('server'))).to.equal('unavailable');
      expect(kme.requests.length, 'the key manager gave it again').to.be.greaterThan(asked);
    });

    it('without the ledger it would be: that is what the file is for', async () => {
      const url = `etsi014://127.0.0.1:${kme.port}`;
      const other = server(url, 'other.ledger');
      expect(await announce(await other.port('server'))).to.equal('acked');
    });
  });

  it('at both ends: killed processes leave it usable, and their keys are not used again', async () => {
    const kmes = await startKmes();
    kmes.fill(32_768);
    const client = (port: number) =>
      qstunnel(
        ...['client', '--accept', '127.0.0.1:0', '--connect', `127.0.0.1:${port}`, ...folder.options('a')],
        ...['--kme', kmes.urlA, '--key-chunk-size', '32', '--ledger', folder.file('drawer.ledger')],
      );
    const keyIds: (string | undefined)[] = [];
    for (let life = 0; life < 2; life++) {
      const far = server(kmes.urlB, 'both.ledger');
      const near = client(await far.port('server'));
      await near.next('keys-ready');
      const socket = connect({ host: '127.0.0.1', port: await near.port('client'), allowHalfOpen: true });
      socket.end('ping');
      expect((await collect(socket)).toString()).to.equal('ping');
      const line = await near.next('connection');
      expect(line.mode).to.equal('qkd-and-pqc');
      keyIds.push(line.keyId);
      for (const { child, exited } of [near, far]) {
        child.kill('SIGKILL');
        await exited;
      }
    }
    expect(new Set(keyIds).size).to.equal(2);
    for (const name of ['drawer.ledger', 'both.ledger']) {
      const { size, mode } = await stat(folder.file(name));
      expect(size, 'a record for each key').to.be.at.least(16 + 2 * 44);
      expect(mode & 0o777).to.equal(0o600);
    }
    await kmes.close();
  });

  it('one that is in use, or no ledger at all: one line with its code, and no service is started', async () => {
    const first = server('etsi014://127.0.0.1:1', 'taken.ledger');
    await first.port('server');
    const second = server('etsi014://127.0.0.1:1', 'taken.ledger');
    expect(await second.exited).to.include({ code: 1 });
    expect(second.messages.join('\n')).to.match(/^qstunnel: ERR_KDI_LEDGER: ledger .* is in use by process \d+/);
    const strange = server('etsi014://127.0.0.1:1', 'ca.pem');
    expect(await strange.exited).to.include({ code: 1 });
    expect(strange.messages.join('\n')).to.match(/ERR_KDI_LEDGER.*not a ledger/);
    expect(strange.lines).to.deep.equal([]);
    const nowhere = server('etsi014://127.0.0.1:1', 'no-such-folder/ledger');
    expect(await nowhere.exited).to.include({ code: 1 });
    expect(nowhere.messages.join('\n')).to.match(
      /^qstunnel: ERR_KDI_LEDGER: ledger .* can't be used: there is no folder .*no-such-folder; make it/,
    );
  });
});

function uuidOf(reference: QkdKeyReference): string {
  const hex = 'keyId' in reference ? Buffer.from(reference.keyId).toString('hex') : '';
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
