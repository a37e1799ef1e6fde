import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Credential, createCa, issueLeaf, type LeafOptions, writeCredential } from '../../certs/index.ts';
import { openSimFolder } from '../../proxy/cli/sim-folder.ts';

const DAY_MS = 86_400_000;

describe('proxy: the folder of qstunnel sim up', () => {
  let dir: string;
  const open = (host = '127.0.0.1', saeA = 'siteA') => openSimFolder(dir, [saeA, 'siteB'], host);
  const contents = async () => {
    const names = (await readdir(dir)).sort();
    return Promise.all(names.map(async (name) => [name, await readFile(join(dir, name), 'utf8')]));
  };
  /** What `open` says, after which the folder must be as it was before. */
  const refusal = async (...args: Parameters<typeof open>): Promise<string> => {
    const before = await contents();
    const error = await open(...args).then(
      () => undefined,
      (reason) => reason,
    );
    expect(await contents()).to.deep.equal(before);
    expect(error).to.include({ code: 'ERR_CLI_FILE' });
    return error.message.replaceAll(dir, 'DIR').replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME');
  };
  const remove = (...names: string[]) => Promise.all(names.map((name) => rm(join(dir, name))));
  const storedCa = async (): Promise<Credential> => ({
    certPem: await readFile(join(dir, 'ca.pem'), 'utf8'),
    keyPem: await readFile(join(dir, 'ca.key'), 'utf8'),
  });
  const replaceKmeA = async (options: Partial<LeafOptions>, ca?: Credential) => {
    const made = await issueLeaf(ca ?? (await storedCa()), 'kme', {
      commonName: 'kme-a',
      ipAddresses: ['127.0.0.1'],
      nowMs: Date.now(),
      ...options,
    });
    await remove('kme-a.pem', 'kme-a.key');
    await writeCredential(dir, 'kme-a', made);
  };

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'qstunnel-test-'));
    await open();
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('is used as it is, and what is missing is made', async () => {
    const before = await contents();
    await remove('siteB.pem', 'siteB.key');
    const { saes, kmes } = await open('::1');
    const after = await contents();
    const others = (files: string[][]) => files.filter(([name]) => !name?.startsWith('siteB'));
    expect(others(after)).to.deep.equal(others(before));
    expect(after.map(([name]) => name)).to.deep.equal(before.map(([name]) => name));
    expect(saes[1]).to.include({ saeId: 'siteB', cert: join(dir, 'siteB.pem') });
    expect(kmes[0].cert).to.equal(await readFile(join(dir, 'kme-a.pem'), 'utf8'));
  });

  it('of another host is refused', async () => {
    expect(await refusal('127.0.0.2')).to.equal(
      'what is in DIR can not be used: the certificate of CN=kme-a does not name the host 127.0.0.2; ' +
        'move kme-a.*, kme-b.* away to have them made anew, or choose another --dir',
    );
    await remove('kme-a.pem', 'kme-a.key', 'kme-b.pem', 'kme-b.key');
    await open('127.0.0.2');
  });

  it('with an expired certificate is refused', async () => {
    await replaceKmeA({ notBeforeMs: Date.now() - 3 * DAY_MS, validityDays: 1 });
    expect(await refusal()).to.equal(
      'what is in DIR can not be used: the certificate of CN=kme-a expired at TIME; ' +
        'move kme-a.* away to have it made anew, or choose another --dir',
    );
  });

  it('with a certificate that expires within a day is refused', async () => {
    await replaceKmeA({ validityDays: 0.99 });
    expect(await refusal()).to.match(/the certificate of CN=kme-a expires within a day, at TIME; move kme-a\.\* away/);
    await replaceKmeA({ validityDays: 1.01 });
    await open();
  });

  it('with an expired CA is refused, with all that it issued', async () => {
    const expired = { nowMs: Date.now(), notBeforeMs: Date.now() - 3 * DAY_MS, validityDays: 1 };
    await remove('ca.pem', 'ca.key');
    await writeCredential(dir, 'ca', await createCa({ commonName: 'own', ...expired }));
    await replaceKmeA(expired);
    expect(await refusal()).to.match(
      /the certificate of CN=own expired at TIME; move ca\.\*, kme-a\.\*, kme-b\.\*, siteA\.\*, siteB\.\* away/,
    );
  });

  it('whose CA is gone is refused', async () => {
    await remove('ca.pem', 'ca.key');
    expect(await refusal()).to.match(/move kme-a\.\*, kme-b\.\*, siteA\.\*, siteB\.\* away/);
  });

  it('whose certificate names another SAE is refused', async () => {
    // Not names of files: both would be in sae-a.pem.
    await open('127.0.0.1', 'hospital/1');
    expect(await refusal('127.0.0.1', 'hospital/2')).to.match(
      /the certificate of CN=sae-a names SAE hospital\/1, admitted: hospital\/2; move sae-a\.\* away/,
    );
  });

  it('with half of a pair is refused', async () => {
    await remove('siteA.key');
    expect(await refusal()).to.match(/siteA\.key is missing beside siteA\.pem; move siteA\.\* away/);
  });

  it('with something else than PEM is refused', async () => {
    await writeFile(join(dir, 'kme-b.pem'), 'hello');
    expect(await refusal()).to.match(/no "BEGIN CERTIFICATE" block found; move kme-b\.\* away/);
  });
});
