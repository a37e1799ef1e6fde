import { expect } from 'chai';
import { type KdiErrorCode as Code, Etsi014Source, KdiErrorCode, parseKmeUrl } from '../../../kdi-client/index.ts';
import type { HttpsAnswer } from '../support/https-kme.ts';
import { scriptedKme } from '../support/scripted-kme.ts';
import { settle } from '../support/virtual-clock.ts';
import { container, etsi014Bench, ID, KEY, STATUS } from './source-bench.ts';

describe('kdi-client/etsi014: a source against a key manager that refuses or fails', () => {
  const bench = etsi014Bench();
  const { sourceOf, serving, errorOf, drawOf, lookupOf } = bench;

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
      await bench.kme.close();
      expect(await errorOf(source.status('siteB'))).to.include({ code: KdiErrorCode.connect, retryable: true });
    });

    it('closing the source ends a connection that is still being made, and what waits for it', async () => {
      // TCP stands, TLS never will.
      const mute = await scriptedKme(undefined, (socket) => socket.resume());
      const source = new Etsi014Source({
        address: parseKmeUrl(`etsi014://127.0.0.1:${mute.port}`),
        tls: { cert: bench.pki.sae.cert, key: bench.pki.sae.key, ca: bench.pki.ca },
        saeId: 'siteA',
        clock: bench.clock,
      });
      try {
        const outcome = errorOf(source.status('siteB'));
        while (mute.connections === 0) await settle();
        await source.close();
        expect((await outcome).code).to.equal(KdiErrorCode.aborted);
        while (mute.open > 0) await settle();
      } finally {
        await mute.close();
      }
    });

    it('closed half-way through the body', async () => {
      const source = await sourceOf((_request, response) => {
        response.writeHead(200, { 'content-length': '500' });
        response.write('{"keys":[', () => response.destroy());
        return undefined;
      });
      const error = await errorOf(source.status('siteB'));
      expect(error).to.include({ code: KdiErrorCode.closed, retryable: true });
      expect(error.message).to.include('before its reply was complete');
    });

    it('closed without a word: what that may be about is asked', async () => {
      const source = await sourceOf((_request, response) => {
        response.destroy();
        return undefined;
      });
      const error = await errorOf(source.status('siteB'));
      expect(error).to.include({ code: KdiErrorCode.closed, retryable: true });
      expect(error.message).to.include('does it admit our certificate, and is this its port for HTTP?');
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
        await bench.clock.advance(3_000);
        expect(await outcome).to.include({ code: KdiErrorCode.timeout, retryable: true });
      }
    });

    it('another CA, another name, another ID', async () => {
      const tls = { cert: bench.pki.sae.cert, key: bench.pki.sae.key, ca: bench.pki.ca };
      const code = async (changed: object): Promise<Code> =>
        (await errorOf((await sourceOf(() => ({}), { tls: { ...tls, ...changed } })).status('siteB'))).code;
      expect(await code({ ca: bench.pki.stranger.ca })).to.equal(KdiErrorCode.tls);
      expect(await code({ serverName: 'kme-z.test' })).to.equal(KdiErrorCode.kmeIdentity);
      expect(await code({ kmeId: 'kme-z' })).to.equal(KdiErrorCode.kmeIdentity);
      expect(bench.kme.requests).to.have.length(0);
    });

    it('an abort, and closing the source, end what is in flight', async () => {
      const source = await sourceOf(() => undefined);
      const abort = new AbortController();
      const first = errorOf(source.status('siteB', { signal: abort.signal }));
      while (bench.kme.requests.length < 1) await settle();
      abort.abort();
      expect((await first).code).to.equal(KdiErrorCode.aborted);
      const second = errorOf(source.status('siteB'));
      while (bench.kme.requests.length < 2) await settle();
      await source.close();
      expect((await second).code).to.equal(KdiErrorCode.aborted);
      expect((await errorOf(source.status('siteB'))).code).to.equal(KdiErrorCode.aborted);
      while (bench.kme.open > 0) await settle();
    });
  });
});
