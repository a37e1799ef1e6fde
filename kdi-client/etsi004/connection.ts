/**
 * One connection to a 004 key manager, over TLS or plain TCP: one request at a
 * time, and as many after one another as the dialect allows. Whatever goes
 * wrong ends it, since a late reply would be taken for the next request's.
 */
import type { Socket } from 'node:net';
import type { Cancel, Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { connectionError } from '../kme-tls.ts';
import { type Etsi004Frame, Etsi004Splitter } from '../wire/index.ts';

export interface Etsi004ConnectionOptions {
  readonly kme: string;
  readonly clock: Clock;
  /** Until TCP and TLS stand. */
  readonly connectTimeoutMs: number;
  readonly maxReplyBytes: number;
  /** Whether the socket is a TLS socket. */
  readonly secured: boolean;
  /** The connection is over, or broke: no session of it may be resumed. */
  readonly onBroken: () => void;
  /** It is gone; `byPeer`: not by our own decision. */
  readonly onGone: (connection: Etsi004Connection, byPeer: boolean) => void;
}

/** The server closed a kept connection instead of answering on it: most likely it had not read the request. */
export class ConnectionNotKeptError extends KdiError {}

/** A request under way. */
interface Exchange {
  readonly splitter: Etsi004Splitter;
  readonly timeoutMs: number;
  readonly request: Uint8Array;
  replied: boolean;
  settle(outcome: Etsi004Frame | KdiError): void;
}

type Phase = 'connecting' | 'handshake' | 'open' | 'gone';

export class Etsi004Connection {
  readonly #options: Etsi004ConnectionOptions;
  readonly #socket: Socket;
  #phase: Phase = 'connecting';
  #exchange: Exchange | undefined;
  #cancelTimer: Cancel = () => {};
  #replies = 0;

  /** Takes over a socket that was just told to connect. */
  constructor(socket: Socket, options: Etsi004ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.once('connect', () => {
      if (this.#phase === 'connecting') this.#phase = 'handshake';
    });
    socket.once(options.secured ? 'secureConnect' : 'connect', () => this.#opened());
    socket.on('data', (chunk: Uint8Array) => this.#received(chunk));
    socket.on('error', (error) => {
      options.onBroken();
      const phase = this.#phase === 'open' || this.#phase === 'gone' ? 'replying' : this.#phase;
      const reason = connectionError(error, options.kme, phase);
      this.#end(reason.code === KdiErrorCode.closed && phase === 'replying' ? this.#closedEarly(error) : reason);
    });
    socket.once('end', () => this.#end(this.#closedEarly()));
    socket.once('close', () => this.#end(this.#closedEarly()));
  }

  /** Whether another request may be sent: nothing is under way, and nothing was wrong. */
  get idle(): boolean {
    return this.#phase === 'open' && this.#exchange === undefined;
  }

  /**
   * Sends `request` and resolves with the first message that comes back.
   * Rejects with a `KdiError` after `timeoutMs` from the connection's standing,
   * when one of `signals` fires, or with whatever else ends the connection.
   */
  exchange(request: Uint8Array, timeoutMs: number, signals: readonly AbortSignal[]): Promise<Etsi004Frame> {
    const { clock, kme, maxReplyBytes, connectTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const splitter = new Etsi004Splitter('responses', maxReplyBytes);
      const onAbort = (): void => this.#end(abortedError(kme));
      this.#exchange = {
        splitter,
        request,
        timeoutMs,
        replied: false,
        settle: (outcome) => {
          this.#exchange = undefined;
          this.#cancelTimer();
          for (const signal of signals) signal.removeEventListener('abort', onAbort);
          if (!(outcome instanceof KdiError)) {
            resolve(outcome);
            return;
          }
          splitter.wipe();
          reject(outcome);
        },
      };
      for (const signal of signals) signal.addEventListener('abort', onAbort);
      this.#cancelTimer();
      if (this.#phase === 'open') this.#send();
      else if (this.#phase === 'gone') this.#exchange.settle(this.#closedEarly());
      else
        this.#cancelTimer = clock.schedule(
          () =>
            this.#end(
              timeoutError(kme, this.#phase === 'connecting' ? 'to accept the connection' : 'in the TLS handshake'),
            ),
          connectTimeoutMs,
        );
    });
  }

  /** Ends it by itself if no request comes within `idleMs`. */
  keepFor(idleMs: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.schedule(() => this.close(), idleMs);
  }

  /** Ends it; what is under way rejects with `reason`. Idempotent. */
  close(reason: KdiError = this.#closedEarly()): void {
    this.#end(reason, false);
  }

  #opened(): void {
    if (this.#phase === 'gone') return;
    this.#phase = 'open';
    this.#cancelTimer();
    if (this.#exchange !== undefined) this.#send();
  }

  #send(): void {
    const { request, timeoutMs } = this.#exchange as Exchange;
    const { clock, kme } = this.#options;
    this.#cancelTimer = clock.schedule(() => this.#end(timeoutError(kme, 'to reply')), timeoutMs);
    this.#socket.write(request);
  }

  #received(chunk: Uint8Array): void {
    const exchange = this.#exchange;
    try {
      // Bytes that nobody asked for would be taken for the next reply.
      if (exchange === undefined) {
        this.#end(this.#closedEarly());
        return;
      }
      exchange.replied = true;
      const frames = exchange.splitter.push(chunk);
      const [frame] = frames;
      if (frame === undefined) return;
      const clean = frames.length === 1 && exchange.splitter.atBoundary;
      for (const { payload } of frames.slice(1)) payload.fill(0);
      if (!clean) exchange.splitter.wipe();
      this.#replies++;
      exchange.settle(frame);
      if (!clean) this.#end(this.#closedEarly());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const { kme } = this.#options;
      const told = isHttp(chunk)
        ? `KME ${kme} answers in HTTP: write etsi014:// (or skip://) instead of etsi004:// in its URL`
        : `KME ${kme} sent what is no 004 reply: ${reason}`;
      this.#end(new KdiError(KdiErrorCode.malformed, told, { cause: error }));
    } finally {
      chunk.fill(0);
    }
  }

  #end(reason: KdiError, byPeer = true): void {
    if (this.#phase === 'gone') return;
    this.#cancelTimer();
    const exchange = this.#exchange;
    this.#phase = 'gone';
    this.#socket.destroy();
    exchange?.settle(reason);
    this.#options.onGone(this, byPeer);
  }

  #closedEarly(cause?: Error): KdiError {
    const { kme, secured } = this.#options;
    const options = cause === undefined ? {} : { cause };
    if (this.#phase === 'connecting' || this.#phase === 'handshake') {
      return new KdiError(KdiErrorCode.closed, `KME ${kme} closed the connection before it stood`, options);
    }
    if (this.#replies > 0 && this.#exchange?.replied !== true) {
      return new ConnectionNotKeptError(
        KdiErrorCode.closed,
        `KME ${kme} closed the connection instead of replying`,
        options,
      );
    }
    // In TLS 1.3 a server judges our certificate after our side of the handshake is done.
    const wordless = secured && this.#exchange?.replied !== true;
    const hint = wordless ? ' without a word; does it admit our certificate?' : '';
    return new KdiError(
      KdiErrorCode.closed,
      `KME ${kme} closed the connection before its reply was complete${hint}`,
      options,
    );
  }
}

/** As a server answers that was sent no HTTP. */
function isHttp(chunk: Uint8Array): boolean {
  return String.fromCharCode(...chunk.subarray(0, 5)) === 'HTTP/';
}

export function abortedError(kme: string): KdiError {
  return new KdiError(KdiErrorCode.aborted, `the call to KME ${kme} was given up`);
}

function timeoutError(kme: string, doing: string): KdiError {
  return new KdiError(KdiErrorCode.timeout, `KME ${kme} took too long ${doing}`);
}
