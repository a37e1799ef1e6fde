/** A small adapter of engine and socket for tests against real peers: answers from the test, everything awaited by event. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import {
  Alert,
  type EngineEvent,
  type HandshakeSummary,
  type PeerVerdict,
  type PskDecision,
  type ResumptionPsk,
  type TlsEngine,
  type TlsError,
} from '../../tls-ext/index.ts';
import { publicKeySignedBy } from './credentials.ts';

export interface EngineSocketAnswers {
  readonly psk?: (event: Extract<EngineEvent, { type: 'psk-required' }>) => PskDecision;
  /** PEM of the only CA that is believed. */
  readonly ca: string;
}

export class EngineSocket {
  readonly engine: TlsEngine;
  readonly #socket: Socket;
  readonly #answers: EngineSocketAnswers;
  readonly #waiting: { readonly done: () => boolean; readonly resolve: () => void }[] = [];
  #received: Uint8Array[] = [];
  receivedBytes = 0;
  /** How often the engine answered, after the handshake, to what it received: a KeyUpdate with another, for one. */
  replies = 0;
  readonly tickets: Extract<EngineEvent, { type: 'ticket' }>[] = [];
  summary: HandshakeSummary | undefined;
  error: TlsError | undefined;
  peerClosed = false;
  ended = false;

  constructor(engine: TlsEngine, socket: Socket, answers: EngineSocketAnswers) {
    this.engine = engine;
    this.#socket = socket;
    this.#answers = answers;
    const start = engine.start();
    const isClient = start.length > 0;
    socket.on('data', (chunk) => {
      const events = engine.receive(chunk);
      const writes = events.filter(({ type }) => type === 'write').length;
      // What comes with the peer's Finished may be answered with it: a server has nothing else to say then, a client its own flight.
      if (this.summary !== undefined) this.replies += writes;
      else if (events.some(({ type }) => type === 'handshake-complete')) this.replies += isClient ? 0 : writes;
      this.#take(events);
    });
    socket.on('end', () => this.#take(engine.receiveEnd()));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.ended = true;
      this.#wake();
    });
    this.#take(start);
  }

  send(data: string | Uint8Array): void {
    this.#take(this.engine.send(typeof data === 'string' ? new TextEncoder().encode(data) : data));
  }

  /** Sends a ticket under this handle; the PSK that belongs to it. */
  issueTicket(handle: Uint8Array): ResumptionPsk {
    const issued = this.engine.issueTicket({ handle, lifetimeSeconds: 600 });
    if (issued === undefined) throw this.error ?? new Error('the connection has ended');
    this.#take(issued.events);
    return issued.psk;
  }

  closeWrite(): void {
    this.#take(this.engine.closeWrite());
  }

  destroy(): void {
    this.#socket.destroy();
    this.engine.destroy();
  }

  /** Everything received so far, as text. */
  text(): string {
    return Buffer.concat(this.#received).toString();
  }

  bytes(): Buffer {
    return Buffer.concat(this.#received);
  }

  async handshake(): Promise<HandshakeSummary> {
    await this.until(() => this.summary !== undefined || this.error !== undefined || this.ended);
    if (this.summary === undefined) throw this.error ?? new Error('the connection ended in the handshake');
    return this.summary;
  }

  async failure(): Promise<TlsError> {
    await this.until(() => this.error !== undefined || this.ended);
    if (this.error === undefined) throw new Error('the connection ended without a failure');
    return this.error;
  }

  /** Resolves when `done` says so; looked at after every event. Rejects if the connection ends before. */
  async until(done: () => boolean): Promise<void> {
    if (!done()) await new Promise<void>((resolve) => this.#waiting.push({ done, resolve }));
    if (!done()) throw this.error ?? new Error('the connection ended first');
  }

  #take(events: readonly EngineEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'write':
          this.#socket.write(event.bytes, () => event.release?.());
          break;
        case 'plaintext':
          this.#received.push(event.bytes.slice());
          this.receivedBytes += event.bytes.length;
          event.release?.();
          break;
        case 'psk-required':
          this.#take(
            this.engine.providePsk(this.#answers.psk?.(event) ?? { action: 'continue', result: 'unavailable' }),
          );
          break;
        case 'peer-certificate':
          this.#take(this.engine.provideVerdict(judge(event.chain, this.#answers.ca)));
          break;
        case 'handshake-complete':
          this.summary = event.summary;
          break;
        case 'ticket':
          this.tickets.push(event);
          break;
        case 'closed':
          this.peerClosed = true;
          break;
        case 'failed':
          this.error = event.error;
          this.#socket.end();
          break;
      }
    }
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiting.splice(0)) {
      if (waiter.done() || this.ended) waiter.resolve();
      else this.#waiting.push(waiter);
    }
  }
}

/** A leaf signed by this CA is believed; names are not the engine's business. */
function judge(chain: readonly Uint8Array[], ca: string): PeerVerdict {
  const publicKeySpki = publicKeySignedBy(ca, chain[0] as Uint8Array);
  if (publicKeySpki === undefined) return { ok: false, alert: Alert.unknownCa, error: new Error('unknown CA') };
  return { ok: true, publicKeySpki };
}

/** Our client on a connection to a port of the loopback. */
export async function connectEngine(
  port: number,
  engine: TlsEngine,
  answers: EngineSocketAnswers,
): Promise<EngineSocket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  return new EngineSocket(engine, socket, answers);
}

/** Our server on a port of its own. */
export interface EngineServer {
  readonly port: number;
  /** The first connection, or the one after so many others. */
  accepted(after?: number): Promise<EngineSocket>;
  close(): void;
}

export async function listenEngine(createEngine: () => TlsEngine, answers: EngineSocketAnswers): Promise<EngineServer> {
  const sockets: EngineSocket[] = [];
  const waiting = new Map<number, (socket: EngineSocket) => void>();
  const server: Server = createServer((socket) => {
    const accepted = new EngineSocket(createEngine(), socket, answers);
    waiting.get(sockets.push(accepted) - 1)?.(accepted);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    accepted: async (after = 0) =>
      sockets[after] ?? new Promise<EngineSocket>((resolve) => waiting.set(after, resolve)),
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
