/** Two joined key managers as a process of their own, with as much key as anyone asks for. Prints one JSON line when it serves. */
import { randomBytes } from 'node:crypto';
import { createCa, issueLeaf } from '../../certs/index.ts';
import { createLinkStores, Kme } from '../../qkd-sim/index.ts';
import { systemClock } from '../../qkd-sim/kernel/clock.ts';
import type { KeyPurpose } from '../../qkd-sim/kme/index.ts';

const CAPACITY_BYTES = 4 * 2 ** 20;
const REFILL_MS = 5;

const nowMs = Date.now();
const ca = await createCa({ commonName: 'bench CA', nowMs });
const kme = async (kmeId: string, saeIds: readonly string[]): Promise<Kme> => {
  const { certPem, keyPem } = await issueLeaf(ca, 'kme', { commonName: kmeId, nowMs, ipAddresses: ['127.0.0.1'] });
  return new Kme({
    kmeId,
    saeIds,
    tls: { cert: certPem, key: keyPem, ca: ca.certPem },
    settings: { maxWaitingKeys: 1_000_000, etsi014: { maxKeysPerRequest: 128 } },
  });
};
const sae = async (saeId: string) => {
  const { certPem, keyPem } = await issueLeaf(ca, 'sae', { commonName: saeId, nowMs, saeIds: [saeId] });
  return { cert: certPem, key: keyPem, ca: ca.certPem };
};
const [a, b] = [await kme('kme-a', ['siteA']), await kme('kme-b', ['siteB'])];
const stores = createLinkStores<KeyPurpose>({ capacityBytesPerDirection: CAPACITY_BYTES, clock: systemClock });
a.addPeer({ kmeId: 'kme-b', saeIds: b.saeIds, supply: stores.a, port: b.portFor('kme-a') });
b.addPeer({ kmeId: 'kme-a', saeIds: a.saeIds, supply: stores.b, port: a.portFor('kme-b') });

function refill(): void {
  const room = (end: typeof stores.a): number => end.level().capacityBytes - end.level().availableBytes;
  const missing = room(stores.a) + room(stores.b);
  if (missing < CAPACITY_BYTES / 4) return;
  const key = Uint8Array.from(randomBytes(missing));
  stores.deposit(key, Uint8Array.from(key));
}
refill();
setInterval(refill, REFILL_MS);

const ends = {
  a: {
    etsi004: await a.listenEtsi004('127.0.0.1', 0),
    https: await a.listenHttps('127.0.0.1', 0),
    tls: await sae('siteA'),
  },
  b: {
    etsi004: await b.listenEtsi004('127.0.0.1', 0),
    https: await b.listenHttps('127.0.0.1', 0),
    tls: await sae('siteB'),
  },
};
process.stdout.write(`${JSON.stringify(ends)}\n`);
