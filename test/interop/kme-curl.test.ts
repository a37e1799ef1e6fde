/** curl as a client of our simulated key managers that nobody here wrote: 014 and SKIP, with mutual TLS. */
import { expect } from 'chai';
import { curlClient } from '../qkd-sim/kme/https-fixture.ts';
import { type KmePair, kmePair } from '../qkd-sim/kme/kme-fixture.ts';
import { versionOf } from './peer-process.ts';

const version = versionOf('curl', '--version');
type Curl = NonNullable<Awaited<ReturnType<typeof curlClient>>>;
type Who = Parameters<Curl['run']>[0];

(version === undefined ? describe.skip : describe)(`curl (${version ?? 'curl is not installed'})`, () => {
  let curl: Curl;
  let pair: KmePair;
  let a: string;
  let b: string;

  before(async () => {
    curl = (await curlClient()) as Curl;
  });
  after(() => curl.remove());
  beforeEach(async () => {
    pair = await kmePair({ capacityBytes: 8192 });
    pair.fill(16_384);
    [a, b] = [`https://127.0.0.1:${pair.httpsA}`, `https://127.0.0.1:${pair.httpsB}`];
  });
  afterEach(() => pair.close());

  // biome-ignore lint/suspicious/noExplicitAny: what a server answers has no type.
  async function json(who: Who, ...args: readonly string[]): Promise<any> {
    const { status, text } = await curl.run(who, args);
    expect(status, text).to.equal(200);
    return JSON.parse(text);
  }
  /** curl's own exit code; 0 if it succeeds. */
  const exitOf = (who: Who, ...args: readonly string[]): Promise<number> =>
    curl.run(who, args).then(
      () => 0,
      (error: { code: number }) => error.code,
    );

  describe('014', () => {
    const keys = (kme: string, sae: string, what: string): string => `${kme}/api/v1/keys/${sae}/${what}`;

    it('status, enc_keys and dec_keys by GET and by POST', async () => {
      const status = await json('siteA', keys(a, 'siteB', 'status'));
      expect(status).to.include({ source_KME_ID: 'kme-a', target_KME_ID: 'kme-b', key_size: 256 });
      const byGet = await json('siteA', keys(a, 'siteB', 'enc_keys?number=2&size=128'));
      const byPost = await json('siteA', '--json', '{"number":2,"size":128}', keys(a, 'siteB', 'enc_keys'));
      const drawn = [...byGet.keys, ...byPost.keys];
      expect(drawn.map(({ key }) => Buffer.from(key, 'base64').length)).to.deep.equal([16, 16, 16, 16]);
      const [one, ...others] = drawn;
      const fetched = [
        ...(await json('siteB', keys(b, 'siteA', `dec_keys?key_ID=${one.key_ID}`))).keys,
        ...(
          await json(
            'siteB',
            '--json',
            JSON.stringify({ key_IDs: others.map(({ key_ID }) => ({ key_ID })) }),
            keys(b, 'siteA', 'dec_keys'),
          )
        ).keys,
      ];
      expect(fetched.map(({ key }) => key)).to.deep.equal(drawn.map(({ key }) => key));
      const { stored_key_count } = await json('siteA', keys(a, 'siteB', 'status'));
      expect(status.stored_key_count - stored_key_count).to.equal(2);
    });

    it('the same key for several slaves', async () => {
      const body = '{"additional_slave_SAE_IDs":["siteB2"],"extension_optional":[{"abc_max_age":30000}]}';
      const { keys: drawn } = await json('siteA', '--json', body, keys(a, 'siteB', 'enc_keys'));
      for (const slave of ['siteB', 'siteB2'] as const) {
        const { keys: fetched } = await json(slave, keys(b, 'siteA', `dec_keys?key_ID=${drawn[0].key_ID}`));
        expect(fetched[0].key).to.equal(drawn[0].key);
      }
    });

    it('401 without a body for the wrong certificate of the right CA', async () => {
      const { keys: drawn } = await json('siteA', keys(a, 'siteB', 'enc_keys'));
      const nobody = { status: 401, text: '' };
      expect(await curl.run('stranger', [keys(a, 'siteB', 'status')])).to.deep.equal(nobody);
      expect(await curl.run('stranger', [keys(a, 'siteB', 'enc_keys')])).to.deep.equal(nobody);
      // Served here, but not named when the key was drawn.
      expect(await curl.run('siteB2', [keys(b, 'siteA', `dec_keys?key_ID=${drawn[0].key_ID}`)])).to.deep.equal(nobody);
      // Served by the other key manager.
      expect(await curl.run('siteA', [keys(b, 'siteA', `dec_keys?key_ID=${drawn[0].key_ID}`)])).to.deep.equal(nobody);
    });

    it('no connection with a certificate of another CA, or with none, or in TLS 1.1', async () => {
      // 35, 52, 55, 56: TLS error, empty reply, failure to send or receive; in TLS 1.3 the refusal comes after curl's own Finished.
      expect(await exitOf('forged', keys(a, 'siteB', 'status'))).to.be.oneOf([35, 52, 55, 56]);
      expect(await exitOf('nobody', keys(a, 'siteB', 'status'))).to.be.oneOf([35, 52, 55, 56]);
      expect(await exitOf('siteA', '--tls-max', '1.1', keys(a, 'siteB', 'status'))).to.equal(35);
      expect(await exitOf('siteA', '--tls-max', '1.2', keys(a, 'siteB', 'status'))).to.equal(0);
      expect(await exitOf('siteA', '--no-alpn', '--http1.0', keys(a, 'siteB', 'status'))).to.equal(0);
    });

    it('bodies for 400, 405 and 503', async () => {
      for (const [status, message, ...args] of [
        [400, 'size shall be a multiple of 8', keys(a, 'siteB', 'enc_keys?size=255')],
        [400, 'one or more keys specified are not found on KME', keys(a, 'siteB', `dec_keys?key_ID=${UNKNOWN}`)],
        [
          400,
          'not all extension_mandatory parameters are supported',
          '--json',
          '{"extension_mandatory":[{"abc_route_type":"direct"}]}',
          keys(a, 'siteB', 'enc_keys'),
        ],
        [405, 'status takes GET', '--json', '{}', keys(a, 'siteB', 'status')],
        [503, 'insufficient key at the moment', keys(a, 'siteB', 'enc_keys?number=128&size=8192')],
      ] as const) {
        const answer = await curl.run('siteA', args);
        expect([answer.status, JSON.parse(answer.text).message]).to.deep.equal([status, message]);
      }
    });
  });

  describe('SKIP', () => {
    it('capabilities, a key at both ends, once, and entropy', async () => {
      expect(await json('siteA', `${a}/capabilities`)).to.deep.include({ key: true, localSystemID: 'siteA' });
      const drawn = await json('siteA', `${a}/key?remoteSystemID=siteB&size=256`);
      expect(drawn.key).to.match(/^[0-9a-f]{64}$/);
      const byId = `${b}/key/${drawn.keyId}?remoteSystemID=siteA`;
      expect(await json('siteB', byId)).to.deep.equal(drawn);
      expect((await curl.run('siteB', [byId])).status).to.equal(400);
      expect((await json('siteA', `${a}/entropy?minentropy=512`)).randomStr).to.match(/^[0-9a-f]{128}$/);
    });

    it('401, 404 and 405', async () => {
      expect((await curl.run('stranger', [`${a}/capabilities`])).status).to.equal(401);
      expect((await curl.run('siteA', [`${a}/keys`])).status).to.equal(404);
      expect((await curl.run('siteA', ['-X', 'DELETE', `${a}/key?remoteSystemID=siteB`])).status).to.equal(405);
    });
  });
});

const UNKNOWN = '00000000-0000-4000-8000-000000000000';
