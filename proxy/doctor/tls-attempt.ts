/**
 * One connection to a TLS server with an offer of our own choosing, to see
 * what it makes of it. Believes any certificate: it is looked at afterwards.
 */
import { connect, type Socket } from 'node:net';
import { parseCertificate } from '../../certs/index.ts';
import {
  Alert,
  type ClientEngineOptions,
  createClientEngine,
  type EngineEvent,
  type HandshakeSummary,
  type PeerVerdict,
  type QkdResult,
  type ResumptionPsk,
  type TlsEngine,
  type TlsError,
  TlsErrorCode,
} from '../../tls-ext/index.ts';
import type { SocketAddress } from '../data-path/index.ts';
import { errorCode } from '../errors.ts';

/** A ticket as it came; whoever keeps it wipes its secret. */
export interface ReceivedTicket {
  readonly psk: ResumptionPsk;
  readonly lifetimeSeconds: number;
  readonly ageAdd: number;
  readonly atMs: number;
}

/** How far a connection came, and what it showed. */
export interface TlsOutcome {
  /** Why there was no TCP connection: a code of the system, or `timeout`. Absent: there was one. */
  readonly unreachable?: string;
  readonly summary?: HandshakeSummary;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** What EncryptedExtensions said in `qkd_psk`, also where the handshake was refused after it. */
  readonly qkdResult?: QkdResult;
  /** Of the engine; absent: none, or the peer ended without a word. */
  readonly error?: TlsError;
  /** AlertDescription that the peer sent. */
  readonly peerAlert?: Alert;
  readonly tickets: readonly ReceivedTicket[];
  /** No end, and no further word, within the time. */
  readonly timedOut: boolean;
  /** The first bytes that came, as text: what talks there if it is not TLS. */
  readonly greeting: string;
}

export interface AttemptOptions {
  readonly address: SocketAddress;
  readonly engine: ClientEngineOptions;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** How long to listen after the handshake, for tickets and for a refusal of our certificate. Default 0. */
  readonly settleMs?: number;
}

const GREETING_BYTES = 8;

/** Never rejects. */
export function attemptTls(options: AttemptOptions): Promise<TlsOutcome> {
  return new Promise((resolve) => new Attempt(options, resolve).start());
}

class Attempt {
  readonly #options: AttemptOptions;
  readonly #resolve: (outcome: TlsOutcome) => void;
  readonly #engine: TlsEngine;
  readonly #tickets: ReceivedTicket[] = [];
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #connected = false;
  #settled = false;
  #summary: HandshakeSummary | undefined;
  #chain: readonly Uint8Array[] = [];
  #qkdResult: QkdResult | undefined;
  #error: TlsError | undefined;
  #greeting = '';

  constructor(options: AttemptOptions, resolve: (outcome: TlsOutcome) => void) {
    this.#options = options;
    this.#resolve = resolve;
    this.#engine = createClientEngine(options.engine);
  }

  start(): void {
    const { address, timeoutMs, signal } = this.#options;
    if (signal.aborted) {
      this.#end({ timedOut: true });
      return;
    }
    const socket = connect('path' in address ? { path: address.path } : { ...address, noDelay: true });
    this.#socket = socket;
    signal.addEventListener('abort', this.#onTimeout);
    this.#timer = setTimeout(this.#onTimeout, timeoutMs);
    socket.once('connect', () => {
      this.#connected = true;
      this.#take(() => this.#engine.start());
    });
    socket.on('data', (bytes: Uint8Array) => {
      if (this.#greeting.length < GREETING_BYTES) {
        this.#greeting += String.fromCharCode(...bytes.subarray(0, GREETING_BYTES - this.#greeting.length));
      }
      this.#take(() => this.#engine.receive(bytes));
    });
    socket.once('end', () => this.#take(() => this.#engine.receiveEnd()));
    socket.on('error', (error) => {
      if (this.#connected) this.#end({ timedOut: false });
      else this.#end({ timedOut: false, unreachable: errorCode(error) ?? error.message });
    });
    socket.once('close', () => this.#end({ timedOut: false }));
  }

  readonly #onTimeout = (): void => {
    this.#end(this.#connected ? { timedOut: true } : { timedOut: true, unreachable: 'timeout' });
  };

  #take(call: () => EngineEvent[]): void {
    if (this.#settled) return;
    for (const event of call()) {
      switch (event.type) {
        case 'write':
          this.#socket?.write(Uint8Array.from(event.bytes));
          event.release?.();
          break;
        case 'plaintext':
          event.release?.();
          break;
        case 'peer-certificate':
          this.#chain = event.chain.map((der) => Uint8Array.from(der));
          this.#take(() => this.#engine.provideVerdict(believe(this.#chain)));
          break;
        case 'handshake-complete':
          this.#summary = event.summary;
          this.#qkdResult = event.summary.qkdResult;
          this.#settle();
          break;
        case 'ticket':
          this.#tickets.push({ ...event, atMs: performance.now() });
          break;
        case 'failed':
          this.#error = event.error;
          this.#qkdResult ??= event.qkdResult;
          this.#end({ timedOut: false });
          break;
        case 'closed':
          this.#end({ timedOut: false });
          break;
        default:
          // Servers' events, and rekeying, which nobody starts here.
          break;
      }
    }
  }

  #settle(): void {
    clearTimeout(this.#timer);
    const { settleMs = 0 } = this.#options;
    // In the next turn at the earliest: what came in the same bytes belongs to it.
    this.#timer = setTimeout(() => this.#end({ timedOut: false }), settleMs);
  }

  #end(how: { readonly timedOut: boolean; readonly unreachable?: string }): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#options.signal.removeEventListener('abort', this.#onTimeout);
    const socket = this.#socket;
    if (socket !== undefined && !socket.destroyed) {
      if (this.#summary !== undefined && this.#error === undefined) this.#goodbye(socket);
      // Flushes what was written, such as an alert, and waits for nobody.
      socket.destroySoon();
      socket.on('error', () => {});
    }
    this.#engine.destroy();
    const peerAlert = this.#error?.code === TlsErrorCode.peerAlert ? this.#error.alert : undefined;
    this.#resolve({
      ...how,
      ...(this.#summary === undefined ? {} : { summary: this.#summary }),
      chain: this.#chain,
      ...(this.#qkdResult === undefined ? {} : { qkdResult: this.#qkdResult }),
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...(peerAlert === undefined ? {} : { peerAlert }),
      tickets: this.#tickets,
      greeting: this.#greeting,
    });
  }

  #goodbye(socket: Socket): void {
    for (const event of this.#engine.closeWrite()) {
      if (event.type === 'write') {
        socket.write(Uint8Array.from(event.bytes));
        event.release?.();
      }
    }
  }
}

function believe(chain: readonly Uint8Array[]): PeerVerdict {
  try {
    return { ok: true, publicKeySpki: parseCertificate(chain[0] ?? new Uint8Array()).publicKeySpki };
  } catch (error) {
    return { ok: false, alert: Alert.badCertificate, error: error as Error };
  }
}

/** Whether the server took the offer so far as to say something under encryption. */
export function wasTaken({ summary, chain, qkdResult }: TlsOutcome): boolean {
  return summary !== undefined || chain.length > 0 || qkdResult !== undefined;
}
