import { EventEmitter, once } from 'node:events';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  type KdiErrorCode as Code,
  KdiError,
  KdiErrorCode,
  matchesSystemId,
  parseKmeUrl,
  type QkdKeyReference,
  SkipSource,
  type SkipSourceOptions,
} from '../../../kdi-client/index.ts';
import { fromHex, hexOf, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { type HttpsAnswer, type HttpsHandler, type HttpsKme, httpsKme } from '../support/https-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

const CAPABILITIES = {
  entropy: true,
  key: true,
  algorithm: 'QKD',
  localSystemID: 'siteA',
  remoteSystemID: ['site[B-D]', 'lab-*'],
};
const KEY_ID = '1d5b9ab3f0c1a2de44a1e2b3c4d5e6f7';
const KEY = '3f'.repeat(32);

function keyIdOf(reference: QkdKeyReference): Uint8Array {
  return reference.api === 'etsi004' ? reference.ksid : reference.keyId;
}

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

  it('looks a key up under its ID in upper case where that is set, and takes the answer in either', async () => {
    for (const keyId of [KEY_ID.toUpperCase(), KEY_ID]) {
      const source = await sourceOf(
        ({ url }) => ({ json: url === '/capabilities' ? CAPABILITIES : { keyId, key: KEY } }),
        {
          upperCaseKeyIds: true,
        },
      );
      const lookup = await source.openLookup('siteZ');
      await lookup.lookup({ api: 'skip', drawer: 'siteZ', keyId: fromHex(KEY_ID) });
      expect(provider.requests.at(-1)!.url).to.equal(`/key/${KEY_ID.toUpperCase()}?remoteSystemID=siteZ`);
    }
  });

  it("asks for no key of another drawer's, nor of another API's", async () => {
    const source = await sourceOf(() => ({ json: CAPABILITIES }));
    const lookup = await source.openLookup('siteZ');
    const keyId = fromHex(KEY_ID);
    for (const reference of [
      { api: 'skip', drawer: 'siteY', keyId },
      { api: 'etsi014', drawer: 'siteZ', keyId },
    ] as const) {
      expect(await lookup.lookup(reference).catch((error: KdiError) => error.code)).to.equal(KdiErrorCode.stream);
    }
    expect(provider.requests.map(({ url }) => url)).to.deep.equal(['/capabilities']);
  });

  it('says at once that a provider gives entropy only', async () => {
    const source = await sourceOf(() => ({ json: { ...CAPABILITIES, key: false } }));
    for (const call of [source.openDraw('siteB'), source.status('siteB')]) {
      expect(await call.catch((error: KdiError) => error)).to.include({
        code: KdiErrorCode.unsupported,
        retryable: false,
      });
    }
  });

  describe('several requests at a time', () => {
    /** A provider that says nothing of itself: each request for a key waits to be answered by the test. */
    const heldBack = () => {
      const waiting: ((answer: HttpsAnswer) => void)[] = [];
      const arrivals = new EventEmitter();
      const handler: HttpsHandler = ({ url }, response) => {
        if (url === '/capabilities') return { json: CAPABILITIES };
        waiting.push(({ status = 200, json = {} }) => {
          response.writeHead(status, { 'content-type': 'application/json' });
          response.end(JSON.stringify(json));
        });
        arrivals.emit('request');
        return undefined;
      };
      /** Those that wait, once there are `count`. */
      const arrived = async (count: number) => {
        while (waiting.length < count) await once(arrivals, 'request');
        return waiting.splice(0);
      };
      return { handler, arrived, waiting, arrivals };
    };
    let ids = 0;
    const key = (): HttpsAnswer => ({ json: { keyId: (++ids).toString(16).padStart(32, '0'), key: KEY } });
    const secretsMade: SecretBytes[] = [];
    const { wipe } = SecretBytes.prototype;
    beforeEach(() => {
      secretsMade.length = 0;
      SecretBytes.prototype.wipe = function (this: SecretBytes) {
        secretsMade.push(this);
        wipe.call(this);
      };
    });
    afterEach(() => {
      SecretBytes.prototype.wipe = wipe;
    });

    it('has four under way and never more, and gives as many keys as were asked for', async () => {
      const { handler, arrived, waiting } = heldBack();
      const stream = await (await sourceOf(handler)).openDraw('siteB');
      const drawn = stream.draw(9);
      for (let round = 0; round < 2; round++) {
        const four = await arrived(4);
        await settle();
        expect(waiting).to.have.length(0);
        for (const answer of four) answer(key());
      }
      for (const answer of await arrived(1)) answer(key());
      expect(new Set((await drawn).map(({ reference }) => hexOf(keyIdOf(reference))))).to.have.property('size', 9);
      expect(provider.requests).to.have.length(1 + 9);
      expect(provider.connections).to.be.at.most(4);
    });

    it('keeps what came where there is no more, awaits what is under way, and asks four at a time again', async () => {
      const { handler, arrived, waiting, arrivals } = heldBack();
      const stream = await (await sourceOf(handler)).openDraw('siteB');
      const drawn = stream.draw(32);
      const [first, second, third, fourth] = await arrived(4);
      second?.(key());
      fourth?.(key());
      // Whether they are read before the failures, and two more are asked for, is chance.
      const atOnce = () => {
        for (const answer of waiting.splice(0)) answer({ status: 503 });
      };
      arrivals.on('request', atOnce);
      first?.({ status: 503 });
      third?.({ status: 503 });
      expect(await drawn).to.have.length(2);
      arrivals.off('request', atOnce);
      expect(provider.requests, 'of 32').to.have.length.at.most(1 + 4 + 2);
      const again = stream.draw(4);
      for (const answer of await arrived(4)) answer(key());
      expect(await again).to.have.length(4);
    });

    it('asks one by one from then on where some of several failed otherwise', async () => {
      const { handler, arrived, waiting } = heldBack();
      const stream = await (await sourceOf(handler)).openDraw('siteB');
      const drawn = stream.draw(4);
      const [first, ...others] = await arrived(4);
      first?.(key());
      for (const other of others) other({ status: 429 });
      expect(await drawn).to.have.length(1);
      const again = stream.draw(3);
      for (let i = 0; i < 3; i++) {
        const [only] = await arrived(1);
        await settle();
        expect(waiting).to.have.length(0);
        only?.(key());
      }
      expect(await again).to.have.length(3);
    });

    it('wipes all of them if one keyId comes twice, whatever else failed first', async () => {
      const { handler, arrived } = heldBack();
      const stream = await (await sourceOf(handler)).openDraw('siteB');
      const error = errorOf(stream.draw(4));
      const four = await arrived(4);
      const twice = key();
      for (const [i, answer] of four.entries()) answer(i === 0 ? { status: 500 } : i === 1 ? key() : twice);
      expect((await error).code).to.equal(KdiErrorCode.duplicateKey);
      expect(secretsMade).to.have.length(3);
    });

    it('wipes what arrived when it is given up', async () => {
      const { handler, arrived } = heldBack();
      const stream = await (await sourceOf(handler)).openDraw('siteB');
      const abort = new AbortController();
      const error = errorOf(stream.draw(8, { signal: abort.signal }));
      const [first, second] = await arrived(4);
      first?.(key());
      second?.(key());
      // Their successors are asked for once both were read.
      await arrived(2);
      abort.abort();
      expect((await error).code).to.equal(KdiErrorCode.aborted);
      expect(secretsMade).to.have.length(2);
    });

    it('a provider that hangs is cut off by the deadline of a call, and what came is kept', async () => {
      const clock = new VirtualClock();
      const { handler, arrived } = heldBack();
      const stream = await (await sourceOf(handler, { clock, callTimeoutMs: 1_000 })).openDraw('siteB');
      const drawn = stream.draw(8);
      const [first] = await arrived(4);
      first?.(key());
      await arrived(1);
      await clock.advance(1_000);
      expect(await drawn).to.have.length(1);
      const nothing = errorOf(stream.draw(2));
      await arrived(1);
      await clock.advance(1_000);
      expect((await nothing).code).to.equal(KdiErrorCode.timeout);
      expect(clock.pending).to.equal(0);
    });
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
    expect((await errorOf(source.status('siteX'))).message).to.equal(error.message);
    expect(provider.requests).to.have.length(2);
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
