/** Two key managers over 004, joined by key stores that the test fills: no link, no waiting for physics. */
import { randomBytes } from 'node:crypto';
import { issueLeaf } from '../../certs/index.ts';
import { createLinkStores, Kme, type KmeEvent } from '../../qkd-sim/index.ts';
import { systemClock } from '../../qkd-sim/kernel/clock.ts';
import type { KeyPurpose } from '../../qkd-sim/kme/index.ts';
import { testPki } from './pki.ts';

export interface TestKmes {
  readonly a: Kme;
  readonly b: Kme;
  /** References of the keys that B's key manager has handed to the answerer, in order. */
  readonly answered: { readonly ksid: Uint8Array; readonly index: number }[];
  readonly urlA: string;
  readonly urlB: string;
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
  } = {},
): Promise<TestKmes> {
  const { saesA = ['siteA'], saesB = ['siteB'] } = options;
  const answered: { ksid: Uint8Array; index: number }[] = [];
  const a = await makeKme('kme-a', saesA);
  const b = await makeKme('kme-b', saesB, (event) => {
    if (event.type !== 'key-delivered') return;
    const [ksid = '', index = ''] = event.reference.split('/');
    answered.push({ ksid: Uint8Array.from(Buffer.from(ksid, 'hex')), index: Number(index) });
  });
  const stores = createLinkStores<KeyPurpose>({
    capacityBytesPerDirection: options.capacityBytes ?? 65_536,
    clock: systemClock,
  });
  a.addPeer({ kmeId: 'kme-b', saeIds: saesB, supply: stores.a, port: b.portFor('kme-a') });
  b.addPeer({ kmeId: 'kme-a', saeIds: saesA, supply: stores.b, port: a.portFor('kme-b') });
  const portA = await a.listenEtsi004('127.0.0.1', 0);
  const portB = await b.listenEtsi004('127.0.0.1', 0);
  return {
    a,
    b,
    answered,
    urlA: `etsi004://127.0.0.1:${portA}`,
    urlB: `etsi004://127.0.0.1:${portB}`,
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

async function makeKme(kmeId: string, saeIds: readonly string[], onEvent?: (event: KmeEvent) => void): Promise<Kme> {
  const { ca } = await testPki();
  const { certPem, keyPem } = await issueLeaf(ca, 'kme', {
    commonName: kmeId,
    nowMs: Date.now(),
    ipAddresses: ['127.0.0.1'],
  });
  return new Kme({ kmeId, saeIds, tls: { cert: certPem, key: keyPem, ca: ca.certPem }, ...(onEvent && { onEvent }) });
}
