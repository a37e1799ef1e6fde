import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { type Credential, createCa, issueLeaf, writeCredential } from '../../certs/index.ts';
import { ConfigError, checkOwnSae, loadCredentials } from '../../proxy/config/index.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

describe('proxy config: credentials', () => {
  let directory: string;
  let ca: Credential;
  const file = (name: string) => join(directory, name);
  const paths = (more: object = {}) => ({
    cert: file('siteA.pem'),
    key: file('siteA.key'),
    ca: file('ca.pem'),
    ...more,
  });

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'qstunnel-config-'));
    ca = await createCa({ commonName: 'CA', nowMs: NOW_MS });
    await writeCredential(directory, 'ca', ca);
    const options = { commonName: 'siteA', saeIds: ['siteA'], nowMs: NOW_MS };
    await writeCredential(directory, 'siteA', await issueLeaf(ca, 'proxy', options));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const failure = async (more: object): Promise<string> => {
    const error = await loadCredentials(paths(more)).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(ConfigError);
    return `${(error as ConfigError).code}: ${(error as ConfigError).message.replaceAll(directory, 'DIR')}`;
  };

  it('loads them, and has nothing to say about a 0600 key', async () => {
    const credentials = await loadCredentials(paths(), NOW_MS);
    expect(credentials.identity.saeIds).to.deep.equal(['siteA']);
    expect(credentials.trust.certificates).to.have.length(1);
    expect(credentials.keyPem).to.match(/^-----BEGIN PRIVATE KEY/);
    expect(credentials.warnings).to.deep.equal([]);
  });

  it('warns of a key that others may read', async () => {
    const key = file('open.key');
    writeFileSync(key, (await loadCredentials(paths())).keyPem);
    chmodSync(key, 0o640);
    const { warnings } = await loadCredentials(paths({ key }), NOW_MS);
    expect(warnings).to.deep.equal([`private key ${key} has mode 0640: others may read it; chmod 600 it`]);
  });

  it('warns of a certificate that peers refuse, or soon will', async () => {
    const at = async (days: number) => (await loadCredentials(paths(), NOW_MS + days * DAY_MS)).warnings;
    const cert = file('siteA.pem');
    expect(await at(-0.01)).to.deep.equal([
      `certificate ${cert} is valid from 2026-05-31T23:55:00.000Z on: peers refuse it; check the clock`,
      `CN=CA in CA ${file('ca.pem')} is valid from 2026-05-31T23:55:00.000Z to 2036-05-29T00:00:00.000Z, which is not now: peers under it are refused`,
    ]);
    expect(await at(328)).to.deep.equal([]);
    expect(await at(329)).to.deep.equal([
      `certificate ${cert} expires at 2027-06-01T00:00:00.000Z: put a new one in its place before`,
    ]);
    expect(await at(366)).to.deep.equal([
      `certificate ${cert} expired at 2027-06-01T00:00:00.000Z: peers refuse it; put a new one in its place`,
    ]);
    expect(await at(3651)).to.have.length(2);
  });

  it('names the file that can not be read', async () => {
    mkdirSync(file('folder'));
    expect(await failure({ key: file('nope') })).to.equal(
      'ERR_CONFIG_FILE: private key file DIR/nope can not be read: it does not exist',
    );
    expect(await failure({ ca: file('folder') })).to.equal(
      'ERR_CONFIG_FILE: CA file DIR/folder can not be read: it is a folder',
    );
  });

  it('names the file that can not be used', async () => {
    writeFileSync(file('empty'), '');
    writeFileSync(file('huge'), '');
    truncateSync(file('huge'), 1024 * 1024 + 1);
    expect(await failure({ key: file('ca.key') })).to.match(
      /^ERR_CONFIG_CREDENTIALS: certificate DIR\/siteA.pem with key DIR\/ca.key: .* \(ERR_CERT_KEY_MISMATCH\)$/,
    );
    expect(await failure({ cert: file('empty') })).to.match(/^ERR_CONFIG_CREDENTIALS: .*\(ERR_CERT_PEM\)$/);
    expect(await failure({ ca: file('siteA.pem') })).to.match(
      /^ERR_CONFIG_CREDENTIALS: CA DIR\/siteA.pem: .*\(ERR_CERT_NOT_CA\)$/,
    );
    for (const path of ['huge', '/dev/zero']) {
      expect(await failure({ ca: resolve(directory, path) })).to.match(
        /^ERR_CONFIG_FILE: CA file .* can not be read: it has more than 1048576 bytes$/,
      );
    }
  });

  it('checks that our certificate names our SAE', async () => {
    const { identity } = await loadCredentials(paths());
    checkOwnSae(identity, 'siteA', 'a.pem');
    expect(() => checkOwnSae(identity, 'siteB', 'a.pem')).to.throw(
      ConfigError,
      'a.pem names SAE siteA, but the service is SAE siteB',
    );
  });
});
