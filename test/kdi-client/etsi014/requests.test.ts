import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { KdiErrorCode } from '../../../kdi-client/index.ts';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { settle } from '../support/virtual-clock.ts';
import { container, etsi014Bench, ID, KEY, reference, STATUS } from './source-bench.ts';

describe('kdi-client/etsi014: what is asked of a key manager, and what is wiped of its answers', () => {
  const bench = etsi014Bench();
  const { sourceOf, serving, errorOf, drawOf, opened } = bench;

  /** Secrets wiped while `step` runs. */
  async function wipedBy(step: () => Promise<unknown>): Promise<number> {
    const { wipe } = SecretBytes.prototype;
    let wiped = 0;
    SecretBytes.prototype.wipe = function (this: SecretBytes) {
      if (!this.wiped) wiped++;
      wipe.call(this);
    };
    try {
      await step();
    } finally {
      SecretBytes.prototype.wipe = wipe;
    }
    return wiped;
  }

  it('SAE IDs are one segment of the path, whatever they hold', async () => {
    const source = await sourceOf(({ url }) => ({ json: url.endsWith('/status') ? STATUS : container(0) }));
    await (await source.openDraw('site B/../x?y#z')).draw(1);
    const stream = await source.openLookup('a/b');
    opened.push(stream);
    const found = stream.lookup({ ...reference(0), drawer: 'a/b' });
    await bench.clock.advance(0);
    await found;
    expect(bench.kme.requests.map(({ url }) => url)).to.deep.equal([
      '/api/v1/keys/site%20B%2F..%2Fx%3Fy%23z/status',
      '/api/v1/keys/site%20B%2F..%2Fx%3Fy%23z/enc_keys',
      '/api/v1/keys/a%2Fb/dec_keys',
    ]);
  });

  it('get-only asks for one key at a time, for there is no other form', async () => {
    const source = await sourceOf(({ url }) => ({ json: container(ID.findIndex((id) => url.includes(id))) }), {
      quirks: { getOnly: true },
    });
    const stream = await source.openLookup('siteA');
    opened.push(stream);
    const found = Promise.all([stream.lookup(reference(0)), stream.lookup(reference(1))]);
    await bench.clock.advance(0);
    expect((await found).map((each) => each.secret.expose()[0])).to.deep.equal([1, 2]);
    expect(bench.kme.requests.map(({ method, url }) => `${method} ${url}`)).to.have.members(
      [0, 1].map((i) => `GET /api/v1/keys/siteA/dec_keys?key_ID=${ID[i]}`),
    );
  });

  it('a reference that is no UUID is never asked for', async () => {
    const source = await sourceOf(() => ({ json: container(0) }));
    const stream = await source.openLookup('siteA');
    opened.push(stream);
    for (const keyId of [new Uint8Array(15), new Uint8Array(17), new Uint8Array()]) {
      const error = await errorOf(stream.lookup({ api: 'etsi014', drawer: 'siteA', keyId }));
      expect(error.code).to.equal(KdiErrorCode.stream);
    }
    await bench.clock.advance(0);
    expect(bench.kme.requests).to.deep.equal([]);
  });

  for (const [name, second] of [
    ['a key of another length', { key_ID: ID[1], key: 'AQEB' }],
    ['a key_ID twice', { key_ID: ID[0], key: KEY[1] }],
  ] as const) {
    it(`the keys before ${name} are wiped`, async () => {
      const answer = { json: { keys: [{ key_ID: ID[0], key: KEY[0] }, second] } };
      const source = await sourceOf(serving(answer));
      expect(await wipedBy(() => errorOf(drawOf(source, 2)))).to.equal(1);
    });
  }

  it('a key that nobody waits for any more is wiped, the others are not', async () => {
    let answer = (): void => {};
    const source = await sourceOf((_request, response) => {
      answer = () => response.end(JSON.stringify(container(0, 1)));
      return undefined;
    });
    const stream = await source.openLookup('siteA');
    opened.push(stream);
    const giveUp = new AbortController();
    const first = errorOf(stream.lookup(reference(0), { signal: giveUp.signal }));
    const second = stream.lookup(reference(1));
    await bench.clock.advance(0);
    while (bench.kme.requests.length === 0) await settle();
    giveUp.abort();
    expect((await first).code).to.equal(KdiErrorCode.aborted);
    const wiped = await wipedBy(async () => {
      answer();
      await second;
    });
    expect(wiped).to.equal(1);
    expect((await second).secret.expose()[0]).to.equal(2);
  });

  for (const [name, age] of [
    ['an age beyond 32 bits, which is an epoch time', 1_700_000_000_000],
    ['half a millisecond', 0.5],
    ['a text', '7'],
  ] as const) {
    it(`${name} is no age`, async () => {
      const source = await sourceOf(
        serving({ json: { ...container(0), key_container_extension: { age, hops: age, simulated: age } } }),
      );
      const [key] = await drawOf(source);
      expect(key!.metadata).to.deep.equal({ kme: `127.0.0.1:${bench.kme.port}` });
    });
  }

  describe('connections', () => {
    it('resume TLS sessions, and say that they speak HTTP/1.1', async () => {
      const seen: string[] = [];
      const source = await sourceOf((_request, response) => {
        const socket = response.socket as TLSSocket;
        seen.push(`${socket.alpnProtocol} ${socket.isSessionReused() ? 'resumed' : 'full'}`);
        return { json: STATUS, headers: { connection: 'close' } };
      });
      for (let i = 0; i < 3; i++) await source.status('siteB');
      expect(seen).to.deep.equal(['http/1.1 full', 'http/1.1 resumed', 'http/1.1 resumed']);
    });

    it('are made in full after one whose resumed session was refused', async () => {
      const seen: boolean[] = [];
      const source = await sourceOf((_request, response) => {
        const socket = response.socket as TLSSocket;
        seen.push(socket.isSessionReused());
        if (!socket.isSessionReused()) return { json: STATUS, headers: { connection: 'close' } };
        bench.kme.reset();
        return undefined;
      });
      await source.status('siteB');
      expect((await errorOf(source.status('siteB'))).code).to.equal(KdiErrorCode.closed);
      await source.status('siteB');
      expect(seen).to.deep.equal([false, true, false]);
    });
  });
});
