/** Our clients of key managers at our simulated ones: every API, dialect and quirk through real TLS. */
import { expect } from 'chai';
import { createKeySource, type DeliveredKey, type KeySource, type KeySourceSettings } from '../../kdi-client/index.ts';
import { disagreeing } from '../../qkd-sim/index.ts';
import { type KmePair, type KmePairOptions, kmePair, testPki } from '../qkd-sim/kme/kme-fixture.ts';

type Api = 'etsi004' | 'etsi014' | 'skip';
type More = Partial<Pick<KeySourceSettings, 'etsi004' | 'etsi014' | 'skip'>>;

describe('interop: our clients at our key managers', () => {
  let pair: KmePair;
  const sources: KeySource[] = [];
  const start = async (options: KmePairOptions = {}) => {
    pair = await kmePair({ capacityBytes: 8192, ...options });
    pair.fill(16_384);
  };
  afterEach(async () => {
    await Promise.all(sources.splice(0).map((source) => source.close()));
    await pair.close();
  });

  const sourceAt = async (side: 'a' | 'b', api: Api, query = '', more: More = {}): Promise<KeySource> => {
    const pki = await testPki();
    const saeId = side === 'a' ? 'siteA' : 'siteB';
    const [port004, https] = side === 'a' ? [pair.portA, pair.httpsA] : [pair.portB, pair.httpsB];
    const { certPem, keyPem } = pki[saeId];
    const source = createKeySource({
      url: `${api}://127.0.0.1:${api === 'etsi004' ? port004 : https}${query}`,
      saeId,
      tls: { cert: certPem, key: keyPem, ca: pki.ca.certPem },
      ...more,
    });
    sources.push(source);
    return source;
  };

  /** Draws at A, looks up at B. */
  const transfer = async (count: number, api: Api, query = '', more: More = {}) => {
    const [a, b] = [await sourceAt('a', api, query, more), await sourceAt('b', api, query, more)];
    const drawing = await a.openDraw('siteB');
    const { announcement } = drawing;
    const looking = await b.openLookup('siteA', announcement === undefined ? {} : { announcement });
    const drawn: DeliveredKey[] = [];
    while (drawn.length < count) drawn.push(...(await drawing.draw(count - drawn.length)));
    const found: DeliveredKey[] = [];
    for (const { reference } of drawn) found.push(await looking.lookup(reference));
    await Promise.all([drawing.close(), looking.close()]);
    return { drawn, found };
  };
  const hex = ({ secret }: DeliveredKey) => Buffer.from(secret.expose()).toString('hex');
  const expectEqual = ({ drawn, found }: { drawn: DeliveredKey[]; found: DeliveredKey[] }) => {
    expect(found.map(hex)).to.deep.equal(drawn.map(hex));
    expect(new Set(drawn.map(hex)).size).to.equal(drawn.length);
  };

  for (const [api, query] of [
    ['etsi004', ''],
    ['etsi004', '?dialect=qubip'],
    ['etsi014', ''],
    ['skip', ''],
  ] as const) {
    it(`get equal keys at both ends over ${api}${query}`, async () => {
      await start();
      const keys = await transfer(10, api, query);
      expectEqual(keys);
      if (api !== 'skip') expect(keys.drawn[0]?.metadata).to.include({ simulated: true, hops: 0 });
    });
  }

  it('get equal keys from blocking 004 key managers, with a KSID that both know beforehand', async () => {
    await start({ settings: { open: 'blocking' } });
    const more = { etsi004: { ksid: 'chosen' as const } };
    const [a, b] = [await sourceAt('a', 'etsi004', '', more), await sourceAt('b', 'etsi004', '', more)];
    let looking: ReturnType<KeySource['openLookup']> | undefined;
    const drawing = await a.openDraw('siteB', {
      onAnnouncement: (announcement) => {
        looking = b.openLookup('siteA', { announcement });
      },
    });
    const [key] = await drawing.draw(1);
    const found = await (await looking)?.lookup((key as DeliveredKey).reference);
    expect(hex(found as DeliveredKey)).to.equal(hex(key as DeliveredKey));
  });

  it('survive metadata with a trailing NUL and an age beyond 32 bits', async () => {
    await start({ settings: { quirks: { etsi004: { metadataTrailingNul: true, ageInEpochMs: true } } } });
    const keys = await transfer(2, 'etsi004');
    expectEqual(keys);
    expect(keys.drawn[0]?.metadata.ageMs).to.equal(undefined);
    expect(keys.drawn[0]?.metadata.simulated).to.equal(true);
  });

  it('survive a 014 server that counts in bytes and does not know its status codes', async () => {
    await start({ settings: { quirks: { etsi014: { keySizeInBytes: true, unknownKeyStatus: 404 } } } });
    const more = { etsi014: { quirks: { keySizeInBytes: true, unknownKeyStatuses: [404] } } };
    const keys = await transfer(4, 'etsi014', '', more);
    expectEqual(keys);
    const again = await (await sourceAt('b', 'etsi014', '', more)).openLookup('siteA');
    const failure = await again.lookup((keys.drawn[0] as DeliveredKey).reference).catch((error: unknown) => error);
    expect(failure).to.include({ code: 'ERR_KDI_KEY_NOT_FOUND' });
  });

  it('learn the status of a 014 server with numeric KME IDs', async () => {
    await start({ settings: { quirks: { etsi014: { numericKmeIds: true } } } });
    const status = await (await sourceAt('a', 'etsi014')).status('siteB');
    expect(status).to.include({ keySizeBits: 256, sourceKmeId: 'kme-a', targetKmeId: '1', storedKeyCount: 256 });
  });

  it('see different keys under one reference when the key managers disagree', async () => {
    await start({ wrapPeer: (peer, ownKmeId) => (ownKmeId === 'kme-b' ? disagreeing(peer) : peer) });
    for (const api of ['etsi004', 'etsi014', 'skip'] as const) {
      const { drawn, found } = await transfer(1, api);
      expect(hex(found[0] as DeliveredKey), api).to.not.equal(hex(drawn[0] as DeliveredKey));
    }
  });
});
