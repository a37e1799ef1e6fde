import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { certificatesOfPem, loadTrust, validateChain } from '../../certs/index.ts';

const missing = spawnSync('openssl', ['version']).error !== undefined;

/** Chains that OpenSSL makes, with keys of every type that is accepted, and of some that are not. */
describe(`certs: chains made by OpenSSL${missing ? ' (skipped: no openssl here)' : ''}`, function () {
  this.timeout(60_000);
  let directory: string;

  before(function () {
    if (missing) this.skip();
    directory = mkdtempSync(join(tmpdir(), 'qstunnel-openssl-'));
  });
  after(() => {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });

  /** What we say of a leaf of this key under a CA of this key. */
  const verdictOn = (caKey: readonly string[], leafKey: readonly string[], digest = '-sha256') => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      ...caKey,
      '-nodes',
      digest,
      '-subj',
      '/CN=CA',
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
    );
    const names = ['-addext', 'subjectAltName=URI:urn:qstunnel:sae:siteA', '-addext', 'extendedKeyUsage=serverAuth'];
    const leaf = ['-subj', '/O=Lab/CN=site A', ...names, '-addext', 'basicConstraints=critical,CA:FALSE'];
    openssl(
      'req',
      '-x509',
      '-newkey',
      ...leafKey,
      '-nodes',
      digest,
      ...leaf,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-keyout',
      'leaf.key',
      '-out',
      'leaf.pem',
    );
    const read = (name: string) => readFileSync(join(directory, name), 'utf8');
    const chainDer = certificatesOfPem(read('leaf.pem'));
    const trust = loadTrust(read('ca.pem'));
    return validateChain({ chainDer, trust, nowMs: Date.now() + 1_000, purpose: 'server', expectedSaeIds: ['siteA'] });
  };

  const ec = (curve: string) => ['ec', '-pkeyopt', `ec_paramgen_curve:${curve}`];
  const rsa = (bits: number) => [`rsa:${bits}`];

  const accepted: readonly (readonly [string, readonly string[], readonly string[], string?])[] = [
    ['P-256', ec('P-256'), ec('P-256')],
    ['P-256 under P-384', ec('P-384'), ec('P-256'), '-sha384'],
    ['P-256 under P-521', ec('P-521'), ec('P-256'), '-sha512'],
    ['Ed25519', ['ed25519'], ['ed25519']],
    ['RSA under RSA', rsa(2048), rsa(2048)],
    ['P-256 under RSA', rsa(3072), ec('P-256'), '-sha512'],
  ];
  for (const [what, caKey, leafKey, digest] of accepted) {
    it(`accepts ${what}`, () => {
      expect(verdictOn(caKey, leafKey, digest)).to.deep.include({
        ok: true,
        saeIds: ['siteA'],
        subject: 'O=Lab, CN=site A',
      });
    });
  }

  const refused: typeof accepted = [
    ['RSA of 1024 bits', ec('P-256'), rsa(1024)],
    ['a CA with RSA of 1024 bits', rsa(1024), ec('P-256')],
    ['a curve off the list', ec('P-256'), ec('secp256k1')],
    ['Ed448', ['ed448'], ec('P-256')],
    ['SHA-1', ec('P-256'), ec('P-256'), '-sha1'],
  ];
  for (const [what, caKey, leafKey, digest] of refused) {
    it(`refuses ${what}`, () => {
      expect(verdictOn(caKey, leafKey, digest)).to.deep.include({ ok: false, reason: 'unsupported' });
    });
  }
});
