import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { promisify } from 'node:util';
import { cpuSeconds, freePort, start, stop } from './processes.ts';

const GIB = 2 ** 30;

export interface BulkResult {
  readonly gigabitsPerSecond: number;
  readonly cpuSecondsPerGib: number;
}

/** An `iperf3` server: the backend of the bulk runs. */
export async function startSink(): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const child = start('iperf3', ['-s', '-B', '127.0.0.1', '-p', String(port), '--forceflush']);
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', () => child.output().includes('listening') && resolve());
    child.once('error', reject);
  });
  return { port, stop: () => stop(child) };
}

/** Pushes data through a tunnel for `seconds` over `streams` connections. CPU time is that of the tunnel's processes alone. */
export async function bulk(
  port: number,
  pids: readonly number[],
  streams: number,
  seconds: number,
): Promise<BulkResult> {
  const before = cpuSeconds(pids);
  const { stdout } = await promisify(execFile)(
    'iperf3',
    ['-c', '127.0.0.1', '-p', String(port), '-P', String(streams), '-t', String(seconds), '-l', '128K', '-J'],
    { maxBuffer: 16 * 2 ** 20 },
  );
  const used = cpuSeconds(pids) - before;
  const report = JSON.parse(stdout) as {
    error?: string;
    end: { sum_received: { bytes: number; bits_per_second: number } };
  };
  if (report.error) throw new Error(`iperf3: ${report.error}`);
  const { bytes, bits_per_second } = report.end.sum_received;
  return { gigabitsPerSecond: bits_per_second / 1e9, cpuSecondsPerGib: used / (bytes / GIB) };
}

/** A backend that says one byte to each new connection and closes when the other side does. */
export async function startGreeter(): Promise<{ port: number; stop(): Promise<void> }> {
  const server: Server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('end', () => socket.end());
    socket.write('!');
  }).listen(0, '127.0.0.1', 4096);
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    stop: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Opens `count` connections, `concurrency` at a time, each until the backend's first byte is there: handshakes a second. */
export async function connectionsPerSecond(port: number, count: number, concurrency: number): Promise<number> {
  let started = 0;
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      let greeted = false;
      socket.once('data', () => {
        greeted = true;
        socket.end();
      });
      socket.once('error', reject);
      socket.once('close', () => (greeted ? resolve() : reject(new Error('a connection ended without the greeting'))));
    });
  const worker = async () => {
    while (started < count) {
      started++;
      await one();
    }
  };
  const begin = process.hrtime.bigint();
  await Promise.all(Array.from({ length: concurrency }, worker));
  return count / (Number(process.hrtime.bigint() - begin) / 1e9);
}

/** Round trips a second of 64-byte messages on one connection. */
export async function pingPongPerSecond(port: number, count: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'data');
  const message = Buffer.alloc(64, 0x61);
  const begin = process.hrtime.bigint();
  await new Promise<void>((resolve, reject) => {
    let round = 0;
    let received = 0;
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      received += chunk.length;
      if (received < message.length) return;
      received = 0;
      if (++round === count) resolve();
      else socket.write(message);
    });
    socket.write(message);
  });
  const elapsed = Number(process.hrtime.bigint() - begin) / 1e9;
  socket.destroy();
  return count / elapsed;
}
