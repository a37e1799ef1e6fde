/**
 * `npm run bench`: our pair of proxies beside the named peers, in one run, as ratios.
 *
 *   npm run bench                                  everything, 3 rounds
 *   npm run bench -- --only bulk --rounds 5        one part
 *   npm run bench -- --only keys --seconds 5       key delivery alone, without peers
 *   npm run bench -- --only keys --api skip        key management over one API alone (80 s a round)
 *   npm run bench -- --json bench.json             the samples too
 *
 * Rounds are interleaved (every pair once, then again), because the machine's
 * speed drifts by more than the differences of interest. Nothing here asserts a
 * time: docs/performance.md holds the numbers of the machine they were taken on.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import yargs from 'yargs';
import { keyDeliveryRound, keyManagementRound } from './key-delivery.ts';
import { METRO_APIS, type MetroApi } from './key-management.ts';
import { bulk, connectionsPerSecond, pingPongPerSecond, startGreeter, startSink } from './load.ts';
import { makeMaterials } from './materials.ts';
import { nodeTls } from './pairs/node-tls.ts';
import type { HandshakeKind, Materials, Pair, RunningPair } from './pairs/pair.ts';
import { qstunnelPairs } from './pairs/qstunnel.ts';
import { stunnel } from './pairs/stunnel.ts';
import { type Sample, summarise, table } from './report.ts';

const REFERENCE = 'stunnel';
/** Connections at a time: with few of them, processes of one thread wait for each other more than they work. */
const CONCURRENCY = 32;
const HANDSHAKES: Readonly<Record<HandshakeKind, string>> = {
  certificate: 'mutual certificates',
  psk: 'PSK-only',
  resumption: 'resumption',
};

const options = await yargs(process.argv.slice(2))
  .option('rounds', { type: 'number', default: 3, describe: 'interleaved rounds' })
  .option('seconds', { type: 'number', default: 5, describe: 'length of each bulk run' })
  .option('connections', { type: 'number', default: 2000, describe: 'connections of each handshake run' })
  .option('only', { choices: ['bulk', 'handshakes', 'keys'] as const, describe: 'one part alone' })
  .option('api', {
    choices: Object.keys(METRO_APIS) as MetroApi[],
    describe:
      'with --only keys: key management and waits at the rate of a metro link over this API alone, 80 s a round',
  })
  .option('json', { type: 'string', describe: 'write all samples to this file' })
  .check(({ api, only }) => api === undefined || only === 'keys' || '--api needs --only keys')
  .strict()
  .parseAsync();

const say = (text: string) => process.stderr.write(`${text}\n`);
const folder = mkdtempSync(join(tmpdir(), 'qstunnel-bench-'));
const samples: Sample[] = [];
try {
  const materials = await makeMaterials(folder);
  for (let round = 1; round <= options.rounds; round++) {
    if (options.only === undefined || options.only === 'keys') {
      const say = (metric: string, variant: string, value: number) => record(round, metric, variant, value);
      if (options.api === undefined) await keyDeliveryRound(options.seconds, materials, say);
      else await keyManagementRound(options.api, options.seconds, materials, say);
    }
    if (options.only === undefined || options.only === 'bulk') await bulkRound(round, materials);
    if (options.only === undefined || options.only === 'handshakes') {
      await handshakeRound(round, materials, 'certificate');
      await handshakeRound(round, materials, 'psk');
      await handshakeRound(round, materials, 'resumption');
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const rows = summarise(samples, REFERENCE);
process.stdout.write(
  `\n${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.versions.node}, ` +
    `${options.only === 'keys' ? '' : `${stunnel.version()}, `}${options.rounds} rounds\n\n${table(rows, REFERENCE)}\n`,
);
if (options.json !== undefined)
  writeFileSync(options.json, JSON.stringify({ node: process.versions.node, samples, rows }, null, 2));

async function bulkRound(round: number, materials: Materials): Promise<void> {
  const sink = await startSink();
  try {
    for (const pair of [stunnel, ...qstunnelPairs.bulk, nodeTls]) {
      await withPair(pair, sink.port, materials, 'certificate', async (running) => {
        const warmUpSeconds = 1;
        await bulk(running.port, running.pids, 1, warmUpSeconds);
        for (const streams of [1, 8]) {
          const result = await bulk(running.port, running.pids, streams, options.seconds);
          record(round, `bulk ${streams} stream${streams > 1 ? 's' : ''}, Gb/s`, pair.name, result.gigabitsPerSecond);
          record(
            round,
            `bulk ${streams} stream${streams > 1 ? 's' : ''}, CPU s/GiB`,
            pair.name,
            result.cpuSecondsPerGib,
          );
        }
      });
    }
  } finally {
    await sink.stop();
  }
}

async function handshakeRound(round: number, materials: Materials, handshake: HandshakeKind): Promise<void> {
  const greeter = await startGreeter();
  try {
    for (const pair of [stunnel, ...qstunnelPairs[handshake], ...(handshake === 'resumption' ? [] : [nodeTls])]) {
      await withPair(pair, greeter.port, materials, handshake, async (running) => {
        await connectionsPerSecond(running.port, Math.floor(options.connections / 5), CONCURRENCY);
        record(
          round,
          `handshakes/s, ${HANDSHAKES[handshake]}`,
          pair.name,
          await connectionsPerSecond(running.port, options.connections, CONCURRENCY),
        );
        if (handshake === 'certificate') {
          record(round, '64-byte round trips/s', pair.name, await pingPongPerSecond(running.port, 20_000));
        }
      });
    }
  } finally {
    await greeter.stop();
  }
}

async function withPair(
  pair: Pair,
  backendPort: number,
  materials: Materials,
  handshake: HandshakeKind,
  measure: (running: RunningPair) => Promise<void>,
): Promise<void> {
  const running = await pair.start({
    backendPort,
    materials,
    handshake,
    connections: Math.ceil(1.2 * options.connections) + 1,
  });
  try {
    await measure(running);
  } finally {
    await running.stop();
  }
}

function record(round: number, metric: string, pair: string, value: number): void {
  samples.push({ metric, pair, value });
  say(`round ${round}  ${pair.padEnd(28)} ${metric.padEnd(34)} ${value.toPrecision(4)}`);
}
