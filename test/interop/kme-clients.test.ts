/** Our clients of key managers at our simulated ones: every API, dialect and quirk through real TLS. */
import { expect } from 'chai';
import { createKeySource, type DeliveredKey, type KeySource, type KeySourceSettings } from '../../kdi-client/index.ts';
import { disagreeing } from '../../qkd-sim/index.ts';
import type { Etsi004Quirks, Etsi014Quirks } from '../../qkd-sim/kme/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { type KmePair, type KmePairOptions, kmePair, testPki } from '../qkd-sim/kme/kme-fixture.ts';
import { VirtualClock } from '../qkd-sim/virtual-clock.ts';

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

  for (const query of ['', '?dialect=qubip']) {
    describe(`at a 004 key manager with one quirk${query}`, () => {
      const withQuirk = (etsi004: Etsi004Quirks, settings: KmePairOptions['settings'] = {}) =>
        start({ settings: { ...settings, quirks: { etsi004 } } });

      it('metadata with a trailing NUL', async () => {
        await withQuirk({ metadataTrailingNul: true });
        const keys = await transfer(2, 'etsi004', query);
        expectEqual(keys);
        expect(keys.drawn[0]?.metadata).to.include({ simulated: true, hops: 0 });
      });

      it('an age beyond 32 bits', async () => {
        await withQuirk({ ageInEpochMs: true });
        const keys = await transfer(2, 'etsi004', query);
        expectEqual(keys);
        expect(keys.drawn[0]?.metadata.ageMs).to.equal(undefined);
        expect(keys.drawn[0]?.metadata.simulated).to.equal(true);
      });

      for (const ksid of ['allocated', 'chosen'] as const) {
        it(`status 7 that registers the stream, with a KSID that is ${ksid}`, async () => {
          await withQuirk({ allocatesOnQosNotMet: true }, { qos: { maxChunkBytes: 128 } });
          const more = { etsi004: { ksid, qos: { keysPerChunk: 32 } } };
          const keys = await transfer(8, 'etsi004', query, more);
          expectEqual(keys);
          expect(keys.drawn.map(({ reference }) => 'slice' in reference && reference.slice)).to.deep.equal([
            0, 1, 2, 3, 0, 1, 2, 3,
          ]);
          expect(pair.a.streamCount + pair.b.streamCount, 'streams left').to.equal(0);
        });
      }

      it('the same KSID for a second NULL open', async () => {
        await withQuirk({ reusesKsid: true });
        const a = await sourceAt('a', 'etsi004', query);
        const first = await a.openDraw('siteB');
        await first.close();
        const second = await a.openDraw('siteB');
        expect(hexOf(second.announcement!.ksid)).to.not.equal(hexOf(first.announcement!.ksid));
        const looking = await (await sourceAt('b', 'etsi004', query)).openLookup('siteA', {
          announcement: second.announcement!,
        });
        const [key] = await second.draw(1);
        expect(hex(await looking.lookup(key!.reference))).to.equal(hex(key!));
      });

      it('the same KSID for the NULL open of the next process, which goes by what was written down', async () => {
        await withQuirk({ reusesKsid: true });
        const written = new Set<string>();
        const claimKsid = async (ksid: Uint8Array) => written.size < written.add(hexOf(ksid)).size;
        const keys = new Set<string>();
        for (let life = 0; life < 3; life++) {
          const drawing = await (await sourceAt('a', 'etsi004', query)).openDraw('siteB', { claimKsid });
          const looking = await (await sourceAt('b', 'etsi004', query)).openLookup('siteA', {
            announcement: drawing.announcement!,
          });
          const [key] = await drawing.draw(1);
          expect(hex(await looking.lookup(key!.reference))).to.equal(hex(key!));
          keys.add(hex(key!));
        }
        expect(written.size).to.equal(3);
        expect(keys.size).to.equal(3);
      });

      it('the next index, whatever was asked for', async () => {
        await withQuirk({ servesNextIndex: true });
        const [a, b] = [await sourceAt('a', 'etsi004', query), await sourceAt('b', 'etsi004', query)];
        const drawing = await a.openDraw('siteB');
        const looking = await b.openLookup('siteA', { announcement: drawing.announcement! });
        const drawn = [...(await drawing.draw(1)), ...(await drawing.draw(1)), ...(await drawing.draw(1))];
        const found = [];
        for (const { reference } of [...drawn].reverse()) found.push(await looking.lookup(reference));
        expect(found.reverse().map(hex)).to.deep.equal(drawn.map(hex));
      });

      it('its own chunk size, whatever was asked for', async () => {
        await start({ settings: { qos: { maxChunkBytes: 64, onChunkSize: 'impose' } } });
        const keys = await transfer(4, 'etsi004', query, { etsi004: { qos: { keysPerChunk: 32 } } });
        expectEqual(keys);
        expect(keys.drawn[3]?.reference).to.include({ index: 1, slice: 1 });
      });
    });
  }

  describe('at a 014 key manager with one quirk', () => {
    const withQuirk = (etsi014: Etsi014Quirks) => start({ settings: { quirks: { etsi014 } } });
    const lookUpAgain = async (keys: { drawn: DeliveredKey[] }, more: More) => {
      const again = await (await sourceAt('b', 'etsi014', '', more)).openLookup('siteA');
      return again.lookup(keys.drawn[0]!.reference).catch((error: unknown) => error);
    };

    it('sizes in bytes', async () => {
      await withQuirk({ keySizeInBytes: true });
      expectEqual(await transfer(4, 'etsi014', '', { etsi014: { quirks: { keySizeInBytes: true } } }));
      const unset = await (await sourceAt('a', 'etsi014'))
        .openDraw('siteB')
        .then((drawing) => drawing.draw(1))
        .catch((error: unknown) => error);
      expect(unset)
        .to.have.property('message')
        .that.matches(/set key-size-in-bytes/);
    });

    for (const status of [404, 500] as const) {
      it(`${status} for an unknown key_ID`, async () => {
        await withQuirk({ unknownKeyStatus: status });
        const more = { etsi014: { quirks: { unknownKeyStatuses: [status] } } };
        const keys = await transfer(4, 'etsi014', '', more);
        expectEqual(keys);
        expect(await lookUpAgain(keys, more)).to.include({ code: 'ERR_KDI_KEY_NOT_FOUND', retryable: true });
        expect(await lookUpAgain(keys, {})).to.include({ code: 'ERR_KDI_HTTP' });
      });
    }

    it('a batch that drops the one before', async () => {
      await withQuirk({ dropsUnfetched: true });
      const more = { etsi014: { quirks: { oneBatchAtATime: true } } };
      for (let batch = 0; batch < 3; batch++) expectEqual(await transfer(4, 'etsi014', '', more));
    });

    it('keys that reach the other side later', async () => {
      const clock = new VirtualClock();
      await start({ clock, settings: { quirks: { etsi014: { deliveryDelayMs: 500 } } } });
      const [drawn] = await (await (await sourceAt('a', 'etsi014')).openDraw('siteB')).draw(1);
      const keys = { drawn: [drawn!] };
      expect(await lookUpAgain(keys, {})).to.include({ code: 'ERR_KDI_KEY_NOT_FOUND', retryable: true });
      await clock.advance(500);
      expect(hex((await lookUpAgain(keys, {})) as DeliveredKey)).to.equal(hex(drawn!));
    });
  });

  it('draw one key for several slaves over 014, as far as the key manager allows', async () => {
    await start({ settings: { etsi014: { maxAdditionalSlaves: 1 } } });
    const more = (...saeIds: string[]) => ({ etsi014: { additionalSlaveSaeIds: saeIds } });
    expectEqual(await transfer(2, 'etsi014', '', more('siteB2')));
    const tooMany = await (await sourceAt('a', 'etsi014', '', more('siteB2', 'siteA2')))
      .openDraw('siteB')
      .catch((error: unknown) => error);
    expect(tooMany).to.include({ code: 'ERR_KDI_UNSUPPORTED' });
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
