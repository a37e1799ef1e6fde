import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connectionsPerSecond } from '../load.ts';
import { start, stop } from '../processes.ts';
import { logLine } from './log-line.ts';
import type { HandshakeKind, Pair, PairOptions, RunningPair } from './pair.ts';
import { qstunnelPsk } from './qstunnel-psk.ts';
import { startSimulator } from './simulator.ts';

const BIN = fileURLToPath(new URL('../../../proxy/bin.mjs', import.meta.url));
/** Keys that the proxies hold ahead: filled before a run, so that none waits. */
const KEYS_AHEAD = 4_000;
/** One key, and then only what descends from it, with as many tickets a connection as OpenSSL gives. */
const RESUMPTION = ['--tickets', '2', '--rekey-after.connections', '1000000'];
/** Time in which the pools fill. */
const FILL_MS = 20_000;

interface Variant {
  readonly name: string;
  readonly options: readonly string[];
  /** QKD keys from the simulator, so many of them ahead. */
  readonly keysAhead: number;
}

function variant({ name, options, keysAhead }: Variant): Pair {
  return {
    name,
    version: () => `node ${process.versions.node}`,

    async start({ backendPort, materials: m, handshake }: PairOptions): Promise<RunningPair> {
      const simulator = keysAhead > 0 ? await startSimulator() : undefined;
      const end = async (mode: 'server' | 'client', connect: number, at: 0 | 1) => {
        const cert = mode === 'server' ? m.serverCert : m.clientCert;
        const key = mode === 'server' ? m.serverKey : m.clientKey;
        const [sae, peerSae] = mode === 'server' ? ['siteB', 'siteA'] : ['siteA', 'siteB'];
        const kme = simulator?.kmes[at];
        const child = start(process.execPath, [
          ...[BIN, mode, '--accept', '127.0.0.1:0', '--connect', `127.0.0.1:${connect}`],
          ...['--cert', cert, '--key', key, '--ca', m.ca, '--sae', sae as string, '--peer-sae', peerSae as string],
          ...options,
          ...(kme === undefined
            ? []
            : ['--kme', kme.etsi004, '--kme-cert', kme.cert, '--kme-key', kme.key, '--kme-ca', kme.ca]),
          ...(kme === undefined ? [] : ['--keys-ahead', String(keysAhead)]),
        ]);
        return { child, port: Number((await logLine(child, 'listening')).address?.split(':').pop()) };
      };
      const server = await end('server', backendPort, 1);
      const client = await end('client', server.port, 0);
      if (simulator !== undefined) {
        await logLine(client.child, 'keys-ready');
        // The log says when there are keys, not when there are enough.
        if (keysAhead > 1) await delay(FILL_MS);
        // What is measured is the tunnels, on cores that the simulated link would take its share of.
        simulator.child.kill('SIGSTOP');
        // One connection after the other, each of which leaves a ticket more than it takes: enough for all at once.
        if (handshake === 'resumption') await connectionsPerSecond(client.port, 64, 1);
      }
      return {
        port: client.port,
        pids: [server.child.pid as number, client.child.pid as number],
        stop: async () => {
          await Promise.all([stop(client.child), stop(server.child)]);
          if (simulator !== undefined) await stop(simulator.child);
        },
      };
    },
  };
}

const X25519 = ['--groups', 'x25519'];
const CLASSICAL = [...X25519, '--unsafe-allow-classical'];
const STRICT = ['--require', 'qkd-and-pqc'];

/** Our pair in the forms that are compared: each part of the benchmark names the ones that make sense there. */
export const qstunnelPairs: Readonly<Record<'bulk' | HandshakeKind, readonly Pair[]>> = {
  bulk: [variant({ name: 'qstunnel', options: [], keysAhead: 0 })],
  certificate: [
    variant({ name: 'qstunnel, X25519', options: CLASSICAL, keysAhead: 0 }),
    variant({ name: 'qstunnel, X25519MLKEM768', options: [], keysAhead: 0 }),
    variant({ name: 'qstunnel, default with QKD', options: STRICT, keysAhead: KEYS_AHEAD }),
  ],
  psk: [qstunnelPsk('qstunnel, X25519', 'x25519'), qstunnelPsk('qstunnel, X25519MLKEM768', 'x25519MlKem768')],
  resumption: [
    variant({ name: 'qstunnel, X25519', options: [...X25519, '--require', 'qkd', ...RESUMPTION], keysAhead: 1 }),
    variant({ name: 'qstunnel, X25519MLKEM768', options: [...STRICT, ...RESUMPTION], keysAhead: 1 }),
  ],
};
