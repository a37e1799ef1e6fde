/**
 * One 004 request and its reply over a connection of its own: what both
 * dialects accept. TLS sessions are resumed, which more than doubles the rate.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import type { Cancel, Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import type { CallOptions } from '../key-source.ts';
import { connectionError, type KmeTls, tlsConnectionOptions } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import {
  decodeResponse,
  type Etsi004Dialect,
  type Etsi004Frame,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Splitter,
  encodeRequest,
  MAX_RESPONSE_PAYLOAD_BYTES,
} from '../wire/index.ts';

export interface Etsi004TransportOptions {
  readonly address: KmeAddress;
  /** Absent: plain TCP, which hands every key to whoever listens on the wire. */
  readonly tls: KmeTls | undefined;
  readonly clock: Clock;
  /** Until TCP and TLS stand. */
  readonly connectTimeoutMs: number;
  readonly maxReplyBytes?: number;
}

/** A decoded reply; `wipe` erases the payload that its key is a view of. */
export interface Etsi004Reply<R extends Etsi004Response> {
  readonly response: R;
  wipe(): void;
}

type ReplyTo<Q extends Etsi004Request> = Extract<Etsi004Response, { service: Q['service'] }>;

export class Etsi004Transport {
  readonly kme: string;
  readonly dialect: Etsi004Dialect;
  readonly #options: Etsi004TransportOptions;
  readonly #active = new Set<(error: KdiError) => void>();
  #secureContext: SecureContext | undefined;
  #session: Buffer | undefined;
  #closed = false;

  constructor(options: Etsi004TransportOptions) {
    this.#options = options;
    this.kme = options.address.name;
    this.dialect = options.address.dialect ?? 'etsi';
  }

  /**
   * Sends `request` and resolves with its reply, whatever its status. Rejects
   * with a `KdiError` when no well-formed reply came within `timeoutMs` of the
   * connection's standing, or when `signal` fires.
   */
  async request<Q extends Etsi004Request>(
    request: Q,
    timeoutMs: number,
    { signal }: CallOptions = {},
  ): Promise<Etsi004Reply<ReplyTo<Q>>> {
    if (this.#closed) throw this.#closedError();
    if (signal?.aborted) throw abortedError(this.kme);
    const frame = await this.#exchange(encodeRequest(this.dialect, request), timeoutMs, signal);
    const wipe = () => {
      frame.payload.fill(0);
    };
    try {
      if (frame.dialect !== this.dialect) {
        throw new KdiError(
          KdiErrorCode.dialect,
          `KME ${this.kme} speaks 004 dialect ${frame.dialect}: write ?dialect=${frame.dialect} in its URL`,
        );
      }
      const response = decodeResponse(frame);
      if (response.service !== request.service) throw new DecodeError(`a reply to ${response.service}`);
      return { response: response as ReplyTo<Q>, wipe };
    } catch (error) {
      wipe();
      throw this.#malformed(error);
    }
  }

  /** Ends calls in flight with `ERR_KDI_ABORTED`; later ones are refused. */
  close(): void {
    this.#closed = true;
    this.#session = undefined;
    for (const fail of [...this.#active]) fail(this.#closedError());
  }

  #exchange(request: Uint8Array, timeoutMs: number, signal: AbortSignal | undefined): Promise<Etsi004Frame> {
    return new Promise((resolve, reject) => {
      let socket: Socket;
      try {
        socket = this.#open();
      } catch (error) {
        reject(new KdiError(KdiErrorCode.config, `unusable certificate or key for KME ${this.kme}`, { cause: error }));
        return;
      }
      const { clock, connectTimeoutMs, maxReplyBytes = MAX_RESPONSE_PAYLOAD_BYTES } = this.#options;
      const splitter = new Etsi004Splitter('responses', maxReplyBytes);
      let phase: 'connecting' | 'handshake' | 'replying' = 'connecting';
      let settled = false;
      let replied = false;
      let cancelDeadline: Cancel = clock.schedule(
        () => fail(this.#timeoutError(phase === 'connecting' ? 'to accept the connection' : 'in the TLS handshake')),
        connectTimeoutMs,
      );
      const settle = (): boolean => {
        if (settled) return false;
        settled = true;
        cancelDeadline();
        signal?.removeEventListener('abort', onAbort);
        this.#active.delete(fail);
        socket.destroy();
        return true;
      };
      const fail = (error: KdiError): void => {
        splitter.wipe();
        if (settle()) reject(error);
      };
      const onAbort = (): void => fail(abortedError(this.kme));
      const onReady = (): void => {
        if (settled) return;
        phase = 'replying';
        cancelDeadline();
        cancelDeadline = clock.schedule(() => fail(this.#timeoutError('to reply')), timeoutMs);
        socket.write(request);
      };
      this.#active.add(fail);
      signal?.addEventListener('abort', onAbort);
      socket.once('connect', () => {
        if (phase === 'connecting') phase = 'handshake';
      });
      socket.once(this.#options.tls === undefined ? 'connect' : 'secureConnect', onReady);
      socket.on('session', (session: Buffer) => {
        this.#session = session;
      });
      socket.on('data', (chunk: Buffer) => {
        if (settled) return;
        replied = true;
        try {
          const [frame] = splitter.push(chunk);
          if (frame !== undefined && settle()) resolve(frame);
        } catch (error) {
          fail(this.#malformed(error));
        } finally {
          chunk.fill(0);
        }
      });
      socket.on('error', (error) => {
        // A server that lost its session keys, or changed certificates, must not fail us twice.
        this.#session = undefined;
        fail(connectionError(error, this.kme, phase));
      });
      socket.once('close', () => fail(this.#closedEarlyError(phase, replied)));
    });
  }

  #open(): Socket {
    const { address, tls } = this.#options;
    if (tls === undefined) return connectTcp({ host: address.host, port: address.port, noDelay: true });
    const options = tlsConnectionOptions(tls, address.host);
    this.#secureContext ??= createSecureContext(options);
    return connectTls({
      ...options,
      host: address.host,
      port: address.port,
      secureContext: this.#secureContext,
      ...(this.#session === undefined ? {} : { session: this.#session }),
    }).setNoDelay(true);
  }

  #malformed(error: unknown): KdiError {
    if (error instanceof KdiError) return error;
    return new KdiError(
      KdiErrorCode.malformed,
      `KME ${this.kme} sent what is no 004 reply of dialect ${this.dialect}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }

  #closedEarlyError(phase: 'connecting' | 'handshake' | 'replying', replied: boolean): KdiError {
    if (phase !== 'replying')
      return new KdiError(KdiErrorCode.closed, `KME ${this.kme} closed the connection before it stood`);
    // In TLS 1.3 a server judges our certificate after our side of the handshake is done.
    const hint = replied || this.#options.tls === undefined ? '' : ' without a word; does it admit our certificate?';
    return new KdiError(
      KdiErrorCode.closed,
      `KME ${this.kme} closed the connection before its reply was complete${hint}`,
    );
  }

  #timeoutError(doing: string): KdiError {
    return new KdiError(KdiErrorCode.timeout, `KME ${this.kme} took too long ${doing}`);
  }

  #closedError(): KdiError {
    return new KdiError(KdiErrorCode.aborted, `the client of KME ${this.kme} is closed`);
  }
}

function abortedError(kme: string): KdiError {
  return new KdiError(KdiErrorCode.aborted, `the call to KME ${kme} was given up`);
}
