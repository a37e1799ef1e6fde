/**
 * Memory of one end of a connection in the states that it stays in: so many engines are brought there and kept, and
 * what the process has grown by is divided among them. `npm run bench:memory`; the numbers stand in docs/performance.md.
 */
import {
  clientIdentity,
  type EnginePair,
  enginePair,
  type PairOptions,
  qkdPsk,
  random,
} from '../tls-ext/engine/engine-pair.ts';
import { rekey, rekeyKey } from '../tls-ext/engine/rekey-pair.ts';

const ENGINES = 500;
/** Until code is compiled and caches are full. */
const WARM_UP = 50;

const collect = (globalThis as { gc?: () => void }).gc;
if (collect === undefined) throw new Error('run with node --expose-gc');

/** Our default: certificates both ways, X25519MLKEM768, a QKD key. */
function options(more: PairOptions = {}): PairOptions {
  return {
    ...more,
    client: { identity: clientIdentity, psk: qkdPsk(), qkdOffer: { offer: 'key' }, offerRekey: true, ...more.client },
    server: { requestClientCertificate: true, qkd: true, offerRekey: true, ...more.server },
    serverAnswers: {
      psk: () => ({ action: 'use', psk: qkdPsk() }),
      rekeyKey: () => rekeyKey(1),
      ...more.serverAnswers,
    },
  };
}

type Kept = 'client' | 'server';

function moved(pair: EnginePair): EnginePair {
  for (const side of [pair.client, pair.server]) {
    const other = side === pair.client ? pair.server : pair.client;
    for (let i = 0; i < 16; i++) side.take(side.engine.send(random(16_384)));
    for (const bytes of side.outbox.splice(0)) other.take(other.engine.receive(bytes));
    other.received = [];
  }
  return pair;
}

const states: Readonly<Record<string, readonly [Kept, () => EnginePair]>> = {
  'client, ClientHello sent': [
    'client',
    () => {
      const pair = enginePair(options());
      pair.client.take(pair.client.engine.start());
      return pair;
    },
  ],
  'server, awaiting the PSK': ['server', () => enginePair(options({ serverAnswers: { psk: () => undefined } })).run()],
  'server, awaiting the verdict on a certificate': [
    'server',
    () => enginePair(options({ serverAnswers: { verdict: () => undefined } })).run(),
  ],
  'client, idle': ['client', () => enginePair(options()).run()],
  'server, idle': ['server', () => enginePair(options()).run()],
  'client, idle after 256 KiB each way': ['client', () => moved(enginePair(options()).run())],
  'server, idle after 256 KiB each way': ['server', () => moved(enginePair(options()).run())],
  'client, idle after a rekey': ['client', () => rekey(enginePair(options()).run(), rekeyKey(1))],
  'server, idle after a rekey': ['server', () => rekey(enginePair(options()).run(), rekeyKey(1))],
  'client, awaiting rekey_response': [
    'client',
    () => rekey(enginePair(options({ serverAnswers: { rekeyKey: () => 'later' } })).run(), rekeyKey(1)),
  ],
};

interface Usage {
  readonly heap: number;
  readonly buffers: number;
}

/** After everything that nobody holds has gone. */
async function usage(): Promise<Usage> {
  for (let i = 0; i < 3; i++) {
    collect?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  return { heap: heapUsed, buffers: external };
}

async function measure([kept, build]: readonly [Kept, () => EnginePair]): Promise<Usage> {
  for (let i = 0; i < WARM_UP; i++) build();
  const before = await usage();
  const engines = Array.from({ length: ENGINES }, () => build()[kept].engine);
  const after = await usage();
  const each = (key: keyof Usage) => (after[key] - before[key]) / engines.length;
  return { heap: each('heap'), buffers: each('buffers') };
}

const kib = (bytes: number) => (bytes / 1024).toFixed(1);

process.stdout.write(`Node ${process.versions.node}, ${ENGINES} engines\n\n`);
process.stdout.write('| one end | V8 heap, KiB | buffers, KiB |\n|---|---|---|\n');
for (const [name, state] of Object.entries(states)) {
  const { heap, buffers } = await measure(state);
  process.stdout.write(`| ${name} | ${kib(heap)} | ${kib(buffers)} |\n`);
}
