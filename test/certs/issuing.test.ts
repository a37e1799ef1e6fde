import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  CertError,
  type CertErrorCode,
  type Credential,
  certificatesOfPem,
  createCa,
  issueLeaf,
  loadIdentity,
  loadTrust,
  parseCertificate,
  writeCredential,
} from '../../certs/index.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

describe('certs: issuing', () => {
  let directory: string;
  let ca: Credential;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'qstunnel-certs-'));
    ca = await createCa({ commonName: 'Test CA', nowMs: NOW_MS, pathLength: 1 });
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const leafDer = (credential: Credential) => certificatesOfPem(credential.certPem)[0] as Uint8Array;
  const rejectionOf = async (work: Promise<unknown>): Promise<CertErrorCode> => {
    try {
      await work;
    } catch (error) {
      expect(error).to.be.instanceOf(CertError);
      return (error as CertError).code;
    }
    throw new Error('nothing was refused');
  };

  it('makes a chain that OpenSSL verifies strictly, through an intermediate CA', async function () {
    if (spawnSync('openssl', ['version']).error) return this.skip();
    const intermediate = await createCa({ commonName: 'Site CA', nowMs: NOW_MS, issuer: ca });
    const leaf = await issueLeaf(intermediate, 'proxy', {
      commonName: 'site A',
      saeIds: ['siteA'],
      dnsNames: ['a.example'],
      ipAddresses: ['127.0.0.1', '2001:db8::1'],
      nowMs: NOW_MS,
    });
    const caFile = join(directory, 'root.pem');
    const leafFile = join(directory, 'chain.pem');
    writeFileSync(caFile, ca.certPem);
    writeFileSync(leafFile, leaf.certPem);
    const attime = String(NOW_MS / 1000 + 60);
    for (const purpose of ['sslserver', 'sslclient']) {
      const shared = ['-x509_strict', '-attime', attime, '-purpose', purpose, '-CAfile', caFile];
      expect(execFileSync('openssl', ['verify', ...shared, '-untrusted', leafFile, leafFile]).toString()).to.match(
        /OK/,
      );
    }
    const text = execFileSync('openssl', ['x509', '-in', leafFile, '-noout', '-ext', 'subjectAltName']).toString();
    expect(text).to.include('URI:urn:qstunnel:sae:siteA').and.include('DNS:a.example');
  });

  it('sends the chain below the root, and no root', async () => {
    const intermediate = await createCa({ commonName: 'Site CA', nowMs: NOW_MS, issuer: ca });
    const leaf = await issueLeaf(intermediate, 'kme', { commonName: 'kme a', nowMs: NOW_MS });
    const subjects = certificatesOfPem(leaf.certPem).map((der) => parseCertificate(der).subjectText);
    expect(subjects).to.deep.equal(['CN=kme a', 'CN=Site CA']);
    const direct = await issueLeaf(ca, 'kme', { commonName: 'kme a', nowMs: NOW_MS });
    expect(certificatesOfPem(direct.certPem)).to.have.length(1);
  });

  it('gives each profile the purposes that its name says', async () => {
    const purposes = async (profile: 'kme' | 'sae' | 'proxy') => {
      const leaf = await issueLeaf(ca, profile, { commonName: profile, saeIds: ['x'], nowMs: NOW_MS });
      return new X509Certificate(leaf.certPem).keyUsage;
    };
    expect(await purposes('sae')).to.deep.equal(['1.3.6.1.5.5.7.3.2']);
    expect(await purposes('proxy')).to.deep.equal(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(await purposes('kme')).to.deep.equal(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  });

  it('keeps the period that was asked for, and never outlives the CA', async () => {
    const short = parseCertificate(
      leafDer(await issueLeaf(ca, 'kme', { commonName: 'a', nowMs: NOW_MS, validityDays: 2 })),
    );
    expect(short.notBeforeMs).to.equal(NOW_MS - 5 * 60_000);
    expect(short.notAfterMs).to.equal(NOW_MS + 2 * DAY_MS);
    const early = { commonName: 'a', nowMs: NOW_MS, notBeforeMs: NOW_MS - 9 * DAY_MS, validityDays: 3 };
    const past = parseCertificate(leafDer(await issueLeaf(ca, 'kme', early)));
    expect([past.notBeforeMs, past.notAfterMs]).to.deep.equal([NOW_MS - 9 * DAY_MS, NOW_MS - 6 * DAY_MS]);
    const long = parseCertificate(
      leafDer(await issueLeaf(ca, 'kme', { commonName: 'a', nowMs: NOW_MS, validityDays: 9000 })),
    );
    expect(long.notAfterMs).to.equal(parseCertificate(leafDer(ca)).notAfterMs);
  });

  it('gives every certificate a serial number of its own', async () => {
    const serials = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const leaf = await issueLeaf(ca, 'kme', { commonName: 'a', nowMs: NOW_MS });
      serials.add(new X509Certificate(leaf.certPem).serialNumber);
    }
    expect(serials.size).to.equal(20);
    for (const serial of serials) expect(serial).to.match(/^[4-7][0-9A-F]{31}$/);
  });

  it('issues under a CA that OpenSSL made with a P-384 key', async function () {
    if (spawnSync('openssl', ['version']).error) return this.skip();
    const key = join(directory, 'foreign.key');
    const cert = join(directory, 'foreign.pem');
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-days', '30'];
    execFileSync('openssl', [...request, '-subj', '/CN=Foreign', '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const read = (path: string) => execFileSync('cat', [path]).toString();
    const foreign = { certPem: read(cert), keyPem: read(key) };
    const leaf = await issueLeaf(foreign, 'kme', { commonName: 'kme', nowMs: Date.now() });
    const file = join(directory, 'under-foreign.pem');
    writeFileSync(file, leaf.certPem);
    expect(execFileSync('openssl', ['verify', '-CAfile', cert, file]).toString()).to.match(/OK/);
  });

  it('refuses requests that can not be met', async () => {
    const base = { commonName: 'a', nowMs: NOW_MS };
    const bad = [
      () => issueLeaf(ca, 'proxy', base),
      () => issueLeaf(ca, 'sae', { ...base, saeIds: ['..'] }),
      () => issueLeaf(ca, 'sae', { ...base, saeIds: ['with space'] }),
      () => issueLeaf(ca, 'kme', { ...base, dnsNames: ['bad_/name'] }),
      () => issueLeaf(ca, 'kme', { ...base, ipAddresses: ['1.2.3'] }),
      () => issueLeaf(ca, 'kme', { ...base, validityDays: 0 }),
      () => issueLeaf(ca, 'kme', { ...base, validityDays: Number.NaN }),
      () => issueLeaf(ca, 'kme', { ...base, notBeforeMs: NOW_MS + 20_000 * DAY_MS }),
      () => issueLeaf(ca, 'kme', { ...base, commonName: '' }),
      () => issueLeaf(ca, 'kme', { ...base, commonName: 'line\nbreak' }),
      () => createCa({ ...base, pathLength: -1 }),
    ];
    for (const work of bad) expect(await rejectionOf(work()), work.toString()).to.equal('ERR_CERT_REQUEST');
    const leaf = await issueLeaf(ca, 'kme', base);
    expect(await rejectionOf(issueLeaf(leaf, 'kme', base))).to.equal('ERR_CERT_NOT_CA');
    const other = await createCa(base);
    const mixed = { certPem: ca.certPem, keyPem: other.keyPem };
    expect(await rejectionOf(issueLeaf(mixed, 'kme', base))).to.equal('ERR_CERT_KEY_MISMATCH');
  });

  describe('files', () => {
    it('writes keys 0600 into a folder 0700, and replaces nothing', async () => {
      const folder = join(directory, 'new');
      const files = await writeCredential(folder, 'ca', ca);
      expect(statSync(folder).mode & 0o777).to.equal(0o700);
      expect(statSync(files.key).mode & 0o777).to.equal(0o600);
      expect(statSync(files.cert).mode & 0o777).to.equal(0o644);
      const again = await writeCredential(folder, 'ca', ca).catch((error: NodeJS.ErrnoException) => error.code);
      expect(again).to.equal('EEXIST');
    });

    it('leaves no certificate without its key when it can not write', async () => {
      const folder = join(directory, 'clash');
      await writeCredential(folder, 'a', ca);
      rmSync(join(folder, 'a.pem'));
      chmodSync(join(folder, 'a.key'), 0o400);
      const code = await writeCredential(folder, 'a', ca).catch((error: NodeJS.ErrnoException) => error.code);
      expect(code).to.equal('EEXIST');
      expect(statSync(join(folder, 'a.key')).mode & 0o777).to.equal(0o400);
      expect(() => statSync(join(folder, 'a.pem'))).to.throw('ENOENT');
    });
  });

  describe('loading', () => {
    let leaf: Credential;
    before(async () => {
      leaf = await issueLeaf(ca, 'proxy', { commonName: 'site A', saeIds: ['siteA', 'x:/%'], nowMs: NOW_MS });
    });

    const codeOf = (work: () => unknown): string => {
      try {
        work();
      } catch (error) {
        return (error as CertError).code;
      }
      return 'nothing was refused';
    };

    it('reads a chain with its key', () => {
      const identity = loadIdentity(leaf.certPem, leaf.keyPem);
      expect(identity.saeIds).to.deep.equal(['siteA', 'x:/%']);
      expect(identity.chainDer).to.have.length(1);
      expect(
        createPrivateKey({ key: Buffer.from(identity.privateKeyPkcs8), format: 'der', type: 'pkcs8' })
          .asymmetricKeyType,
      ).to.equal('ec');
      expect(identity.leaf.subjectText).to.equal('CN=site A');
    });

    it('names what is wrong with a certificate or key', () => {
      const encrypted = '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n';
      expect(codeOf(() => loadIdentity(leaf.certPem, ca.keyPem))).to.equal('ERR_CERT_KEY_MISMATCH');
      expect(codeOf(() => loadIdentity(leaf.certPem, encrypted))).to.equal('ERR_CERT_KEY');
      expect(codeOf(() => loadIdentity(leaf.certPem, leaf.certPem))).to.equal('ERR_CERT_KEY');
      expect(codeOf(() => loadIdentity(leaf.certPem, leaf.keyPem.replace('M', '!')))).to.equal('ERR_CERT_KEY');
      expect(codeOf(() => loadIdentity(leaf.keyPem, leaf.keyPem))).to.equal('ERR_CERT_PEM');
      expect(codeOf(() => loadIdentity('', leaf.keyPem))).to.equal('ERR_CERT_PEM');
      expect(codeOf(() => loadIdentity(leaf.certPem.repeat(9), leaf.keyPem))).to.equal('ERR_CERT_TOO_LARGE');
      expect(codeOf(() => loadTrust(leaf.certPem))).to.equal('ERR_CERT_NOT_CA');
      expect(codeOf(() => loadTrust(ca.certPem.repeat(300)))).to.equal('ERR_CERT_PEM');
    });

    it('tells each name of the CAs once, and none of them where they are too many or too long', async () => {
      const made = async (count: number, commonName: (i: number) => string) => {
        const cas = Array.from({ length: count }, (_, i) => createCa({ commonName: commonName(i), nowMs: NOW_MS }));
        return (await Promise.all(cas)).map(({ certPem }) => certPem);
      };
      const short = await made(65, (i) => `CA ${i}`);
      const all = loadTrust(short.slice(1).join('') + short[1]);
      expect(all.certificates).to.have.length(65);
      expect(all.names).to.deep.equal(all.certificates.slice(0, 64).map(({ subject }) => subject));
      expect(loadTrust(short.join('')).names).to.deep.equal([]);
      // 73 bytes each: 56 of them are below 4,096 bytes, 57 are not.
      const long = await made(57, (i) => `CA ${i}`.padEnd(60, '.'));
      expect(loadTrust(long.slice(1).join('')).names).to.have.length(56);
      expect(loadTrust(long.join('')).names).to.deep.equal([]);
    });

    it('says nothing of a key in an error', () => {
      try {
        loadIdentity(leaf.certPem, leaf.keyPem.slice(0, 120));
        expect.fail('accepted');
      } catch (error) {
        const secret = leaf.keyPem.split('\n')[1]?.slice(0, 16) as string;
        expect(`${(error as Error).stack} ${JSON.stringify(error)}`).not.to.include(secret);
        expect((error as Error).cause).to.equal(undefined);
      }
    });
  });
});
