/**
 * How long connections of applications wait for their key: two proxies, as
 * programs, with the key managers in another process, and new connections at
 * the rate of a metro link, each of which uses a key. The wait is what the
 * client's log says of each connection: from its being accepted until its
 * handshake begins.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type KmeEnd, type ManagedApi, METRO_KEYS_PER_SECOND, MIN_SECONDS, serviceSettings } from './key-management.ts';
import { startGreeter } from './load.ts';
import type { Materials } from './pairs/pair.ts';
import { stop } from './processes.ts';
import { quantile } from './report.ts';

const BIN = fileURLToPath(new URL('../../proxy/bin.mjs', import.meta.url));
/** In which the pool grows to the demand. */
const WARM_UP_SECONDS = 10;
/** For the last lines of the log to come. */
const LINGER_MS = 1_000;

interface ConnectionLine {
  readonly event: string;
  readonly address?: string;
  readonly mode?: string;
  readonly waitedMs?: number;
  readonly handshakeMs?: number;
}

/** `seconds`: of the measurement, after the warm-up. */
export async function proxiedWaits(
  kmes: { readonly a: KmeEnd; readonly b: KmeEnd },
  api: ManagedApi,
  materials: Materials,
  seconds: number,
  record: (metric: string, variant: string, value: number) => void,
): Promise<void> {
  const { variant } = api;
  const greeter = await startGreeter();
  const proxies: ChildProcess[] = [];
  const lines: ConnectionLine[] = [];
  try {
    const start = async (mode: 'client' | 'server', connectTo: number) => {
      const file = join(materials.folder, `${mode}.yaml`);
      const settings = serviceSettings({ mode, connect: `127.0.0.1:${connectTo}`, kmes, api, materials });
      writeFileSync(file, JSON.stringify({ services: [settings] }));
      const child = spawn(process.execPath, [BIN, '--config', file], { stdio: ['ignore', 'ignore', 'pipe'] });
      proxies.push(child);
      const log = createInterface(child.stderr);
      const said = (event: string): Promise<ConnectionLine> =>
        new Promise((resolve, reject) => {
          log.on('line', (text) => {
            const line = JSON.parse(text) as ConnectionLine;
            if (line.event === event) resolve(line);
          });
          child.once('exit', (code) => reject(new Error(`a proxy ended with ${code}`)));
        });
      const [listening, keysReady] = [said('listening'), said('keys-ready')];
      keysReady.catch(() => {});
      const { address = '' } = await listening;
      return { log, keysReady, port: Number(address.split(':').pop()) };
    };
    const server = await start('server', greeter.port);
    const client = await start('client', server.port);
    await client.keysReady;
    const timer = setInterval(() => void visit(client.port), 1_000 / METRO_KEYS_PER_SECOND);
    try {
      await delay(1_000 * WARM_UP_SECONDS);
      client.log.on('line', (text) => {
        const line = JSON.parse(text) as ConnectionLine;
        if (line.event === 'connection') lines.push(line);
      });
      await delay(1_000 * Math.max(MIN_SECONDS, seconds));
    } finally {
      clearInterval(timer);
    }
    await delay(LINGER_MS);
  } finally {
    for (const proxy of proxies) await stop(proxy);
    await greeter.stop();
  }
  const of = (field: 'waitedMs' | 'handshakeMs'): number[] => lines.map((line) => line[field] ?? Number.NaN);
  record('proxied connections, wait for the key, median, ms', variant, quantile(of('waitedMs'), 0.5));
  record('proxied connections, wait for the key, p99, ms', variant, quantile(of('waitedMs'), 0.99));
  record('proxied connections, handshake, median, ms', variant, quantile(of('handshakeMs'), 0.5));
  record('proxied connections', variant, lines.length);
  record('of these without a key', variant, lines.filter(({ mode }) => mode !== 'qkd-and-pqc').length);
}

/** One connection of an application, until it has its greeting. */
async function visit(port: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  // A connection that fails has no key: it is counted by its line in the log.
  socket.on('error', () => {});
  await once(socket, 'data').catch(() => {});
  socket.end();
}
