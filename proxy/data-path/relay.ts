/**
 * Carries bytes between an open TLS connection and an application's socket,
 * in both roles: chunks of the application are sealed straight out of the
 * shared read buffer; decrypted ones go to the application's socket as the
 * engine laid them out. Each direction ends by itself (half-close), and what
 * is not an orderly end on one side is none on the other.
 */
import type { Socket } from 'node:net';
import { Alert } from '../../tls-ext/index.ts';
import { errorText, ProxyError, ProxyErrorCode } from '../errors.ts';
import type { DataHandler } from './connection-handlers.ts';
import { CONGESTED_BYTES, RELIEVED_BYTES } from './flow-control.ts';
import { type ChunkHandler, resetSocket } from './raw-socket.ts';
import type { TlsConnection } from './tls-connection.ts';

export interface RelayOptions {
  /** Ends the connection when no byte moved in either direction for so long; 0 = never. */
  readonly idleTimeoutMs: number;
  /** The same once one direction has ended. */
  readonly halfClosedTimeoutMs: number;
  /** Longest time to connect to the application; absent where it connected to us. */
  readonly connectTimeoutMs?: number;
}

export interface RelayCounts {
  /** Application bytes sent into the tunnel. */
  readonly bytesToPeer: number;
  /** Application bytes that came out of it. */
  readonly bytesFromPeer: number;
}

export class Relay implements DataHandler {
  readonly #tls: TlsConnection;
  readonly #plain: Socket;
  readonly #options: RelayOptions;
  #bytesToPeer = 0;
  #bytesFromPeer = 0;
  #plainReady: boolean;
  #plainCongested = false;
  #connectTimer: NodeJS.Timeout | undefined;

  /**
   * Starts at once. `openPlain` makes the application's socket: by dialling, or
   * from a connection that it made to us. Call `tlsEnded` when the TLS
   * connection is over.
   */
  constructor(tls: TlsConnection, openPlain: (onChunk: ChunkHandler) => Socket, options: RelayOptions) {
    this.#tls = tls;
    this.#options = options;
    const plain = openPlain((storage, length) => this.#onPlainChunk(storage, length));
    this.#plain = plain;
    this.#plainReady = !plain.connecting;
    plain.on('end', () => this.#onPlainEnd());
    plain.on('error', (error) => this.#onPlainError(error));
    plain.once('close', () => clearTimeout(this.#connectTimer));
    if (plain.connecting) this.#awaitConnect(options.connectTimeoutMs ?? 0);
    tls.setDataHandler(this);
    tls.setIdleTimeout(options.idleTimeoutMs);
  }

  get counts(): RelayCounts {
    return { bytesToPeer: this.#bytesToPeer, bytesFromPeer: this.#bytesFromPeer };
  }

  plaintext(bytes: Uint8Array, release: (() => void) | undefined): void {
    const plain = this.#plain;
    if (plain.destroyed || plain.writableEnded) {
      release?.();
      return;
    }
    this.#bytesFromPeer += bytes.length;
    plain.write(bytes, () => {
      release?.();
      if (!this.#plainCongested || plain.writableLength > RELIEVED_BYTES) return;
      this.#plainCongested = false;
      this.#tls.resumeReading();
    });
    if (plain.writableLength > CONGESTED_BYTES && !this.#plainCongested) {
      this.#plainCongested = true;
      this.#tls.pauseReading();
    }
  }

  readEnded(): void {
    this.#plain.end();
    this.#tls.setIdleTimeout(this.#options.halfClosedTimeoutMs);
  }

  relieved(): void {
    if (!this.#plain.destroyed) this.#plain.resume();
  }

  idle(): void {
    this.#tls.close(new ProxyError(ProxyErrorCode.idleTimeout, 'no byte in either direction within the idle limit'));
  }

  /** The TLS connection is over. An application whose stream was cut short sees a reset, not an end. */
  tlsEnded(failure: Error | undefined): void {
    clearTimeout(this.#connectTimer);
    if (this.#plain.destroyed) return;
    if (failure === undefined || isOrderly(failure)) this.#plain.end();
    else resetSocket(this.#plain);
    // Whatever the application still sends has nowhere to go.
    if (!this.#plain.destroyed) this.#plain.destroySoon();
  }

  #onPlainChunk(storage: Uint8Array, length: number): boolean {
    this.#bytesToPeer += length;
    this.#tls.sendInPlace(storage, length);
    return !this.#tls.congested;
  }

  #onPlainEnd(): void {
    this.#tls.closeWrite();
    if (this.#tls.state === 'open') this.#tls.setIdleTimeout(this.#options.halfClosedTimeoutMs);
  }

  #onPlainError(error: Error): void {
    if (this.#plainReady) {
      const failure = new ProxyError(
        ProxyErrorCode.applicationReset,
        `connection to the application lost: ${errorText(error)}`,
        { cause: error },
      );
      this.#tls.abort(Alert.internalError, failure);
    } else {
      this.#backendDown(errorText(error), error);
    }
  }

  #awaitConnect(timeoutMs: number): void {
    if (timeoutMs > 0) {
      this.#connectTimer = setTimeout(() => {
        this.#backendDown(`no connection within ${timeoutMs} ms`);
        this.#plain.destroy();
      }, timeoutMs);
    }
    this.#plain.once('connect', () => {
      clearTimeout(this.#connectTimer);
      this.#plainReady = true;
    });
  }

  /** Nothing was delivered and nothing will be: to the peer this is an orderly end. */
  #backendDown(what: string, cause?: Error): void {
    const failure = new ProxyError(
      ProxyErrorCode.backendConnect,
      `no connection to the application: ${what}`,
      cause === undefined ? {} : { cause },
    );
    this.#tls.close(failure);
  }
}

function isOrderly(failure: Error): boolean {
  return failure instanceof ProxyError && failure.code === ProxyErrorCode.idleTimeout;
}
