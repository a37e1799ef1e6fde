import { expect } from 'chai';
import {
  Etsi014Source,
  type Etsi014SourceOptions,
  KdiError,
  parseKmeUrl,
  type QkdKeyReference,
} from '../../../kdi-client/index.ts';
import { type HttpsAnswer, type HttpsHandler, type HttpsKme, httpsKme } from '../support/https-kme.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

// Written by hand after clause 6 of the standard.
export const STATUS = {
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
export const ID = [
  '490a382d-da97-4f60-8fe0-6e52c2d8e4a1',
  'bc490419-7d60-487f-adc1-4ddcc177c139',
  '0a782fb5-3434-48fe-aa4d-14f41d46cf92',
] as const;
/** 32 bytes of 0x01, 0x02, 0x03. */
export const KEY = [
  'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=',
  'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=',
  'AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=',
] as const;
export const container = (...indices: readonly number[]) => ({
  keys: indices.map((i) => ({ key_ID: ID[i], key: KEY[i] })),
});
export const reference = (i: number): QkdKeyReference => ({
  api: 'etsi014',
  drawer: 'siteA',
  keyId: Buffer.from((ID[i] as string).replaceAll('-', ''), 'hex'),
});

/** A key manager, a source at it and a clock, for the tests of one `describe`; all closed after each. */
export function etsi014Bench() {
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

  return {
    sourceOf,
    serving,
    errorOf,
    drawOf,
    lookupOf,
    opened,
    get clock() {
      return clock;
    },
    get kme() {
      return kme;
    },
    get pki() {
      return pki;
    },
  };
}
