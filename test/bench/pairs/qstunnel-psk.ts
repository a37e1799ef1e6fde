import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createKeySource, type DeliveredKey, type DrawStream, isKdiError } from '../../../kdi-client/index.ts';
import { plainIdentityText } from '../../../proxy/key-service/plain-identity.ts';
import { start, stop } from '../processes.ts';
import { logLine } from './log-line.ts';
import type { Pair, PairOptions, RunningPair } from './pair.ts';
import { type SimulatedKme, startSimulator } from './simulator.ts';

const END = fileURLToPath(new URL('./qstunnel-psk-end.mjs', import.meta.url));
const KEYS_PER_REQUEST = 128;

/**
 * Our pair with `auth: psk` in the group that is named. Both ends' pools are
 * filled from the simulated key managers before the run: what is measured is
 * the tunnels, not a key manager.
 */
export function qstunnelPsk(name: string, group: 'x25519' | 'x25519MlKem768'): Pair {
  return {
    name,
    version: () => `node ${process.versions.node}`,

    async start({ backendPort, materials, connections }: PairOptions): Promise<RunningPair> {
      const files = await fillPools(materials.folder, connections);
      const end = async (role: 'server' | 'client', connect: number, keys: string) => {
        const child = start(process.execPath, [END, JSON.stringify({ role, connect, group, keys })]);
        return { child, port: Number((await logLine(child, 'listening')).address?.split(':').pop()) };
      };
      const server = await end('server', backendPort, files.answerer);
      const client = await end('client', server.port, files.drawer);
      return {
        port: client.port,
        pids: [server.child.pid as number, client.child.pid as number],
        stop: async () => {
          await Promise.all([stop(client.child), stop(server.child)]);
        },
      };
    },
  };
}

/** Draws keys at one key manager and looks them up at the other; a file for each end. */
async function fillPools(folder: string, count: number): Promise<{ drawer: string; answerer: string }> {
  const { child, kmes } = await startSimulator();
  const sourceAt = (at: 0 | 1, saeId: string) => {
    const { etsi014, cert, key, ca } = kmes[at] as SimulatedKme;
    const [certPem, keyPem, caPem] = [cert, key, ca].map((path) => readFileSync(path, 'utf8')) as [
      string,
      string,
      string,
    ];
    const tls = { cert: certPem, key: keyPem, ca: caPem };
    return createKeySource({ url: etsi014, saeId, tls, etsi014: { maxKeysPerRequest: KEYS_PER_REQUEST } });
  };
  const [drawer, answerer] = [sourceAt(0, 'siteA'), sourceAt(1, 'siteB')];
  try {
    const draw = await drawer.openDraw('siteB');
    const lookup = await answerer.openLookup('siteA');
    const drawn: DeliveredKey[] = [];
    const found: DeliveredKey[] = [];
    while (drawn.length < count) {
      const batch = await drawWhenThere(draw, Math.min(KEYS_PER_REQUEST, count - drawn.length));
      drawn.push(...batch);
      found.push(...(await Promise.all(batch.map(({ reference }) => lookup.lookup(reference)))));
    }
    return { drawer: write(folder, 'drawer', drawn), answerer: write(folder, 'answerer', found) };
  } finally {
    await Promise.all([drawer.close(), answerer.close()]);
    await stop(child);
  }
}

/** The link may be slower than we draw. */
async function drawWhenThere(draw: DrawStream, count: number): Promise<DeliveredKey[]> {
  for (;;) {
    try {
      return await draw.draw(count);
    } catch (error) {
      if (!isKdiError(error) || !error.retryable) throw error;
      await delay(200);
    }
  }
}

function write(folder: string, name: string, keys: readonly DeliveredKey[]): string {
  const file = join(folder, `${name}.keys`);
  const lines = keys.map(({ reference, secret }) => {
    const identity = Buffer.from(plainIdentityText(reference)).toString('hex');
    return `${identity}:${Buffer.from(secret.expose()).toString('hex')}\n`;
  });
  writeFileSync(file, lines.join(''), { mode: 0o600 });
  return file;
}
