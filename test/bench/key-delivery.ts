/**
 * Key delivery by itself (`npm run bench -- --only keys`): what a key costs
 * from a full pool, how fast the clients get keys from key managers on this
 * machine, and what both ends' key management costs at the rate of a metro link.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  AnswererStore,
  createKeySource,
  type DeliveredKey,
  DrawerPool,
  type KeySource,
  type KeySourceSettings,
  type QkdKeyReference,
  systemClock,
} from '../../kdi-client/index.ts';
import { SecretBytes } from '../../tls-ext/bytes/index.ts';
import { type KmeEnd, METRO_APIS, type MetroApi, metroLink } from './key-management.ts';
import type { Materials } from './pairs/pair.ts';
import { cpuSeconds, stop } from './processes.ts';
import { proxiedWaits } from './proxied-waits.ts';
import { median } from './report.ts';

type Record = (metric: string, variant: string, value: number) => void;

interface Kmes {
  readonly pid: number;
  readonly a: KmeEnd;
  readonly b: KmeEnd;
  stop(): Promise<void>;
}

const POOLED_KEYS = 100_000;
/** Keys of one reply; a divisor of the above. */
const BATCH = 32;

export async function keyDeliveryRound(seconds: number, materials: Materials, record: Record): Promise<void> {
  await warmPool(record);
  const kmes = await startKmes();
  try {
    for (const [variant, api, more] of VARIANTS) await drawAndLookUp(kmes, variant, api, more, seconds, record);
    for (const api of Object.values(METRO_APIS)) {
      await metroLink(kmes, api, materials, seconds, record);
      await proxiedWaits(kmes, api, materials, seconds, record);
    }
  } finally {
    await kmes.stop();
  }
}

/** What both ends' key management costs over one API, and how long connections wait for their keys. */
export async function keyManagementRound(
  api: MetroApi,
  seconds: number,
  materials: Materials,
  record: Record,
): Promise<void> {
  const kmes = await startKmes();
  try {
    await metroLink(kmes, METRO_APIS[api], materials, seconds, record);
    await proxiedWaits(kmes, METRO_APIS[api], materials, seconds, record);
  } finally {
    await kmes.stop();
  }
}

type Variant = readonly [name: string, api: string, more: Partial<KeySourceSettings>];
const chunkOf = (keysPerChunk: number, query = ''): Variant => [
  `004 ${query === '' ? 'etsi' : 'qubip'}, ${keysPerChunk === 1 ? '32-byte' : `${keysPerChunk / 32} KiB`} chunks`,
  `etsi004${query}`,
  { etsi004: { qos: { keysPerChunk } } },
];
const VARIANTS: readonly Variant[] = [
  chunkOf(1),
  chunkOf(32),
  chunkOf(1, '?dialect=qubip'),
  chunkOf(32, '?dialect=qubip'),
  ['014, batches of 128', 'etsi014', {}],
  ['014, one key a request', 'etsi014', { etsi014: { maxKeysPerRequest: 1 } }],
  ['SKIP', 'skip', {}],
];

/** A pool of 100,000 keys: their memory at both ends, and what taking and using one costs. */
async function warmPool(record: Record): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const usedBytes = (): number => {
    gc();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const mebibytes = (bytes: number): number => bytes / 2 ** 20;
  for (const api of ['etsi004', 'etsi014'] as const) {
    const before = usedBytes();
    const pool = filledPool(api);
    await pool.full;
    record('100,000 pooled keys at the drawer, MiB', api, mebibytes(usedBytes() - before));
    const take = (): void => {
      const result = pool.pool.take();
      if (!result.ok) throw new Error(result.reason);
      result.lease.secret.wipe();
      result.lease.commit();
    };
    record('draw from a warm pool, µs', api, microsecondsEach(take));
    await pool.pool.close();

    const emptyStore = usedBytes();
    const store = new AnswererStore({ clock: systemClock, maxKeysPerDrawer: POOLED_KEYS, maxKeys: POOLED_KEYS });
    for (let i = 0; i < POOLED_KEYS; i += 32) for (const key of madeKeys(api, i, 32)) store.accept(key);
    record('100,000 pooled keys at the answerer, MiB', api, mebibytes(usedBytes() - emptyStore));
    let next = 0;
    const burn = (): void => {
      const reference = madeReference(api, next++);
      store.find(reference)?.secret.wipe();
      if (!store.burn(reference)) throw new Error('not there');
    };
    record('look-up and burn at the answerer, µs', api, microsecondsEach(burn));
    store.close();
  }
}

/** The median over batches: what one call takes when the machine lets it run. */
function microsecondsEach(call: () => void): number {
  const batches = Array.from({ length: 21 }, () => {
    const startedMs = performance.now();
    for (let i = 0; i < 1_000; i++) call();
    return performance.now() - startedMs;
  });
  return median(batches);
}

const KSID = Uint8Array.from(createHash('sha256').update('ksid').digest().subarray(0, 16));

function madeReference(api: 'etsi004' | 'etsi014', i: number): QkdKeyReference {
  return api === 'etsi004'
    ? { api, drawer: 'siteA', ksid: KSID, index: i >> 5, slice: i & 31 }
    : { api, drawer: 'siteA', keyId: Uint8Array.from(createHash('md5').update(String(i)).digest()) };
}

/** Keys as a source hands them out: the secrets of one reply share an array, and those of a chunk their metadata. */
function madeKeys(api: 'etsi004' | 'etsi014', from: number, count: number): DeliveredKey[] {
  const secrets = Uint8Array.from(randomBytes(count * 32));
  const metadata = { kme: 'kme-a:1', hops: 0, ageMs: 1_000 };
  return Array.from({ length: count }, (_, i) => ({
    reference: madeReference(api, from + i),
    secret: new SecretBytes(secrets.subarray(i * 32, (i + 1) * 32)),
    metadata: api === 'etsi004' ? metadata : { ...metadata },
  }));
}

/** A pool over a source without I/O, whose keys are acknowledged at once. */
function filledPool(api: 'etsi004' | 'etsi014'): { readonly pool: DrawerPool; readonly full: Promise<void> } {
  let next = 0;
  const source: KeySource = {
    api,
    kme: 'kme-a:1',
    needsStream: false,
    status: () => Promise.reject(new Error('no status')),
    openLookup: () => Promise.reject(new Error('no look-up')),
    close: async () => {},
    openDraw: async () => ({
      ended: false,
      // Once full it stays so: takes are measured without refills.
      draw: () => {
        if (next >= POOLED_KEYS) return new Promise<never>(() => {});
        const from = next;
        next += BATCH;
        return Promise.resolve(madeKeys(api, from, BATCH));
      },
      close: async () => {},
    }),
  };
  let whenFull = (): void => {};
  const full = new Promise<void>((resolve) => {
    whenFull = resolve;
  });
  const pool = new DrawerPool({
    source,
    peerSaeId: 'siteB',
    clock: systemClock,
    random: () => 0.5,
    highWatermark: POOLED_KEYS,
    maxOutstanding: POOLED_KEYS,
    hooks: {
      announceStream: () => {},
      announceKeys: (keys) => {
        const references = keys.map(({ reference }) => reference);
        queueMicrotask(() => {
          for (const reference of references) pool.markReady(reference);
          if (pool.status().ready >= POOLED_KEYS) whenFull();
        });
      },
      dropKeys: () => {},
      closeStream: () => {},
    },
  });
  pool.channelUp(new Uint8Array(16), POOLED_KEYS);
  return { pool, full };
}

/** Keys and requests a second, one request at a time; draws first, then the look-ups of what was drawn. */
async function drawAndLookUp(
  kmes: Kmes,
  variant: string,
  api: string,
  more: Partial<KeySourceSettings>,
  seconds: number,
  record: Record,
): Promise<void> {
  const [a, b] = [sourceAt(kmes.a, 'siteA', api, more), sourceAt(kmes.b, 'siteB', api, more)];
  try {
    const drawing = await a.openDraw('siteB');
    const { announcement } = drawing;
    const looking = await b.openLookup('siteA', announcement === undefined ? {} : { announcement });
    const drawn: QkdKeyReference[] = [];
    const draw = async (): Promise<number> => {
      const keys = await drawing.draw(128);
      for (const { reference, secret } of keys) {
        secret.wipe();
        drawn.push(reference);
      }
      return keys.length;
    };
    // One stream holds 1,024 chunks that the other side has not fetched.
    const most = announcement === undefined ? Number.POSITIVE_INFINITY : 1_000;
    const rates: { keys: number; requests: number; seconds: number; cpu: number; kmeCpu: number } = {
      keys: 0,
      requests: 0,
      seconds: 0,
      cpu: 0,
      kmeCpu: 0,
    };
    let lookedUp = 0;
    let lookUpSeconds = 0;
    for (const warmUp of [true, false]) {
      const untilMs = performance.now() + 1_000 * (warmUp ? Math.min(1, seconds) : seconds);
      while (performance.now() < untilMs) {
        drawn.length = 0;
        const cpuBefore = process.cpuUsage();
        const kmeBefore = cpuSeconds([kmes.pid]);
        const startedMs = performance.now();
        let requests = 0;
        for (; requests < Math.min(most, 200) && performance.now() < untilMs; requests++) await draw();
        const drawSeconds = (performance.now() - startedMs) / 1_000;
        const { user, system } = process.cpuUsage(cpuBefore);
        const kmeCpu = cpuSeconds([kmes.pid]) - kmeBefore;
        const lookUpMs = performance.now();
        for (let at = 0; at < drawn.length; at += 128) {
          const found = await Promise.all(drawn.slice(at, at + 128).map((reference) => looking.lookup(reference)));
          for (const { secret } of found) secret.wipe();
        }
        if (warmUp) continue;
        rates.keys += drawn.length;
        // Over SKIP each key is a request.
        rates.requests += variant === 'SKIP' ? drawn.length : requests;
        rates.seconds += drawSeconds;
        rates.cpu += (user + system) / 1e6;
        rates.kmeCpu += kmeCpu;
        lookedUp += drawn.length;
        lookUpSeconds += (performance.now() - lookUpMs) / 1_000;
      }
    }
    record('keys drawn a second', variant, rates.keys / rates.seconds);
    record('requests a second', variant, rates.requests / rates.seconds);
    record('client CPU for a key drawn, µs', variant, (1e6 * rates.cpu) / rates.keys);
    record('KME CPU for a key drawn, µs', variant, (1e6 * rates.kmeCpu) / rates.keys);
    record('keys looked up a second', variant, lookedUp / lookUpSeconds);
    await Promise.all([drawing.close(), looking.close()]);
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

function sourceAt(end: KmeEnd, saeId: string, api: string, more: Partial<KeySourceSettings>): KeySource {
  const [scheme = '', query] = api.split('?');
  const port = scheme === 'etsi004' ? end.etsi004 : end.https;
  const url = `${scheme}://127.0.0.1:${port}${query === undefined ? '' : `?${query}`}`;
  return createKeySource({ url, saeId, tls: end.tls, ...more });
}

async function startKmes(): Promise<Kmes> {
  const script = fileURLToPath(new URL('kme-process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout);
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the key managers ended with ${code}`);
    }),
  ])) as [string];
  const { a, b } = JSON.parse(line) as Pick<Kmes, 'a' | 'b'>;
  return { pid: child.pid as number, a, b, stop: () => stop(child) };
}
