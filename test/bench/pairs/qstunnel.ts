import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { start, stop } from '../processes.ts';
import { logLine } from './log-line.ts';
import type { HandshakeKind, Pair, PairOptions, RunningPair } from './pair.ts';
import { qstunnelPsk } from './qstunnel-psk.ts';
import { startSimulator } from './simulator.ts';

const BIN = fileURLToPath(new URL('../../../proxy/bin.mjs', import.meta.url));
/** Keys that the proxies hold ahead: filled before a run, so that none waits. */
const KEYS_AHEAD = 4_000;
/** Time in which the pools fill. */
const FILL_MS = 20_000;

interface Variant {
  readonly name: string;
  readonly options: readonly string[];
  /** QKD keys from the simulator. */
  readonly qkd: boolean;
}

function variant({ name, options, qkd }: Variant): Pair {
  return {
    name,
    version: () => `node ${process.versions.node}`,

    async start({ backendPort, materials: m }: PairOptions): Promise<RunningPair> {
      const simulator = qkd ? await startSimulator() : undefined;
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
          ...(kme === undefined ? [] : ['--keys-ahead', String(KEYS_AHEAD), '--require', 'qkd-and-pqc']),
        ]);
        return { child, port: Number((await logLine(child, 'listening')).address?.split(':').pop()) };
      };
      const server = await end('server', backendPort, 1);
      const client = await end('client', server.port, 0);
      if (qkd) {
        await logLine(client.child, 'keys-ready');
        // The log says when there are keys, not when there are enough.
        await delay(FILL_MS);
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

const CLASSICAL = ['--groups', 'x25519', '--unsafe-allow-classical'];

/** Our pair in the forms that are compared: each part of the benchmark names the ones that make sense there. */
export const qstunnelPairs: Readonly<Record<'bulk' | HandshakeKind, readonly Pair[]>> = {
  bulk: [variant({ name: 'qstunnel', options: [], qkd: false })],
  certificate: [
    variant({ name: 'qstunnel, X25519', options: CLASSICAL, qkd: false }),
    variant({ name: 'qstunnel, X25519MLKEM768', options: [], qkd: false }),
    variant({ name: 'qstunnel, default with QKD', options: [], qkd: true }),
  ],
  psk: [qstunnelPsk('qstunnel, X25519', 'x25519'), qstunnelPsk('qstunnel, X25519MLKEM768', 'x25519MlKem768')],
};
