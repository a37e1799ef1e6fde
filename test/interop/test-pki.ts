/** A throwaway CA with a server and a client certificate, made by `openssl` in a folder that goes with it. */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EngineIdentity, signingKeyOf } from '../../tls-ext/index.ts';

export type KeyKind = 'P-256' | 'P-384' | 'ed25519' | 'rsa';

const keyArguments: Readonly<Record<KeyKind, readonly string[]>> = {
  'P-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  ed25519: ['-algorithm', 'ED25519'],
  rsa: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
};

export interface TestCertificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
  readonly identity: EngineIdentity;
}

export class TestPki {
  readonly folder: string;
  readonly caPath: string;
  readonly ca: string;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'qstunnel-interop-'));
    this.caPath = join(this.folder, 'ca.pem');
    const caKeyPath = join(this.folder, 'ca.key');
    this.#openssl('genpkey', ...keyArguments['P-256'], '-out', caKeyPath);
    this.#openssl('req', '-x509', '-key', caKeyPath, '-subj', '/CN=interop CA', '-days', '2', '-out', this.caPath);
    this.ca = readFileSync(this.caPath, 'utf8');
  }

  issue(name: string, kind: KeyKind = 'P-256'): TestCertificate {
    const path = (extension: string) => join(this.folder, `${name}.${extension}`);
    const certPath = path('pem');
    const keyPath = path('key');
    writeFileSync(path('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n');
    this.#openssl('genpkey', ...keyArguments[kind], '-out', keyPath);
    this.#openssl('req', '-new', '-key', keyPath, '-subj', `/CN=${name}`, '-out', path('csr'));
    this.#openssl(
      ...['x509', '-req', '-in', path('csr'), '-CA', this.caPath, '-CAkey', join(this.folder, 'ca.key')],
      ...['-CAcreateserial', '-days', '2', '-extfile', path('ext'), '-out', certPath],
    );
    const cert = readFileSync(certPath, 'utf8');
    const key = readFileSync(keyPath, 'utf8');
    const chain = [new Uint8Array(new X509Certificate(cert).raw)];
    return { certPath, keyPath, cert, key, identity: { chain, ...signingKeyOf(createPrivateKey(key)) } };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #openssl(...args: readonly string[]): void {
    execFileSync('openssl', args, { stdio: 'pipe' });
  }
}
