/** Two key managers over all three APIs, joined by key stores that the test fills: no link, no waiting for physics. */
import { randomBytes } from 'node:crypto';
import { issueLeaf } from '../../certs/index.ts';
import type { KdiApi } from '../../kdi-client/index.ts';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { createLinkStores, Kme } from '../../qkd-sim/index.ts';
import { systemClock } from '../../qkd-sim/kernel/clock.ts';
import type { Etsi004Layer, KeyPurpose, KmeOptions, KmeSettings } from '../../qkd-sim/kme/index.ts';
import { testPki } from './pki.ts';

export interface TestKmes {
  readonly a: Kme;
  readonly b: Kme;
  /** References of the keys that B's key manager has handed to the answerer, in order. */
  readonly answered: { readonly ksid: Uint8Array; readonly index: number }[];
  /** Over 004. */
  readonly urlA: string;
  readonly urlB: string;
  url(end: 'a' | 'b', api: KdiApi): string;
  /** Deposits key of this many bytes, half for each direction. */
  fill(lengthBytes: number): void;
  /** The two ends get different key. */
  fillUnequal(lengthBytes: number): void;
  close(): Promise<void>;
}

export async function startKmes(
  options: {
    readonly capacityBytes?: number;
    readonly saesA?: readonly string[];
    readonly saesB?: readonly string[];
    readonly settings?: KmeSettings;
    /** Trusted nodes between the two; default 0. */
    readonly hops?: number;
    /** Changes how the 004 calls of one application are answered. */
    readonly etsi004Layer?: Etsi004Layer;
  } = {},
): Promise<TestKmes> {
  const { saesA = ['siteA'], saesB = ['siteB'], settings = {}, etsi004Layer } = options;
  const more = etsi004Layer === undefined ? {} : { etsi004Layer };
  const answered: { ksid: Uint8Array; index: number }[] = [];
  const a = await makeKme('kme-a', saesA, settings, more);
  const b = await makeKme('kme-b', saesB, settings, {
    ...more,
    onEvent: (event) => {
      if (event.type !== 'key-delivered' || event.api !== 'etsi004') return;
      const [ksid = '', index = ''] = event.reference.split('/');
      answered.push({ ksid: Uint8Array.from(Buffer.from(ksid, 'hex')), index: Number(index) });
    },
  });
  const stores = createLinkStores<KeyPurpose>({
    capacityBytesPerDirection: options.capacityBytes ?? 65_536,
    clock: systemClock,
    ...(options.hops === undefined ? {} : { hops: options.hops }),
  });
  a.addPeer({ kmeId: 'kme-b', saeIds: saesB, supply: stores.a, port: b.portFor('kme-a') });
  b.addPeer({ kmeId: 'kme-a', saeIds: saesA, supply: stores.b, port: a.portFor('kme-b') });
  const ports = {
    a: { etsi004: await a.listenEtsi004('127.0.0.1', 0), https: await a.listenHttps('127.0.0.1', 0) },
    b: { etsi004: await b.listenEtsi004('127.0.0.1', 0), https: await b.listenHttps('127.0.0.1', 0) },
  };
  const url = (end: 'a' | 'b', api: KdiApi) =>
    `${api}://127.0.0.1:${ports[end][api === 'etsi004' ? 'etsi004' : 'https']}`;
  return {
    a,
    b,
    answered,
    urlA: url('a', 'etsi004'),
    urlB: url('b', 'etsi004'),
    url,
    fill(lengthBytes) {
      const key = randomBytes(lengthBytes);
      stores.deposit(Uint8Array.from(key), Uint8Array.from(key));
    },
    fillUnequal(lengthBytes) {
      stores.deposit(Uint8Array.from(randomBytes(lengthBytes)), Uint8Array.from(randomBytes(lengthBytes)));
    },
    async close() {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

/** A service's key managers: one key in a 004 chunk, so that tests can count them. */
export function kmesAt(...urls: string[]): Pick<ServiceConfig, 'kmes'> {
  return {
    kmes: urls.map((url) => ({
      url,
      weight: 1,
      // The files of the tunnel, which `loadedService` has in memory.
      access: { by: 'certificate', credentials: { cert: '', key: '', ca: '' } },
      settings: { etsi004: { ksid: 'allocated', openAs: 'same', qos: { keysPerChunk: 1 } } },
    })),
  };
}

async function makeKme(
  kmeId: string,
  saeIds: readonly string[],
  settings: KmeSettings,
  more: Pick<KmeOptions, 'onEvent' | 'etsi004Layer'>,
): Promise<Kme> {
  const { ca } = await testPki();
  const { certPem, keyPem } = await issueLeaf(ca, 'kme', {
    commonName: kmeId,
    nowMs: Date.now(),
    ipAddresses: ['127.0.0.1'],
  });
  const tls = { cert: certPem, key: keyPem, ca: ca.certPem };
  return new Kme({ kmeId, saeIds, tls, settings, ...more });
}
