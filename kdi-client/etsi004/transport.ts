/**
 * 004 requests and their replies. In dialect `etsi` each has a connection of
 * its own, which the server closes; in `qubip` connections are kept and used
 * again. TLS sessions are resumed, which more than doubles the rate of the former.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { type KmeTls, tlsConnectionOptions } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import {
  decodeResponse,
  type Etsi004Dialect,
  type Etsi004Frame,
  type Etsi004Request,
  type Etsi004Response,
  encodeRequest,
  MAX_RESPONSE_PAYLOAD_BYTES,
} from '../wire/index.ts';
import { abortedError, ConnectionNotKeptError, Etsi004Connection } from './connection.ts';

export interface Etsi004TransportOptions {
  readonly address: KmeAddress;
  /** Absent: plain TCP, which hands every key to whoever listens on the wire. */
  readonly tls: KmeTls | undefined;
  readonly clock: Clock;
  /** Until TCP and TLS stand. */
  readonly connectTimeoutMs: number;
  readonly maxReplyBytes?: number;
  /**
   * Dialect `qubip` only: how long an idle connection is kept (0: one per
   * request). Shorter than a server's own patience, so that it's hardly ever
   * the server who closes.
   */
  readonly keepConnectionMs?: number;
}

/** A decoded reply; `wipe` erases the payload that its key is a view of. */
export interface Etsi004Reply<R extends Etsi004Response> {
  readonly response: R;
  /** The request was sent a second time, on a fresh connection: the KME may have carried it out twice. */
  readonly resent: boolean;
  wipe(): void;
}

type ReplyTo<Q extends Etsi004Request> = Extract<Etsi004Response, { service: Q['service'] }>;

/** Idle connections kept at most: a drawer has one call at a time, an answerer one per stream. */
const MAX_IDLE_CONNECTIONS = 4;
/** A server that ends so many kept connections in a row before they are used again keeps none: so do we. */
const MAX_KEPT_IN_VAIN = 3;
const DEFAULT_KEEP_CONNECTION_MS = 5_000;

export class Etsi004Transport {
  readonly kme: string;
  readonly dialect: Etsi004Dialect;
  readonly #options: Etsi004TransportOptions;
  readonly #keepConnectionMs: number;
  readonly #connections = new Set<Etsi004Connection>();
  /** The one used last is used next. */
  readonly #idle: Etsi004Connection[] = [];
  #keptInVain = 0;
  #secureContext: SecureContext | undefined;
  #session: Buffer | undefined;
  #closed = false;

  constructor(options: Etsi004TransportOptions) {
    this.#options = options;
    this.kme = options.address.name;
    this.dialect = options.address.dialect ?? 'etsi';
    this.#keepConnectionMs = this.dialect === 'qubip' ? (options.keepConnectionMs ?? DEFAULT_KEEP_CONNECTION_MS) : 0;
  }

  /**
   * Sends `request` and resolves with its reply, whatever its status. Rejects
   * with a `KdiError` when no well-formed reply came within `timeoutMs` of the
   * connection's standing, or when one of `signals` fires.
   */
  async request<Q extends Etsi004Request>(
    request: Q,
    timeoutMs: number,
    signals: readonly (AbortSignal | undefined)[] = [],
  ): Promise<Etsi004Reply<ReplyTo<Q>>> {
    if (this.#closed) throw this.#closedError();
    const given = signals.filter((signal) => signal !== undefined);
    if (given.some((signal) => signal.aborted)) throw abortedError(this.kme);
    const { connection, frame, resent } = await this.#exchange(encodeRequest(this.dialect, request), timeoutMs, given);
    const wipe = () => {
      frame.payload.fill(0);
    };
    try {
      const response = this.#decode(frame, request);
      this.#keepOrClose(connection);
      return { response, resent, wipe };
    } catch (error) {
      connection.close();
      wipe();
      throw this.#malformed(error);
    }
  }

  /** Ends calls in flight with `ERR_KDI_ABORTED`; later ones are refused. */
  close(): void {
    this.#closed = true;
    this.#session = undefined;
    for (const connection of [...this.#connections]) connection.close(this.#closedError());
  }

  async #exchange(
    request: Uint8Array,
    timeoutMs: number,
    signals: readonly AbortSignal[],
  ): Promise<{ connection: Etsi004Connection; frame: Etsi004Frame; resent: boolean }> {
    const { clock } = this.#options;
    const deadlineMs = clock.now() + timeoutMs;
    const kept = this.#idle.pop();
    if (kept !== undefined) {
      try {
        const frame = await kept.exchange(request, timeoutMs, signals);
        this.#keptInVain = 0;
        return { connection: kept, frame, resent: false };
      } catch (error) {
        if (!(error instanceof ConnectionNotKeptError) || this.#closed) throw error;
        this.#keptInVain++;
      }
    }
    const connection = this.#connect();
    const leftMs = Math.max(0, deadlineMs - clock.now());
    return { connection, frame: await connection.exchange(request, leftMs, signals), resent: kept !== undefined };
  }

  #decode<Q extends Etsi004Request>(frame: Etsi004Frame, request: Q): ReplyTo<Q> {
    if (frame.dialect !== this.dialect) {
      throw new KdiError(
        KdiErrorCode.dialect,
        `KME ${this.kme} speaks 004 dialect ${frame.dialect}: write ?dialect=${frame.dialect} in its URL`,
      );
    }
    const response = decodeResponse(frame);
    if (response.service !== request.service) throw new DecodeError(`a reply to ${response.service}`);
    return response as ReplyTo<Q>;
  }

  #keepOrClose(connection: Etsi004Connection): void {
    const keeps = this.#keepConnectionMs > 0 && this.#keptInVain < MAX_KEPT_IN_VAIN;
    if (!keeps || !connection.idle || this.#idle.length >= MAX_IDLE_CONNECTIONS) {
      connection.close();
      return;
    }
    connection.keepFor(this.#keepConnectionMs);
    this.#idle.push(connection);
  }

  #connect(): Etsi004Connection {
    let socket: Socket;
    try {
      socket = this.#open();
    } catch (error) {
      throw new KdiError(KdiErrorCode.config, `unusable certificate or key for KME ${this.kme}`, { cause: error });
    }
    const { clock, connectTimeoutMs, maxReplyBytes = MAX_RESPONSE_PAYLOAD_BYTES, tls } = this.#options;
    const connection = new Etsi004Connection(socket, {
      kme: this.kme,
      clock,
      connectTimeoutMs,
      maxReplyBytes,
      secured: tls !== undefined,
      onBroken: () => {
        // A server that lost its session keys, or changed certificates, must not fail us twice.
        this.#session = undefined;
      },
      onGone: (gone, byPeer) => {
        this.#connections.delete(gone);
        const at = this.#idle.indexOf(gone);
        if (at < 0) return;
        this.#idle.splice(at, 1);
        if (byPeer) this.#keptInVain++;
      },
    });
    this.#connections.add(connection);
    return connection;
  }

  #open(): Socket {
    const { address, tls } = this.#options;
    if (tls === undefined) return connectTcp({ host: address.host, port: address.port, noDelay: true });
    const options = tlsConnectionOptions(tls, address.host);
    this.#secureContext ??= createSecureContext(options);
    const socket = connectTls({
      ...options,
      host: address.host,
      port: address.port,
      secureContext: this.#secureContext,
      ...(this.#session === undefined ? {} : { session: this.#session }),
    });
    socket.on('session', (session: Buffer) => {
      this.#session = session;
    });
    return socket.setNoDelay(true);
  }

  #malformed(error: unknown): KdiError {
    if (error instanceof KdiError) return error;
    return new KdiError(
      KdiErrorCode.malformed,
      `KME ${this.kme} sent what is no 004 reply of dialect ${this.dialect}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }

  #closedError(): KdiError {
    return new KdiError(KdiErrorCode.aborted, `the client of KME ${this.kme} is closed`);
  }
}
