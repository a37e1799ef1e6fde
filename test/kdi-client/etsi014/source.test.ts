import { expect } from 'chai';
import { KdiErrorCode } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { container, etsi014Bench, ID, KEY, reference, STATUS } from './source-bench.ts';

describe('kdi-client/etsi014: a source against an HTTPS key manager', () => {
  const bench = etsi014Bench();
  const { sourceOf, serving, errorOf, drawOf, lookupOf, opened } = bench;

  it('draws a batch by POST, sizes in bits, with our certificate', async () => {
    const source = await sourceOf(serving({ json: container(0, 1) }));
    const keys = await drawOf(source, 2);
    expect(keys.map(({ secret }) => hexOf(secret.expose()))).to.deep.equal(['01'.repeat(32), '02'.repeat(32)]);
    expect(hexOf((keys[0]!.reference as { keyId: Uint8Array }).keyId)).to.equal(ID[0].replaceAll('-', ''));
    expect(keys[0]!.metadata).to.deep.equal({ kme: `127.0.0.1:${bench.kme.port}` });
    expect(bench.kme.requests).to.deep.equal([
      { method: 'GET', url: '/api/v1/keys/siteB/status', body: undefined, client: 'siteA' },
      { method: 'POST', url: '/api/v1/keys/siteB/enc_keys', body: { number: 2, size: 256 }, client: 'siteA' },
    ]);
    for (let i = 0; i < 4; i++) await source.status('siteB');
    expect(bench.kme.connections, 'connections are kept').to.be.at.most(2);
  });

  it('asks for no more than the KME gives at once, and not without its extensions', async () => {
    const status = { ...STATUS, max_key_per_request: 2, max_SAE_ID_count: 1 };
    const source = await sourceOf(serving({ json: container(0) }, status), {
      additionalSlaveSaeIds: ['siteC'],
      extensionMandatory: [{ abc_route_type: 'direct' }, { abc_transfer_method: 'qkd' }],
      extensionOptional: [{ abc_max_age: 30_000 }],
    });
    await drawOf(source, 50);
    expect(bench.kme.requests.at(-1)!.body).to.deep.equal({
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
      expect(bench.kme.requests).to.have.length(1);
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
      { kme: `127.0.0.1:${bench.kme.port}` },
      { kme: `127.0.0.1:${bench.kme.port}` },
    ]);
  });

  it('gathers look-ups into one dec_keys, and hands out keys by ID whatever their order', async () => {
    const source = await sourceOf(serving({ json: container(2, 0, 1) }));
    const keys = await lookupOf(source, 0, 1, 2);
    expect(keys.map(({ secret }) => hexOf(secret.expose().subarray(0, 1)))).to.deep.equal(['01', '02', '03']);
    expect(bench.kme.requests).to.have.length(1);
    expect(bench.kme.requests[0]).to.deep.include({
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
    await bench.clock.advance(0);
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
      await bench.clock.advance(0);
      expect((await keys).map(({ secret }) => hexOf(secret.expose().subarray(0, 1)))).to.deep.equal(['01', '02', '03']);
      expect(bench.kme.requests).to.have.length(requests);
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
      expect(bench.kme.requests.at(-1)!.body).to.deep.include({ size: 32 });
      const unset = await sourceOf(serving({}, { ...STATUS, max_key_size: 32, min_key_size: 8 }));
      expect((await errorOf(drawOf(unset))).message).to.match(/set key-size-in-bytes/);
    });

    it('get-only uses the query forms', async () => {
      const source = await sourceOf(serving({ json: container(0) }), { quirks: { getOnly: true } });
      await drawOf(source, 3);
      expect(bench.kme.requests.at(-1)).to.deep.include({
        method: 'GET',
        url: '/api/v1/keys/siteB/enc_keys?number=3&size=256',
      });
      await lookupOf(source, 0);
      expect(bench.kme.requests.at(-1)).to.deep.include({
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
      await bench.clock.advance(200);
      const second = stream.lookup(reference(1));
      expect(bench.kme.requests).to.have.length(0);
      await bench.clock.advance(100);
      await Promise.all([first, second]);
      expect(bench.kme.requests).to.have.length(1);
    });
  });
});
