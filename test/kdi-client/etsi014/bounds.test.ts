import { expect } from 'chai';
import { createKeySource, KdiErrorCode } from '../../../kdi-client/index.ts';
import { container, etsi014Bench, KEY, STATUS } from './source-bench.ts';

/** JSON of exactly so many bytes. */
const padded = (json: object, lengthBytes: number): string => JSON.stringify(json).padEnd(lengthBytes);

describe('kdi-client/etsi014: bounds', () => {
  const bench = etsi014Bench();
  const { sourceOf, serving, errorOf, drawOf } = bench;

  for (const [name, call, url, json, most] of [
    ['a status', 'status', '/status', STATUS, 0x1_0000],
    ['a container of one key', 'draw', '/enc_keys', container(0), 0x1_0000 + 2_048],
  ] as const) {
    it(`${name} is read to ${most} bytes, and no further`, async () => {
      for (const [lengthBytes, code] of [
        [most, undefined],
        [most + 1, KdiErrorCode.malformed],
      ] as const) {
        const source = await sourceOf((request) =>
          request.url.endsWith(url) ? { text: padded(json, lengthBytes) } : { json: STATUS },
        );
        const outcome = call === 'status' ? source.status('siteB') : drawOf(source);
        if (code === undefined) await outcome;
        else expect((await errorOf(outcome)).message).to.match(/sent a longer reply than is allowed/);
      }
    });
  }

  it('an error whose body is no JSON is its status all the same', async () => {
    for (const [status, code] of [
      [302, KdiErrorCode.http],
      [401, KdiErrorCode.unauthorized],
      [404, KdiErrorCode.http],
      [503, KdiErrorCode.http],
    ] as const) {
      const source = await sourceOf(() => ({ status, text: '<html>' }));
      expect(await errorOf(source.status('siteB'))).to.include({ code, httpStatus: status });
    }
  });

  it("a KME's words are cut to what a log line can hold", async () => {
    const source = await sourceOf(
      serving({ status: 400, json: { message: `\u001b[2Jmore\n\u202e${'x'.repeat(900)}` } }),
    );
    const { message } = await errorOf(drawOf(source));
    expect(message).to.match(/: \?\[2Jmore\?\?x{190}$/);
    const endless = await sourceOf(serving({ status: 400, json: { message: 'x'.repeat(1_025) } }));
    expect((await errorOf(drawOf(endless))).message).to.match(/: bad request$/);
  });

  it('asks for no more keys at once than is set, though the KME gives more', async () => {
    const source = await sourceOf(serving({ json: container(0) }), { maxKeysPerRequest: 5 });
    await drawOf(source, 50);
    expect(bench.kme.requests.at(-1)!.body).to.include({ number: 5 });
  });

  for (const maxKeysPerRequest of [0, 1.5, 1_025]) {
    it(`${maxKeysPerRequest} keys at once can't be set`, async () => {
      expect((await errorOf(sourceOf(() => ({}), { maxKeysPerRequest }))).code).to.equal(KdiErrorCode.config);
    });
  }

  it('no pre-shared key in place of certificates, which SKIP alone has', () => {
    for (const url of ['etsi014://k', 'etsi004://k']) {
      const tls = { psk: { identity: 'a', key: new Uint8Array(32) } };
      expect(() => createKeySource({ url, saeId: 'siteA', tls })).to.throw(/a pre-shared key is for skip:\/\/ only/);
    }
    expect(() => createKeySource({ url: 'etsi014://k', saeId: 'siteA' })).to.throw(/needs a certificate/);
  });

  it('what held a key is overwritten: each piece of the reply, the whole, and what was decoded', async () => {
    const whole = JSON.stringify(container(0, 1));
    const between = whole.indexOf('},{') + 2;
    const source = await sourceOf(({ url }, response) => {
      if (url.endsWith('/status')) return { json: STATUS };
      response.write(whole.slice(0, between));
      // In the same turn newer versions of node would make one chunk of the two.
      setImmediate(() => response.end(whole.slice(between)));
      return undefined;
    });
    const stream = await source.openDraw('siteB');
    const wiped: string[] = [];
    const { fill } = Buffer.prototype;
    Buffer.prototype.fill = function (this: Buffer, ...args: [number]) {
      if (args.length === 1 && args[0] === 0) {
        const text = this.toString('latin1');
        const bases = [0, 1].filter((i) => text.includes(KEY[i] as string));
        if (bases.length > 0) wiped.push(`text of ${bases}`);
        if (this.length === 32) wiped.push(`key ${this[0]}`);
      }
      return fill.apply(this, args);
    } as never;
    try {
      for (const { secret } of await stream.draw(2)) secret.wipe();
    } finally {
      Buffer.prototype.fill = fill;
    }
    expect(wiped).to.have.members(['text of 0', 'text of 1', 'text of 0,1', 'key 1', 'key 2']);
  });
});
