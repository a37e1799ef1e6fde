import { expect } from 'chai';
import { parseEtsi014KeyContainer, parseEtsi014Status } from '../../../kdi-client/wire/index.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { type Answer, call, curlClient } from './https-fixture.ts';
import { type KmePair, type KmePairOptions, kmePair, wrapSupply } from './kme-fixture.ts';

const ENC = '/api/v1/keys/siteB/enc_keys';
const DEC = '/api/v1/keys/siteA/dec_keys';

describe('qkd-sim: 014 server', () => {
  let pair: KmePair;
  const start = async (options: KmePairOptions = {}) => {
    pair = await kmePair({ capacityBytes: 4096, ...options });
    pair.fill(8192);
  };
  afterEach(() => pair.close());

  const enc = (body?: unknown, sae: 'siteA' | 'siteA2' = 'siteA') =>
    call(pair.httpsA, sae, ENC, body === undefined ? {} : { body });
  const dec = (ids: readonly string[], sae: 'siteB' | 'siteB2' = 'siteB') =>
    call(pair.httpsB, sae, DEC, { body: { key_IDs: ids.map((key_ID) => ({ key_ID })) } });
  const keysOf = (answer: Answer) => {
    expect(answer.status, answer.text).to.equal(200);
    return parseEtsi014KeyContainer(answer.json).keys;
  };
  const refusal = (answer: Answer) => [answer.status, answer.json?.message];

  it('states sizes in bits and counts of what can be drawn', async () => {
    await start();
    const { json } = await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/status');
    expect(json).to.deep.equal({
      source_KME_ID: 'kme-a',
      target_KME_ID: 'kme-b',
      master_SAE_ID: 'siteA',
      slave_SAE_ID: 'siteB',
      key_size: 256,
      stored_key_count: 128,
      max_key_count: 128,
      max_key_per_request: 128,
      max_key_size: 8192,
      min_key_size: 64,
      max_SAE_ID_count: 8,
    });
    keysOf(await enc({ number: 3 }));
    const after = await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/status');
    expect(parseEtsi014Status(after.json).stored_key_count).to.equal(125);
    const otherDirection = await call(pair.httpsB, 'siteB', '/api/v1/keys/siteA/status');
    expect(parseEtsi014Status(otherDirection.json).stored_key_count).to.equal(128);
  });

  it('gives master and slave the same keys, each once, and says that they are simulated', async () => {
    await start();
    const drawn = keysOf(await enc({ number: 3, size: 128 }));
    expect(drawn.map(({ key }) => Buffer.from(key, 'base64').length)).to.deep.equal([16, 16, 16]);
    expect(new Set(drawn.map(({ key }) => key)).size).to.equal(3);
    expect(drawn[0]?.key_extension).to.include({ simulated: true, hops: 0 });
    const ids = drawn.map(({ key_ID }) => key_ID);
    for (const id of ids) expect(id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const fetched = keysOf(await dec([...ids].reverse().map((id) => id.toUpperCase())));
    expect(fetched.map(({ key_ID, key }) => [key_ID, key]).reverse()).to.deep.equal(
      drawn.map(({ key_ID, key }) => [key_ID, key]),
    );
    expect(refusal(await dec([ids[0] as string]))).to.deep.equal([
      400,
      'one or more keys specified are not found on KME',
    ]);
  });

  it('takes the GET forms', async () => {
    await start();
    const [key] = keysOf(await call(pair.httpsA, 'siteA', `${ENC}?number=1&size=64`));
    expect(Buffer.from(key?.key ?? '', 'base64').length).to.equal(8);
    const [fetched] = keysOf(await call(pair.httpsB, 'siteB', `${DEC}?key_ID=${key?.key_ID}`));
    expect(fetched?.key).to.equal(key?.key);
    expect(keysOf(await call(pair.httpsA, 'siteA', ENC)).length).to.equal(1);
  });

  it('serves both directions without giving bits twice', async () => {
    await start();
    const [one, other] = await Promise.all([
      enc({ number: 16 }),
      call(pair.httpsB, 'siteB', '/api/v1/keys/siteA/enc_keys', { body: { number: 16 } }),
    ]);
    const all = [...keysOf(one as Answer), ...keysOf(other as Answer)].map(({ key }) => key);
    expect(new Set(all).size).to.equal(32);
  });

  it('answers 401 without a body to who was not named in the request', async () => {
    await start();
    const [key] = keysOf(await enc());
    const id = key?.key_ID ?? '';
    const intruder = await dec([id], 'siteB2');
    expect([intruder.status, intruder.text]).to.deep.equal([401, '']);
    const stranger = await call(pair.httpsA, 'stranger', ENC);
    expect([stranger.status, stranger.text]).to.deep.equal([401, '']);
    const elsewhere = await call(pair.httpsA, 'siteB' as 'siteA', ENC);
    expect(elsewhere.status, 'an SAE of the other KME').to.equal(401);
    expect(keysOf(await dec([id])).length, 'the key is still there').to.equal(1);
  });

  it('takes a key from the right master only, all of a request or none', async () => {
    await start();
    const ids = keysOf(await enc({ number: 2 })).map(({ key_ID }) => key_ID);
    const wrongMaster = await call(pair.httpsB, 'siteB', '/api/v1/keys/siteA2/dec_keys', {
      body: { key_IDs: ids.map((key_ID) => ({ key_ID })) },
    });
    expect(wrongMaster.status).to.equal(400);
    expect((await dec([...ids, '00000000-0000-4000-8000-000000000000'])).status).to.equal(400);
    expect(keysOf(await dec(ids)).length).to.equal(2);
  });

  it('gives one key to several slaves, at either KME, each once', async () => {
    await start();
    const [key] = keysOf(await enc({ additional_slave_SAE_IDs: ['siteB2', 'siteA2'] }));
    const ids = [key?.key_ID ?? ''];
    for (const answer of [
      await dec(ids, 'siteB'),
      await dec(ids, 'siteB2'),
      await call(pair.httpsA, 'siteA2', DEC, { body: { key_IDs: [{ key_ID: ids[0] }] } }),
    ]) {
      expect(keysOf(answer)[0]?.key).to.equal(key?.key);
    }
    expect((await dec(ids, 'siteB2')).status).to.equal(400);
  });

  it('draws nothing for a request that it refuses', async () => {
    await start({ settings: { etsi014: { maxAdditionalSlaves: 1, maxKeysPerRequest: 10 } } });
    const before = pair.stores.a.level().availableBytes;
    const extension = [{ 'vendor-thing': { x: 1 } }];
    expect(refusal(await enc({ size: 255 }))).to.deep.equal([400, 'size shall be a multiple of 8']);
    expect(refusal(await enc({ extension_mandatory: extension }))).to.deep.equal([
      400,
      'not all extension_mandatory parameters are supported',
    ]);
    for (const body of [
      { size: 32 },
      { size: 1e6 },
      { number: 0 },
      { number: 11 },
      { number: -1 },
      { number: 1.5 },
      { number: '3' },
      { additional_slave_SAE_IDs: ['siteB2', 'siteA2'] },
      { additional_slave_SAE_IDs: ['nobody'] },
      { additional_slave_SAE_IDs: 'siteB2' },
      { additional_slave_SAE_IDs: ['siteA'] },
      [],
      'text',
    ]) {
      const answer = await enc(body);
      expect(answer.status, JSON.stringify(body)).to.equal(400);
      expect(answer.json.message).to.be.a('string');
    }
    for (const query of ['?number=x', '?size=-8', '?number=1&number=2']) {
      expect((await call(pair.httpsA, 'siteA', ENC + query)).status, query).to.equal(400);
    }
    expect((await call(pair.httpsA, 'siteA', '/api/v1/keys/nobody/enc_keys')).status).to.equal(400);
    expect(pair.stores.a.level().availableBytes).to.equal(before);
    expect(keysOf(await enc({ extension_optional: extension })).length, 'what is optional may be ignored').to.equal(1);
  });

  it('answers 503 with a body when the key has run out, and takes nothing', async () => {
    await start({ capacityBytes: 64 });
    expect(refusal(await enc({ number: 3 }))).to.deep.equal([503, 'insufficient key at the moment']);
    expect(keysOf(await enc({ number: 2 })).length).to.equal(2);
    expect((await enc()).status).to.equal(503);
  });

  it('answers 503 when the other KME does not confirm', async () => {
    await start({
      wrapPeer: (peer) => ({
        ...peer,
        supply: wrapSupply(peer.supply, { reserve: async () => ({ outcome: 'unacknowledged' }) }),
      }),
    });
    expect((await enc()).status).to.equal(503);
  });

  it('wipes what nobody fetches', async () => {
    const clock = new VirtualClock();
    await start({ clock, settings: { keyTtlMs: 60_000 } });
    const ids = keysOf(await enc({ number: 2 })).map(({ key_ID }) => key_ID);
    await clock.advance(59_999);
    expect((await dec([ids[0] as string])).status).to.equal(200);
    await clock.advance(1);
    expect((await dec([ids[1] as string])).status).to.equal(400);
    expect(clock.pendingTimers).to.equal(0);
  });

  it('bounds what may wait to be fetched', async () => {
    await start({ settings: { maxWaitingKeys: 4 } });
    expect((await enc({ number: 4 })).status).to.equal(200);
    expect((await enc()).status).to.equal(503);
  });

  it('forgets what nobody fetched when it restarts', async () => {
    await start();
    const [key] = keysOf(await enc());
    pair.b.restart();
    expect((await dec([key?.key_ID ?? ''])).status).to.equal(400);
  });

  describe('bad input', () => {
    beforeEach(() => start());

    it('answers what is no JSON, malformed, or elsewhere', async () => {
      expect((await call(pair.httpsA, 'siteA', ENC, { rawBody: '{"number":' })).status).to.equal(400);
      expect((await call(pair.httpsA, 'siteA', ENC, { rawBody: Buffer.from([0xff, 0xfe]) })).status).to.equal(400);
      expect((await call(pair.httpsA, 'siteA', ENC, { rawBody: '['.repeat(60_000) })).status).to.equal(400);
      expect((await call(pair.httpsB, 'siteB', DEC, { body: {} })).status).to.equal(400);
      expect((await dec([])).status).to.equal(400);
      expect((await dec(['not-a-uuid'])).status).to.equal(400);
      expect((await call(pair.httpsA, 'siteA', '/api/v1/keys/%zz/enc_keys')).status).to.equal(400);
      expect((await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/other')).status).to.equal(404);
      expect((await call(pair.httpsA, 'siteA', '/')).status).to.equal(404);
    });

    it('refuses other methods, naming those that it takes', async () => {
      const answer = await call(pair.httpsA, 'siteA', ENC, { method: 'DELETE' });
      expect([answer.status, answer.headers.allow]).to.deep.equal([405, 'GET, POST']);
      expect((await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/status', { method: 'POST' })).status).to.equal(405);
    });

    it('refuses a body that is somewhat too long, with a reason', async () => {
      const answer = await call(pair.httpsA, 'siteA', ENC, { rawBody: Buffer.alloc(66_000, 0x20) });
      expect([answer.status, answer.headers.connection]).to.deep.equal([413, 'close']);
    });

    it('cuts a body of 100 MB short', async () => {
      const answer = await call(pair.httpsA, 'siteA', ENC, { rawBody: Buffer.alloc(100_000_000, 0x20) }).catch(
        (error: NodeJS.ErrnoException) => error.code,
      );
      // The server closes while the client still sends: it may or may not get to read the answer.
      if (typeof answer === 'object') expect(answer.status).to.equal(413);
      else expect(answer).to.be.oneOf(['EPIPE', 'ECONNRESET']);
      expect((await enc()).status).to.equal(200);
    });
  });

  it('talks to curl (skipped where it is not installed)', async function () {
    await start();
    const curl = await curlClient();
    if (curl === undefined) this.skip();
    try {
      const base = { a: `https://127.0.0.1:${pair.httpsA}`, b: `https://127.0.0.1:${pair.httpsB}` };
      const drawn = await curl.run('siteA', ['--json', '{"number":2,"size":256}', base.a + ENC]);
      const { keys } = JSON.parse(drawn.text);
      expect([drawn.status, keys.length]).to.deep.equal([200, 2]);
      const fetched = await curl.run('siteB', [`${base.b}${DEC}?key_ID=${keys[1].key_ID}`]);
      expect(JSON.parse(fetched.text).keys[0].key).to.equal(keys[1].key);
      const refused = await curl.run('stranger', [base.a + ENC]);
      expect(refused).to.deep.equal({ status: 401, text: '' });
    } finally {
      await curl.remove();
    }
  });

  describe('quirks, one by one', () => {
    const withQuirk = (
      etsi014: NonNullable<NonNullable<KmePairOptions['settings']>['quirks']>['etsi014'],
      clock?: VirtualClock,
    ) => start({ settings: { quirks: { etsi014: etsi014 ?? {} } }, ...(clock === undefined ? {} : { clock }) });

    it('sizes in bytes', async () => {
      await withQuirk({ keySizeInBytes: true });
      const status = await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/status');
      expect(status.json).to.include({ key_size: 32, max_key_size: 1024, min_key_size: 8 });
      const [key] = keysOf(await enc({ size: 32 }));
      expect(Buffer.from(key?.key ?? '', 'base64').length).to.equal(32);
    });

    for (const unknownKeyStatus of [404, 500] as const) {
      it(`${unknownKeyStatus} for an unknown key_ID`, async () => {
        await withQuirk({ unknownKeyStatus });
        expect((await dec(['00000000-0000-4000-8000-000000000000'])).status).to.equal(unknownKeyStatus);
      });
    }

    it('a second draw drops what the slave had not fetched', async () => {
      await withQuirk({ dropsUnfetched: true });
      const [first] = keysOf(await enc());
      const [second] = keysOf(await enc());
      expect((await dec([first?.key_ID ?? ''])).status).to.equal(400);
      expect((await dec([second?.key_ID ?? ''])).status).to.equal(200);
    });

    it('a numeric target_KME_ID', async () => {
      await withQuirk({ numericKmeIds: true });
      const { json } = await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/status');
      expect(json.target_KME_ID).to.equal(1);
    });

    it('a key that reaches the other KME later', async () => {
      const clock = new VirtualClock();
      await withQuirk({ deliveryDelayMs: 500 }, clock);
      const [key] = keysOf(await enc());
      expect((await dec([key?.key_ID ?? ''])).status).to.equal(400);
      await clock.advance(500);
      expect((await dec([key?.key_ID ?? ''])).status).to.equal(200);
    });
  });
});
