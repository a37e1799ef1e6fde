import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  Etsi014Source,
  type Etsi014SourceOptions,
  KdiError,
  KdiErrorCode,
  parseKmeUrl,
  type QkdKeyReference,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { type HttpsAnswer, type HttpsHandler, type HttpsKme, httpsKme } from '../support/https-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

// Written by hand after clause 6 of the standard.
const STATUS = {
  source_KME_ID: 'AAAABBBBCCCCDDDD',
  target_KME_ID: 'EEEEFFFFGGGGHHHH',
  master_SAE_ID: 'siteA',
  slave_SAE_ID: 'siteB',
  key_size: 352,
  stored_key_count: 25_000,
  max_key_count: 100_000,
  max_key_per_request: 128,
  max_key_size: 1024,
  min_key_size: 64,
  max_SAE_ID_count: 0,
};
const ID = [
  '490a382d-da97-4f60-8fe0-6e52c2d8e4a1',
  'bc490419-7d60-487f-adc1-4ddcc177c139',
  '0a782fb5-3434-48fe-aa4d-14f41d46cf92',
] as const;
/** 32 bytes of 0x01, 0x02, 0x03. */
const KEY = [
  'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=',
  'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=',
  'AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=',
] as const;
const container = (...indices: readonly number[]) => ({ keys: indices.map((i) => ({ key_ID: ID[i], key: KEY[i] })) });
const reference = (i: number): QkdKeyReference => ({
  api: 'etsi014',
  drawer: 'siteA',
  keyId: Buffer.from((ID[i] as string).replaceAll('-', ''), 'hex'),
});

describe('kdi-client/etsi014: a source against an HTTPS key manager', () => {
  let pki: TestPki;
  let kme: HttpsKme;
  let clock: VirtualClock;
  const opened: { close(): Promise<void> }[] = [];

  before(async () => {
    pki = await testPki();
  });
  beforeEach(() => {
    clock = new VirtualClock();
  });
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close();
    expect(clock.pending, 'timers left').to.equal(0);
  });

  async function sourceOf(handler: HttpsHandler, options: Partial<Etsi014SourceOptions> = {}): Promise<Etsi014Source> {
    kme = await httpsKme(pki, handler);
    opened.push(kme);
    const source = new Etsi014Source({
      address: parseKmeUrl(`etsi014://127.0.0.1:${kme.port}`),
      tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca },
      saeId: 'siteA',
      clock,
      ...options,
    });
    opened.push(source);
    return source;
  }
  const serving =
    (answer: HttpsAnswer, status: object = STATUS): HttpsHandler =>
    ({ url }) =>
      url.endsWith('/status') ? { json: status } : answer;
  async function errorOf(promise: Promise<unknown>): Promise<KdiError> {
    try {
      await promise;
    } catch (error) {
      if (error instanceof KdiError) return error;
      throw error;
    }
    throw new Error('no error');
  }
  const drawOf = async (source: Etsi014Source, count = 1) => (await source.openDraw('siteB')).draw(count);
  async function lookupOf(source: Etsi014Source, ...indices: readonly number[]) {
    const stream = await source.openLookup('siteA');
    opened.push(stream);
    const all = Promise.all(indices.map((i) => stream.lookup(reference(i))));
    // The caller awaits it; until then a rejection is no accident.
    all.catch(() => {});
    await clock.advance(0);
    return all;
  }

  it('draws a batch by POST, sizes in bits, with our certificate', async () => {
    const source = await sourceOf(serving({ json: container(0, 1) }));
    const keys = await drawOf(source, 2);
    expect(keys.map(({ secret }) => hexOf(secret.expose()))).to.deep.equal(['01'.repeat(32), '02'.repeat(32)]);
    expect(hexOf((keys[0]!.reference as { keyId: Uint8Array }).keyId)).to.equal(ID[0].replaceAll('-', ''));
    expect(keys[0]!.metadata).to.deep.equal({ kme: `127.0.0.1:${kme.port}` });
    expect(kme.requests).to.deep.equal([
      { method: 'GET', url: '/api/v1/keys/siteB/status', body: undefined, client: 'siteA' },
      { method: 'POST', url: '/api/v1/keys/siteB/enc_keys', body: { number: 2, size: 256 }, client: 'siteA' },
    ]);
    for (let i = 0; i < 4; i++) await source.status('siteB');
    expect(kme.connections, 'connections are kept').to.be.at.most(2);
  });

  it('asks for no more than the KME gives at once, and not without its extensions', async () => {
    const status = { ...STATUS, max_key_per_request: 2, max_SAE_ID_count: 1 };
    const source = await sourceOf(serving({ json: container(0) }, status), {
      additionalSlaveSaeIds: ['siteC'],
      extensionMandatory: [{ abc_route_type: 'direct' }, { abc_transfer_method: 'qkd' }],
      extensionOptional: [{ abc_max_age: 30_000 }],
    });
    await drawOf(source, 50);
    expect(kme.requests.at(-1)!.body).to.deep.equal({
      number: 2,
      size: 256,
      additional_slave_SAE_IDs: ['siteC'],
      extension_mandatory: [{ abc_route_type: 'direct' }, { abc_transfer_method: 'qkd' }],
      extension_optional: [{ abc_max_age: 30_000 }],
    });
  });

  it('asks nothing of a KME that takes fewer additional SAE IDs than are configured', async () => {
    for (const [most, pattern] of [
      [0, /takes no additional slave SAE IDs; 2 are configured/],
      [1, /takes at most 1 additional/],
    ] as const) {
      const source = await sourceOf(serving({ json: container(0) }, { ...STATUS, max_SAE_ID_count: most }), {
        additionalSlaveSaeIds: ['siteC', 'siteD'],
      });
      const error = await errorOf(source.openDraw('siteB'));
      expect(error).to.include({ code: KdiErrorCode.unsupported, retryable: false });
      expect(error.message).to.match(pattern);
      expect(kme.requests).to.have.length(1);
    }
  });

  it('extensions of keys and containers are no obstacle, whatever is in them', async () => {
    const extended = {
      keys: [
        {
          key_ID: ID[0],
          key_ID_extension: { serial: 7 },
          key: KEY[0],
          key_extension: { age: -1, hops: '2', vendor: [] },
        },
        { key_ID: ID[1], key_ID_extension: null, key: KEY[1], key_extension: null },
      ],
      key_container_extension: { vendor: { deep: [{ er: null }] } },
      unknown_field: true,
    };
    const keys = await drawOf(await sourceOf(serving({ json: extended })), 2);
    expect(keys.map(({ metadata }) => metadata)).to.deep.equal([
      { kme: `127.0.0.1:${kme.port}` },
      { kme: `127.0.0.1:${kme.port}` },
    ]);
  });

  it('gathers look-ups into one dec_keys, and hands out keys by ID whatever their order', async () => {
    const source = await sourceOf(serving({ json: container(2, 0, 1) }));
    const keys = await lookupOf(source, 0, 1, 2);
    expect(keys.map(({ secret }) => hexOf(secret.expose().subarray(0, 1)))).to.deep.equal(['01', '02', '03']);
    expect(kme.requests).to.have.length(1);
    expect(kme.requests[0]).to.deep.include({
      method: 'POST',
      url: '/api/v1/keys/siteA/dec_keys',
      body: { key_IDs: ID.map((id) => ({ key_ID: id })) },
    });
  });

  it('one unknown key does not fail the others asked for with it', async () => {
    const source = await sourceOf(({ body }) => {
      const asked = (body as { key_IDs: { key_ID: string }[] }).key_IDs.map(({ key_ID }) => key_ID);
      if (asked.includes(ID[1]))
        return { status: 400, json: { message: 'one or more keys specified are not found on KME' } };
      return { json: container(...asked.map((id) => ID.indexOf(id as (typeof ID)[number]))) };
    });
    const stream = await source.openLookup('siteA');
    opened.push(stream);
    const outcomes = Promise.allSettled([0, 1, 2].map((i) => stream.lookup(reference(i))));
    await clock.advance(0);
    const [first, second, third] = await outcomes;
    expect([first!.status, second!.status, third!.status]).to.deep.equal(['fulfilled', 'rejected', 'fulfilled']);
    expect((second as PromiseRejectedResult).reason).to.include({
      code: KdiErrorCode.keyNotFound,
      retryable: true,
      httpStatus: 400,
    });
  });

  it('a KME that takes fewer IDs at once is asked for fewer, also from then on', async () => {
    const source = await sourceOf(({ body }) => {
      const asked = (body as { key_IDs: { key_ID: string }[] }).key_IDs.map(({ key_ID }) => key_ID);
      if (asked.length > 1) return { status: 400, json: { message: 'too many key_IDs' } };
      return { json: container(...asked.map((id) => ID.indexOf(id as (typeof ID)[number]))) };
    });
    const stream = await source.openLookup('siteA');
    opened.push(stream);
    for (const requests of [5, 8]) {
      // 3 → 2 + 1 → 1 + 1 + 1; afterwards one by one.
      const keys = Promise.all([0, 1, 2].map((i) => stream.lookup(reference(i))));
      await clock.advance(0);
      expect((await keys).map(({ secret }) => hexOf(secret.expose().subarray(0, 1)))).to.deep.equal(['01', '02', '03']);
      expect(kme.requests).to.have.length(requests);
    }
  });

  it('status: sizes in bits, numeric IDs taken as they are', async () => {
    const source = await sourceOf(
      serving({}, { ...STATUS, key_size: 32, target_KME_ID: 7, status_extension: { x: 1 } }),
      {
        quirks: { keySizeInBytes: true },
      },
    );
    expect(await source.status('siteB')).to.deep.equal({
      storedKeyCount: 25_000,
      maxKeyCount: 100_000,
      maxKeysPerRequest: 128,
      keySizeBits: 256,
      sourceKmeId: 'AAAABBBBCCCCDDDD',
      targetKmeId: '7',
    });
  });

  it('carries what an extension says of age, hops and provenance', async () => {
    const source = await sourceOf(
      serving({
        json: {
          keys: [{ key_ID: ID[0], key: KEY[0], key_extension: { age: 5 } }],
          key_container_extension: { hops: 2, simulated: true },
        },
      }),
    );
    expect((await drawOf(source))[0]!.metadata).to.deep.include({ ageMs: 5, hops: 2, simulated: true });
  });

  describe('quirks', () => {
    it('key-size-in-bytes asks for 32; without it, a key of 256 bytes names the option', async () => {
      const long = { keys: [{ key_ID: ID[0], key: Buffer.alloc(256).toString('base64') }] };
      const error = await errorOf(drawOf(await sourceOf(serving({ json: long }))));
      expect(error).to.include({ code: KdiErrorCode.malformed });
      expect(error.message).to.match(/set key-size-in-bytes/);
      const source = await sourceOf(serving({ json: container(0) }, { ...STATUS, max_key_size: 32, min_key_size: 8 }), {
        quirks: { keySizeInBytes: true },
      });
      await drawOf(source);
      expect(kme.requests.at(-1)!.body).to.deep.include({ size: 32 });
      const unset = await sourceOf(serving({}, { ...STATUS, max_key_size: 32, min_key_size: 8 }));
      expect((await errorOf(drawOf(unset))).message).to.match(/set key-size-in-bytes/);
    });

    it('get-only uses the query forms', async () => {
      const source = await sourceOf(serving({ json: container(0) }), { quirks: { getOnly: true } });
      await drawOf(source, 3);
      expect(kme.requests.at(-1)).to.deep.include({
        method: 'GET',
        url: '/api/v1/keys/siteB/enc_keys?number=3&size=256',
      });
      await lookupOf(source, 0);
      expect(kme.requests.at(-1)).to.deep.include({
        method: 'GET',
        url: `/api/v1/keys/siteA/dec_keys?key_ID=${ID[0]}`,
      });
    });

    it('get-only refuses settings that a query can not carry', async () => {
      for (const options of [{ additionalSlaveSaeIds: ['siteC'] }, { extensionOptional: [{ x: 1 }] }]) {
        const error = await errorOf(sourceOf(() => ({}), { quirks: { getOnly: true }, ...options }));
        expect(error.code).to.equal(KdiErrorCode.config);
      }
    });

    it('unknown-key-status turns that status into a key that is not there yet', async () => {
      for (const status of [404, 500]) {
        const source = await sourceOf(() => ({ status }), { quirks: { unknownKeyStatuses: [status] } });
        expect(await errorOf(lookupOf(source, 0))).to.include({ code: KdiErrorCode.keyNotFound, retryable: true });
      }
      expect((await errorOf(lookupOf(await sourceOf(() => ({ status: 404 })), 0))).message).to.match(
        /unknown-key-status: 404/,
      );
    });

    it('min-key-age waits before it asks, and gathers meanwhile', async () => {
      const source = await sourceOf(serving({ json: container(0, 1) }), { quirks: { minKeyAgeMs: 300 } });
      const stream = await source.openLookup('siteA');
      const first = stream.lookup(reference(0));
      await clock.advance(200);
      const second = stream.lookup(reference(1));
      expect(kme.requests).to.have.length(0);
      await clock.advance(100);
      await Promise.all([first, second]);
      expect(kme.requests).to.have.length(1);
    });
  });

  describe('statuses', () => {
    const cases: readonly (readonly [
      call: 'enc_keys' | 'dec_keys',
      answer: HttpsAnswer,
      code: Code,
      retryable: boolean,
    ])[] = [
      ['enc_keys', { status: 400, json: { message: 'size shall be a multiple of 8' } }, KdiErrorCode.badRequest, false],
      [
        'enc_keys',
        {
          status: 400,
          json: { message: 'not all extension_mandatory request options could be met', details: [{ x: 'y' }] },
        },
        KdiErrorCode.badRequest,
        false,
      ],
      ['enc_keys', { status: 400, json: { message: 'Insufficient keys' } }, KdiErrorCode.insufficientKey, true],
      ['enc_keys', { status: 401 }, KdiErrorCode.unauthorized, false],
      ['enc_keys', { status: 503, json: { message: 'Error of server side' } }, KdiErrorCode.insufficientKey, true],
      ['enc_keys', { status: 503, text: '<html>' }, KdiErrorCode.insufficientKey, true],
      ['enc_keys', { status: 500 }, KdiErrorCode.http, true],
      ['enc_keys', { status: 302, headers: { location: 'https://elsewhere.test/' } }, KdiErrorCode.http, false],
      ['enc_keys', { status: 404 }, KdiErrorCode.http, false],
      ['enc_keys', { status: 200, json: { keys: [] } }, KdiErrorCode.insufficientKey, true],
      ['dec_keys', { status: 401 }, KdiErrorCode.unauthorized, false],
      ['dec_keys', { status: 503, json: { message: 'x' } }, KdiErrorCode.http, true],
    ];
    for (const [call, answer, code, retryable] of cases) {
      it(`${call} ${answer.status} ${JSON.stringify(answer.json ?? answer.text ?? '')} is ${code}`, async () => {
        const source = await sourceOf(serving(answer));
        const error = await errorOf(call === 'enc_keys' ? drawOf(source) : lookupOf(source, 0));
        expect(error).to.include({ code, retryable });
        if (answer.status !== 200) expect(error.httpStatus).to.equal(answer.status);
      });
    }
  });

  describe('malformed replies', () => {
    const wrong: readonly (readonly [name: string, answer: HttpsAnswer])[] = [
      ['no JSON', { text: 'AQEBAQEB not json' }],
      ['an array', { json: [] }],
      ['no keys', { json: {} }],
      ['a key that is no base64', { json: { keys: [{ key_ID: ID[0], key: '!!!!' }] } }],
      ['base64 without its padding', { json: { keys: [{ key_ID: ID[0], key: KEY[0].slice(0, -1) }] } }],
      ['a key_ID that is no UUID', { json: { keys: [{ key_ID: 'key-1', key: KEY[0] }] } }],
      ['a short key', { json: { keys: [{ key_ID: ID[0], key: 'AQEB' }] } }],
      ['more keys than asked for', { json: container(0, 1, 2) }],
      ['deep nesting that is not even closed', { text: '['.repeat(60_000) }],
      ['deep nesting', { text: `{"keys":${'['.repeat(20_000)}${']'.repeat(20_000)}}` }],
      ['a huge array', { text: `{"keys":[${'0,'.repeat(40_000)}0]}` }],
      ['huge objects', { text: `{"keys":[${'{},'.repeat(20_000)}{}]}` }],
      ['a name twice', { text: `{"keys":[{"key_ID":"${ID[0]}","key":"${KEY[0]}","key":"${KEY[1]}"}]}` }],
      [
        'a name twice, once escaped',
        { text: `{"keys":[{"key_ID":"${ID[0]}","key":"${KEY[0]}","k\\u0065y":"${KEY[1]}"}]}` },
      ],
      ['a number instead of a key', { text: `{"keys":[{"key_ID":"${ID[0]}","key":1e400}]}` }],
      ['100 KB of spaces for one key', { text: ' '.repeat(100_000) }],
      ['bytes that are no UTF-8', { text: Buffer.from([0x22, 0xff, 0xfe, 0x22]) as unknown as string }],
    ];
    for (const [name, answer] of wrong) {
      it(`${name}: ERR_KDI_MALFORMED, and no key in the message`, async () => {
        const error = await errorOf(drawOf(await sourceOf(serving(answer))));
        expect(error.code).to.equal(KdiErrorCode.malformed);
        expect(`${error.message} ${String((error.cause as Error | undefined)?.message)}`).not.to.contain('AQEB');
      });
    }

    it('the same key_ID twice in one reply is refused', async () => {
      const twice = {
        keys: [
          { key_ID: ID[0], key: KEY[0] },
          { key_ID: ID[0].toUpperCase(), key: KEY[1] },
        ],
      };
      expect((await errorOf(drawOf(await sourceOf(serving({ json: twice })), 2))).code).to.equal(
        KdiErrorCode.duplicateKey,
      );
    });

    it('a key that was not asked for is refused, and one that is left out is not there yet', async () => {
      expect((await errorOf(lookupOf(await sourceOf(serving({ json: container(1) })), 0))).code).to.equal(
        KdiErrorCode.malformed,
      );
      expect((await errorOf(lookupOf(await sourceOf(serving({ json: container(0) })), 0, 1))).code).to.equal(
        KdiErrorCode.keyNotFound,
      );
    });

    it('a status without its sizes, or with negative ones', async () => {
      const { key_size: _, ...without } = STATUS;
      for (const status of [
        without,
        { ...STATUS, stored_key_count: -1 },
        { ...STATUS, max_key_size: '1024' },
        { ...STATUS, max_key_count: 1e300 },
        { ...STATUS, max_key_per_request: 1.5 },
        { ...STATUS, source_KME_ID: 'x'.repeat(257) },
      ]) {
        expect((await errorOf((await sourceOf(serving({}, status))).status('siteB'))).code).to.equal(
          KdiErrorCode.malformed,
        );
      }
    });
  });

  describe('faults of the connection', () => {
    it('refused', async () => {
      const source = await sourceOf(() => ({}));
      await kme.close();
      expect(await errorOf(source.status('siteB'))).to.include({ code: KdiErrorCode.connect, retryable: true });
    });

    it('closed half-way through the body', async () => {
      const source = await sourceOf((_request, response) => {
        response.writeHead(200, { 'content-length': '500' });
        response.write('{"keys":[', () => response.destroy());
        return undefined;
      });
      expect(await errorOf(source.status('siteB'))).to.include({ code: KdiErrorCode.closed, retryable: true });
    });

    it('a KME that hangs, or drips, is given up at the deadline of the whole call', async () => {
      for (const drip of [false, true]) {
        let reached = (): void => {};
        const hanging = new Promise<void>((resolve) => {
          reached = resolve;
        });
        const source = await sourceOf(
          (_request, response) => {
            if (drip) response.write('{');
            reached();
            return undefined;
          },
          { callTimeoutMs: 3_000 },
        );
        const outcome = errorOf(source.status('siteB'));
        await hanging;
        await clock.advance(3_000);
        expect(await outcome).to.include({ code: KdiErrorCode.timeout, retryable: true });
      }
    });

    it('another CA, another name, another ID', async () => {
      const tls = { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca };
      const code = async (changed: object): Promise<Code> =>
        (await errorOf((await sourceOf(() => ({}), { tls: { ...tls, ...changed } })).status('siteB'))).code;
      expect(await code({ ca: pki.stranger.ca })).to.equal(KdiErrorCode.tls);
      expect(await code({ serverName: 'kme-z.test' })).to.equal(KdiErrorCode.kmeIdentity);
      expect(await code({ kmeId: 'kme-z' })).to.equal(KdiErrorCode.kmeIdentity);
      expect(kme.requests).to.have.length(0);
    });

    it('an abort, and closing the source, end what is in flight', async () => {
      const source = await sourceOf(() => undefined);
      const abort = new AbortController();
      const first = errorOf(source.status('siteB', { signal: abort.signal }));
      while (kme.requests.length < 1) await settle();
      abort.abort();
      expect((await first).code).to.equal(KdiErrorCode.aborted);
      const second = errorOf(source.status('siteB'));
      while (kme.requests.length < 2) await settle();
      await source.close();
      expect((await second).code).to.equal(KdiErrorCode.aborted);
      expect((await errorOf(source.status('siteB'))).code).to.equal(KdiErrorCode.aborted);
      while (kme.open > 0) await settle();
    });
  });
});
