/**
 * Connects undici to a key manager. One of our own, because undici's leaves a
 * connection that is still being made when the client closes, has a clock of
 * its own, and does not tell how far a connection had come when it failed.
 */
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { buildConnector } from 'undici';
import type { Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { connectionError, type KmeTls, type PskTls, tlsConnectionOptions } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';

export interface KmeConnectorOptions {
  readonly address: KmeAddress;
  readonly tls: KmeTls | PskTls;
  readonly clock: Clock;
  /** Until TCP and TLS stand. */
  readonly connectTimeoutMs: number;
}

/** A peer that vanished without a word is found out by the kernel. */
const KEEP_ALIVE_MS = 60_000;

export class KmeConnector {
  readonly #options: KmeConnectorOptions;
  readonly #sockets = new Set<TLSSocket>();
  #secureContext: SecureContext | undefined;
  #session: Buffer | undefined;

  constructor(options: KmeConnectorOptions) {
    this.#options = options;
  }

  /** What undici calls for a new connection. `callback` hears of the outcome once. */
  readonly connect = (_options: buildConnector.Options, callback: buildConnector.Callback): void => {
    const { address, clock, connectTimeoutMs } = this.#options;
    const kme = address.name;
    let socket: TLSSocket;
    try {
      socket = this.#open();
    } catch (error) {
      callback(new KdiError(KdiErrorCode.config, `unusable certificate or key for KME ${kme}`, { cause: error }), null);
      return;
    }
    let phase: 'connecting' | 'handshake' = 'connecting';
    let settled = false;
    const settle = (error?: KdiError): void => {
      if (settled) return;
      settled = true;
      cancelDeadline();
      if (error === undefined) callback(null, socket);
      else {
        socket.destroy();
        callback(error, null);
      }
    };
    const cancelDeadline = clock.schedule(() => {
      const doing = phase === 'connecting' ? 'to accept the connection' : 'in the TLS handshake';
      settle(new KdiError(KdiErrorCode.timeout, `KME ${kme} took too long ${doing}`));
    }, connectTimeoutMs);
    this.#sockets.add(socket);
    socket.once('connect', () => {
      phase = 'handshake';
    });
    socket.once('secureConnect', () => settle());
    socket.on('session', (session: Buffer) => {
      this.#session = session;
    });
    socket.on('error', (error) => {
      // A server that lost its session keys, or changed certificates, must not fail us twice. With errors of its own undici
      // ends connections that it needs no more, such as after `connection: close`.
      if (!isOfUndici(error)) this.#session = undefined;
      settle(connectionError(error, kme, phase));
    });
    socket.once('close', () => {
      this.#sockets.delete(socket);
      settle(new KdiError(KdiErrorCode.closed, `KME ${kme} closed the connection before it stood`));
    });
  };

  /** Ends every connection, also those that are still being made. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(): TLSSocket {
    const { address, tls } = this.#options;
    const options = tlsConnectionOptions(tls, address.host);
    this.#secureContext ??= createSecureContext(options);
    return connect({
      ...options,
      host: address.host,
      port: address.port,
      ALPNProtocols: ['http/1.1'],
      secureContext: this.#secureContext,
      ...(this.#session === undefined ? {} : { session: this.#session }),
    })
      .setNoDelay(true)
      .setKeepAlive(true, KEEP_ALIVE_MS);
  }
}

function isOfUndici(error: NodeJS.ErrnoException): boolean {
  return error.code?.startsWith('UND_ERR_') ?? false;
}
