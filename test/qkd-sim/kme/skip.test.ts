import { expect } from 'chai';
import { matchesSystemId, parseSkipCapabilities, parseSkipKey } from '../../../kdi-client/wire/index.ts';
import { call, curlClient } from './https-fixture.ts';
import { type KmePair, type KmePairOptions, kmePair } from './kme-fixture.ts';

describe('qkd-sim: SKIP server', () => {
  let pair: KmePair;
  const start = async (options: KmePairOptions = {}) => {
    pair = await kmePair({ capacityBytes: 1024, ...options });
    pair.fill(2048);
  };
  afterEach(() => pair.close());

  const newKey = (query = 'remoteSystemID=siteB') => call(pair.httpsA, 'siteA', `/key?${query}`);
  const keyById = (id: string, remote = 'siteA', sae: 'siteB' | 'siteB2' = 'siteB') =>
    call(pair.httpsB, sae, `/key/${id}?remoteSystemID=${remote}`);

  it('tells its capabilities, and in the algorithm that it is a simulator', async () => {
    await start();
    const { json } = await call(pair.httpsA, 'siteA', '/capabilities');
    expect(json).to.deep.equal({
      entropy: true,
      key: true,
      algorithm: 'simulated-bb84',
      localSystemID: 'siteA',
      remoteSystemID: ['siteB', 'siteB2'],
    });
  });

  it('lists globs where it is set to', async () => {
    await start({ settings: { skipRemoteSystemIds: ['site[B-D]*'] } });
    const { remoteSystemID } = parseSkipCapabilities((await call(pair.httpsA, 'siteA', '/capabilities')).json);
    expect(matchesSystemId(remoteSystemID, 'siteB')).to.equal(true);
  });

  it('gives both ends the same key, once, 256 bits under an ID of 128', async () => {
    await start();
    const drawn = parseSkipKey((await newKey()).json);
    expect([drawn.keyId.length, drawn.key.length]).to.deep.equal([32, 64]);
    expect(parseSkipKey((await keyById(drawn.keyId.toUpperCase())).json)).to.deep.equal(drawn);
    expect((await keyById(drawn.keyId)).status).to.equal(400);
  });

  it('gives a key of the size asked for', async () => {
    await start();
    expect(parseSkipKey((await newKey('remoteSystemID=siteB&size=512')).json).key.length).to.equal(128);
    for (const size of ['7', '0', '1000000', 'x', '']) {
      expect((await newKey(`remoteSystemID=siteB&size=${size}`)).status, size).to.equal(400);
    }
  });

  it('answers 400 to what is unknown or malformed, and keeps the key for its owner', async () => {
    await start();
    expect((await newKey('')).status).to.equal(400);
    expect((await newKey('remoteSystemID=nobody')).status).to.equal(400);
    const { keyId } = parseSkipKey((await newKey()).json);
    expect((await keyById(keyId, 'siteA2')).status).to.equal(400);
    expect((await keyById(keyId, 'siteA', 'siteB2')).status).to.equal(400);
    expect((await keyById('xyz')).status).to.equal(400);
    expect((await call(pair.httpsB, 'siteB', `/key/${keyId}`)).status).to.equal(400);
    expect((await keyById(keyId)).status).to.equal(200);
  });

  it('answers 404 and 405 for other paths and methods, 401 to strangers', async () => {
    await start();
    expect((await call(pair.httpsA, 'siteA', '/keys')).status).to.equal(404);
    expect((await call(pair.httpsA, 'siteA', '/key/a/b')).status).to.equal(404);
    expect((await call(pair.httpsA, 'siteA', '/entropy/x')).status).to.equal(404);
    expect((await call(pair.httpsA, 'siteA', '/key', { body: {} })).status).to.equal(405);
    expect((await call(pair.httpsA, 'stranger', '/capabilities')).status).to.equal(401);
  });

  it('answers 503 when the key has run out', async () => {
    await start({ capacityBytes: 32 });
    expect((await newKey()).status).to.equal(200);
    expect((await newKey()).status).to.equal(503);
  });

  it('does not mix its keys with those of 014', async () => {
    await start();
    const { json } = await call(pair.httpsA, 'siteA', '/api/v1/keys/siteB/enc_keys');
    expect((await keyById(json.keys[0].key_ID.replaceAll('-', ''))).status).to.equal(400);
  });

  it('gives entropy of at least the amount asked for', async () => {
    await start();
    const { json } = await call(pair.httpsA, 'siteA', '/entropy?minentropy=100');
    expect(json.minentropy).to.equal(104);
    expect(json.randomStr).to.match(/^[0-9a-f]{26}$/);
    const again = await call(pair.httpsA, 'siteA', '/entropy');
    expect(again.json.randomStr.length).to.equal(64);
    for (const bits of ['0', '99999999', 'x']) {
      expect((await call(pair.httpsA, 'siteA', `/entropy?minentropy=${bits}`)).status, bits).to.equal(400);
    }
  });

  it('talks to curl (skipped where it is not installed)', async function () {
    await start();
    const curl = await curlClient();
    if (curl === undefined) this.skip();
    try {
      const drawn = await curl.run('siteA', [`https://127.0.0.1:${pair.httpsA}/key?remoteSystemID=siteB`]);
      const { keyId, key } = JSON.parse(drawn.text);
      const url = `https://127.0.0.1:${pair.httpsB}/key/${keyId}?remoteSystemID=siteA`;
      expect(JSON.parse((await curl.run('siteB', [url])).text).key).to.equal(key);
    } finally {
      await curl.remove();
    }
  });
});
