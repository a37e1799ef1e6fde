import { expect } from 'chai';
import fc from 'fast-check';
import {
  type KdiErrorCode as Code,
  KdiError,
  KdiErrorCode,
  matchesSystemId,
  parseKmeUrl,
  SkipSource,
  type SkipSourceOptions,
} from '../../../kdi-client/index.ts';
import { fromHex, hexOf } from '../../../tls-ext/bytes/index.ts';
import { type HttpsAnswer, type HttpsHandler, type HttpsKme, httpsKme } from '../support/https-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';

const CAPABILITIES = {
  entropy: true,
  key: true,
  algorithm: 'QKD',
  localSystemID: 'siteA',
  remoteSystemID: ['site[B-D]', 'lab-*'],
};
const KEY_ID = '1d5b9ab3f0c1a2de44a1e2b3c4d5e6f7';
const KEY = '3f'.repeat(32);

describe('kdi-client/skip: a source against a key provider', () => {
  let pki: TestPki;
  let provider: HttpsKme;
  const opened: { close(): Promise<void> }[] = [];

  before(async () => {
    pki = await testPki();
  });
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close();
  });

  async function sourceOf(
    handler: HttpsHandler,
    options: Partial<SkipSourceOptions> = {},
    server = {},
  ): Promise<SkipSource> {
    provider = await httpsKme(pki, handler, server);
    opened.push(provider);
    const source = new SkipSource({
      address: parseKmeUrl(`skip://127.0.0.1:${provider.port}`),
      tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca },
      saeId: 'siteA',
      ...options,
    });
    opened.push(source);
    return source;
  }
  const serving =
    (answer: HttpsAnswer): HttpsHandler =>
    ({ url }) =>
      url === '/capabilities' ? { json: CAPABILITIES } : answer;
  async function errorOf(promise: Promise<unknown>): Promise<KdiError> {
    try {
      await promise;
    } catch (error) {
      if (error instanceof KdiError) return error;
      throw error;
    }
    throw new Error('no error');
  }

  it('reads the capabilities, draws keys one by one, and looks one up by its ID', async () => {
    let next = 0;
    const source = await sourceOf(({ url }) => {
      if (url === '/capabilities') return { json: CAPABILITIES };
      return { json: { keyId: url.startsWith('/key/') ? KEY_ID : `${KEY_ID.slice(0, -2)}0${next++}`, key: KEY } };
    });
    const keys = await (await source.openDraw('siteB')).draw(2);
    expect(keys.map(({ reference }) => hexOf((reference as { keyId: Uint8Array }).keyId))).to.deep.equal([
      `${KEY_ID.slice(0, -2)}00`,
      `${KEY_ID.slice(0, -2)}01`,
    ]);
    expect(hexOf(keys[0]!.secret.expose())).to.equal(KEY);
    const lookup = await source.openLookup('siteZ');
    const found = await lookup.lookup({ api: 'skip', drawer: 'siteZ', keyId: fromHex(KEY_ID) });
    expect(hexOf(found.secret.expose())).to.equal(KEY);
    expect(provider.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
      'GET /capabilities',
      'GET /key?remoteSystemID=siteB&size=256',
      'GET /key?remoteSystemID=siteB&size=256',
      `GET /key/${KEY_ID}?remoteSystemID=siteZ`,
    ]);
  });

  it("marks a simulator's keys, at both ends", async () => {
    const simulator = { ...CAPABILITIES, algorithm: 'simulated-bb84' };
    const source = await sourceOf(({ url }) => ({
      json: url === '/capabilities' ? simulator : { keyId: KEY_ID, key: KEY },
    }));
    const lookup = await source.openLookup('siteZ');
    const found = await lookup.lookup({ api: 'skip', drawer: 'siteZ', keyId: fromHex(KEY_ID) });
    expect(found.metadata).to.deep.equal({ kme: source.kme, simulated: true });
    const [drawn] = await (await source.openDraw('siteB')).draw(1);
    expect(drawn?.metadata).to.include({ simulated: true });
  });

  it('gets along with a pre-shared key instead of certificates', async () => {
    const psk = Buffer.alloc(32, 7);
    const server = {
      cert: undefined,
      key: undefined,
      requestCert: false,
      ciphers: 'TLS_AES_128_GCM_SHA256:DHE-PSK-AES128-GCM-SHA256',
      pskCallback: (_socket: unknown, identity: string) => (identity === 'proxy-a' ? psk : null),
    };
    const source = await sourceOf(serving({}), { tls: { psk: { identity: 'proxy-a', key: psk } } }, server);
    expect(await source.capabilities()).to.deep.equal(CAPABILITIES);
    const wrong = await sourceOf(serving({}), { tls: { psk: { identity: 'proxy-a', key: Buffer.alloc(32) } } }, server);
    expect((await errorOf(wrong.capabilities())).code).to.be.oneOf([KdiErrorCode.tls, KdiErrorCode.closed]);
  });

  it('refuses a server with a certificate where a pre-shared key was configured', async () => {
    const source = await sourceOf(
      serving({}),
      { tls: { psk: { identity: 'proxy-a', key: Buffer.alloc(32) } } },
      { requestCert: false },
    );
    expect((await errorOf(source.capabilities())).code).to.be.oneOf([KdiErrorCode.tls, KdiErrorCode.kmeIdentity]);
    expect(provider.requests).to.have.length(0);
  });

  it('says at once that a peer is not reachable over this provider', async () => {
    const source = await sourceOf(serving({}));
    const error = await errorOf(source.openDraw('siteX'));
    expect(error.code).to.equal(KdiErrorCode.noQkdConnection);
    expect(error.message).to.contain('site[B-D], lab-*');
    expect(provider.requests).to.have.length(1);
  });

  it('entropy: what was asked for, or an error', async () => {
    const source = await sourceOf(serving({ json: { randomStr: 'ab'.repeat(32), minentropy: 256 } }));
    const { secret } = await source.entropy(256);
    expect(secret.length).to.equal(32);
    expect((await errorOf(source.entropy(512))).code).to.equal(KdiErrorCode.insufficientKey);
  });

  const failures: readonly (readonly [name: string, answer: HttpsAnswer, draw: Code, lookup: Code])[] = [
    ['400', { status: 400 }, KdiErrorCode.badRequest, KdiErrorCode.keyNotFound],
    ['404', { status: 404 }, KdiErrorCode.unsupported, KdiErrorCode.unsupported],
    ['405', { status: 405 }, KdiErrorCode.unsupported, KdiErrorCode.unsupported],
    ['500', { status: 500 }, KdiErrorCode.http, KdiErrorCode.http],
    ['503', { status: 503 }, KdiErrorCode.insufficientKey, KdiErrorCode.insufficientKey],
    ['no JSON', { text: KEY }, KdiErrorCode.malformed, KdiErrorCode.malformed],
    ['a short key', { json: { keyId: KEY_ID, key: 'ab' } }, KdiErrorCode.malformed, KdiErrorCode.malformed],
    [
      'a key that is no hex',
      { json: { keyId: KEY_ID, key: 'xy'.repeat(32) } },
      KdiErrorCode.malformed,
      KdiErrorCode.malformed,
    ],
    ['an empty keyId', { json: { keyId: '', key: KEY } }, KdiErrorCode.malformed, KdiErrorCode.malformed],
    [
      'the same keyId for every request',
      { json: { keyId: KEY_ID, key: KEY } },
      KdiErrorCode.duplicateKey,
      KdiErrorCode.malformed,
    ],
  ];
  for (const [name, answer, draw, lookup] of failures) {
    it(`${name}: ${draw} on a draw, ${lookup} on a look-up`, async () => {
      const source = await sourceOf(serving(answer));
      expect((await errorOf((await source.openDraw('lab-7')).draw(2))).code).to.equal(draw);
      const stream = await source.openLookup('lab-7');
      expect((await errorOf(stream.lookup({ api: 'skip', drawer: 'lab-7', keyId: new Uint8Array(16) }))).code).to.equal(
        lookup,
      );
    });
  }
});

describe('kdi-client/wire/skip: system ID globs', () => {
  const cases: readonly (readonly [pattern: string, id: string, matches: boolean])[] = [
    ['siteB', 'siteB', true],
    ['siteB', 'siteBB', false],
    ['*', '', true],
    ['site*', 'site', true],
    ['*B', 'siteAB', true],
    ['s?te', 'site', true],
    ['s?te', 'ste', false],
    ['[abc]x', 'bx', true],
    ['[!abc]x', 'bx', false],
    ['[!abc]x', 'dx', true],
    ['[a-c]', 'b', true],
    ['[a-]', '-', true],
    ['[]a]', ']', true],
    ['[ab', '[ab', true],
    ['a*b*c', 'aXbYbZc', true],
    ['a*b*c', 'aXbYbZ', false],
    ['a.c', 'abc', false],
  ];
  for (const [pattern, id, matches] of cases) {
    it(`'${pattern}' ${matches ? 'matches' : 'does not match'} '${id}'`, () => {
      expect(matchesSystemId([pattern], id)).to.equal(matches);
    });
  }

  it('is not led into exponential time by many stars', () => {
    expect(matchesSystemId([`${'*a'.repeat(120)}b`], 'a'.repeat(256))).to.equal(false);
  });

  it('a pattern without metacharacters matches itself only', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        fc.pre(!/[*?[]/.test(a));
        expect(matchesSystemId([a], a)).to.equal(true);
        expect(matchesSystemId([a], b)).to.equal(a === b);
      }),
    );
  });
});
