/**
 * What key management costs at the rate of a metro link: each end a process of
 * its own (key-end.mjs), with the key channel between them, and the key
 * managers in a third. Keys are used by a timer in place of handshakes, whose
 * CPU time is another measurement's; and how long a handshake would have waited
 * for its key is told.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Materials } from './pairs/pair.ts';
import { stop } from './processes.ts';
import { quantile } from './report.ts';

const END = fileURLToPath(new URL('./key-end.mjs', import.meta.url));
/** What a QKD link of some 50 km makes: 5 kb/s. */
export const METRO_KEYS_PER_SECOND = 20;
/** Before that, as many keys as would be used in eight minutes, so that the code is compiled as in a proxy that has run for a while. */
const WARM_UP = { keysPerSecond: 500, seconds: 20 } as const;
/** In which the pools come down to the depth of the lower rate. */
const CALM_SECONDS = 8;
/** An end reports once a second; a measurement is the sum of several. */
export const MIN_SECONDS = 10;

export interface KmeEnd {
  readonly etsi004: number;
  readonly https: number;
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string };
}

export interface ManagedApi {
  readonly variant: string;
  readonly scheme: 'etsi004' | 'etsi014' | 'skip';
  readonly query?: string;
}

/** By the names that `--api` takes. */
export const METRO_APIS = {
  etsi: { variant: '004 etsi', scheme: 'etsi004' },
  qubip: { variant: '004 qubip', scheme: 'etsi004', query: '?dialect=qubip' },
  '014': { variant: '014', scheme: 'etsi014' },
  skip: { variant: 'SKIP', scheme: 'skip' },
} as const satisfies Record<string, ManagedApi>;
export type MetroApi = keyof typeof METRO_APIS;

interface End {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  address: string;
  cpuMicroseconds: number;
  usedKeys: number;
  waitsMs: number[];
  withoutKey: number;
  onUsed: (references: readonly string[]) => void;
}

/** `seconds`: of the measurement, after the warm-up. */
export async function metroLink(
  kmes: { readonly a: KmeEnd; readonly b: KmeEnd },
  api: ManagedApi,
  materials: Materials,
  seconds: number,
  record: (metric: string, variant: string, value: number) => void,
): Promise<void> {
  const { variant } = api;
  const start = (mode: 'client' | 'server', connect: string): End =>
    startEnd(mode, serviceSettings({ mode, connect, kmes, api, materials }));
  const ends: End[] = [];
  try {
    const server = start('server', '127.0.0.1:9');
    ends.push(server);
    while (server.address === '') await once(server.child.stdout, 'data');
    const client = start('client', server.address);
    ends.push(client);
    const tell = ({ child }: End, line: string): boolean => child.stdin.write(`${line}\n`);
    const [bareClient, bareServer] = [startEnd('bare-client', {}), startEnd('bare-server', {})] as const;
    ends.push(bareClient, bareServer);
    const [drawers, answerers] = [
      [client, bareClient],
      [server, bareServer],
    ];
    client.onUsed = (references) => {
      for (const end of answerers) tell(end, references.join(' '));
    };
    for (const end of drawers) tell(end, `${WARM_UP.keysPerSecond}`);
    await delay(1_000 * WARM_UP.seconds);
    // What the warm-up left would be collected within the measurement, or after it.
    for (const end of drawers) tell(end, `${METRO_KEYS_PER_SECOND}`);
    for (const end of answerers) tell(end, 'collect');
    await delay(1_000 * CALM_SECONDS);
    const before = ends.map(({ cpuMicroseconds, usedKeys }) => ({ cpuMicroseconds, usedKeys }));
    client.waitsMs = [];
    client.withoutKey = 0;
    const measuredSeconds = Math.max(MIN_SECONDS, seconds);
    await delay(1_000 * measuredSeconds);
    const [answerer, drawer, bareDrawer, bareAnswerer] = ends.map(({ cpuMicroseconds }, i) => {
      return (cpuMicroseconds - (before[i]?.cpuMicroseconds ?? 0)) / 1e4 / measuredSeconds;
    }) as [number, number, number, number];
    const at = `at ${METRO_KEYS_PER_SECOND} keys a second, % of a core`;
    record(`drawer ${at}`, variant, drawer);
    record("of the drawer's, the bench's timer and report", variant, bareDrawer);
    record(`drawer's key management ${at}`, variant, drawer - bareDrawer);
    record(`answerer ${at}`, variant, answerer);
    record("of the answerer's, the bench's orders and report", variant, bareAnswerer);
    record(`answerer's key management ${at}`, variant, answerer - bareAnswerer);
    record('keys a second used then', variant, (client.usedKeys - (before[1]?.usedKeys ?? 0)) / measuredSeconds);
    record('wait for a key, median, ms', variant, quantile(client.waitsMs, 0.5));
    record('wait for a key, p99, ms', variant, quantile(client.waitsMs, 0.99));
    record('asked for and not there, keys', variant, client.withoutKey);
  } finally {
    for (const { child } of ends) await stop(child);
  }
}

/** As of a service in a configuration file. */
export function serviceSettings({
  mode,
  connect,
  kmes,
  materials,
  api: { scheme, query = '' },
}: {
  readonly mode: 'client' | 'server';
  readonly connect: string;
  readonly kmes: { readonly a: KmeEnd; readonly b: KmeEnd };
  readonly api: ManagedApi;
  readonly materials: Materials;
}): object {
  const isClient = mode === 'client';
  const kme = isClient ? kmes.a : kmes.b;
  const file = (name: 'cert' | 'key' | 'ca'): string => {
    const path = join(materials.folder, `kme-of-${mode}.${name}`);
    writeFileSync(path, kme.tls[name], { mode: 0o600 });
    return path;
  };
  const [sae, peerSae] = isClient ? ['siteA', 'siteB'] : ['siteB', 'siteA'];
  return {
    ...{ name: 'bench', mode, accept: '127.0.0.1:0', connect, ca: materials.ca, sae, 'peer-sae': [peerSae] },
    cert: isClient ? materials.clientCert : materials.serverCert,
    key: isClient ? materials.clientKey : materials.serverKey,
    kme: `${scheme}://127.0.0.1:${scheme === 'etsi004' ? kme.etsi004 : kme.https}${query}`,
    ...{ 'kme-cert': file('cert'), 'kme-key': file('key'), 'kme-ca': file('ca') },
  };
}

function startEnd(mode: 'client' | 'server' | 'bare-client' | 'bare-server', settings: object): End {
  const child = spawn(process.execPath, ['--expose-gc', END, JSON.stringify({ mode, settings })], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.on('error', () => {});
  const end: End = {
    ...{ child, address: '', cpuMicroseconds: 0, usedKeys: 0, waitsMs: [], withoutKey: 0 },
    onUsed: () => {},
  };
  createInterface(child.stdout).on('line', (line) => {
    const { address, cpuMicroseconds, used, waitsMs, withoutKey } = JSON.parse(line);
    end.address ||= address ?? '';
    end.cpuMicroseconds = cpuMicroseconds;
    end.usedKeys += used.length;
    end.waitsMs.push(...waitsMs);
    end.withoutKey += withoutKey;
    if (used.length > 0) end.onUsed(used);
  });
  return end;
}
