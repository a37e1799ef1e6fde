/** Which CAs a server tells its clients of, as OpenSSL's client reads it: stock clients choose their certificate by it. */
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createCa, loadTrust } from '../../certs/index.ts';
import { PeerProcess, versionOf } from '../interop/peer-process.ts';
import { siteCredential, testPki } from './pki.ts';
import { type SiteSettings, startSites, TestApplication, type TwoSites } from './sites.ts';

const version = versionOf('openssl', 'version');

(version === undefined ? describe.skip : describe)(`the CAs of a server, to OpenSSL's client (${version})`, () => {
  let application: TestApplication;
  let sites: TwoSites;
  let peer: PeerProcess | undefined;

  beforeEach(async () => {
    application = await TestApplication.echo();
  });
  afterEach(async () => {
    await peer?.kill();
    peer = undefined;
    await sites.close();
    await application.close();
  });

  /** A client of TLS alone; OpenSSL 3.0 knows no group with ML-KEM, which policy then refuses, after all that counts here. */
  async function connect(settings: Partial<SiteSettings> = {}, ...args: readonly string[]): Promise<PeerProcess> {
    sites = await startSites({ backend: application.address, server: { groups: ['x25519'] }, ...settings });
    const { host, port } = sites.tunnelPort;
    peer = new PeerProcess('openssl', ['s_client', '-connect', `${host}:${port}`, '-tls1_3', ...args]);
    return peer;
  }

  it('are named in its CertificateRequest, and the certificate of one of them comes', async () => {
    const { certPem, keyPem } = await siteCredential('siteA');
    const folder = await mkdtemp(join(tmpdir(), 'qstunnel-authorities-'));
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    writeFileSync(cert, certPem);
    writeFileSync(key, keyPem, { mode: 0o600 });
    try {
      const client = await connect({}, '-cert', cert, '-key', key);
      const [, named] = await client.says(/Acceptable client certificate CA names\n([\s\S]*?)\n(?:Requested|Client)/);
      expect(named).to.equal('CN = test CA');
      const line = await sites.serverLog.next('connection', ({ code }) => code !== undefined);
      expect(line, 'the certificate was admitted, the mode was not').to.include({ code: 'ERR_PROXY_POLICY' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('are all named', async () => {
    const { ca, trust } = await testPki();
    const other = await createCa({ commonName: 'other CA', nowMs: Date.now() });
    const client = await connect({ serverService: { trust: loadTrust(ca.certPem + other.certPem + ca.certPem) } });
    const [, named] = await client.says(/Acceptable client certificate CA names\n([\s\S]*?)\n(?:Requested|Client)/);
    expect(named).to.equal('CN = test CA\nCN = other CA');
    expect(trust.names).to.have.length(1);
  });

  it('are not named where they are too many to be sent to strangers', async () => {
    const { ca } = await testPki();
    const others = await Promise.all(
      Array.from({ length: 64 }, (_, i) => createCa({ commonName: `CA ${i}`, nowMs: Date.now() })),
    );
    const trust = loadTrust([ca, ...others].map(({ certPem }) => certPem).join(''));
    const client = await connect({ serverService: { trust } });
    await client.says(/No client certificate CA names sent/);
  });
});
