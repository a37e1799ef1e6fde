/**
 * HTTPS to a key manager: bounded, with one deadline per call, no redirects.
 * Replies are JSON; whatever held key bytes is overwritten once parsed, except
 * the strings that JSON.parse makes, which only the garbage collector can end.
 */

import { createRequire } from 'node:module';
import type { Dispatcher, Pool } from 'undici';
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import type { CallOptions } from '../key-source.ts';
import { connectionError, type KmeTls, type PskTls } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import { parseStrictJson } from '../wire/index.ts';
import { KmeConnector } from './kme-connector.ts';

/** Longest reply body by default, of any call. */
export const MAX_REPLY_BODY_BYTES = 0x40_0000;
/** Longest body of a reply without keys, and of one with a single key. */
export const SMALL_REPLY_BODY_BYTES = 0x1_0000;

export interface KmeHttpOptions {
  readonly address: KmeAddress;
  readonly tls: KmeTls | PskTls;
  readonly clock: Clock;
  readonly connectTimeoutMs?: number;
  /** For a whole call, connecting included. */
  readonly callTimeoutMs?: number;
  readonly maxBodyBytes?: number;
  /** Connections kept to the KME. */
  readonly connections?: number;
}

export interface HttpCall extends CallOptions {
  readonly method: 'GET' | 'POST';
  /** Below the base path of the KME's URL, query included; starts with `/`. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Longest reply that makes sense for this call; never above the client's own bound. */
  readonly maxReplyBytes?: number;
}

export interface HttpReply {
  readonly status: number;
  /** The parsed body; undefined if there was none, or, with an error status, none that is JSON. */
  readonly json: unknown;
}

const ACCEPT_JSON = { accept: 'application/json' };
const ACCEPT_AND_SEND_JSON = { ...ACCEPT_JSON, 'content-type': 'application/json' };

/**
 * undici, loaded with the first client: that takes as long as a quarter of all other modules of the program, most of
 * whose commands have no use for it. At once, not by `import()`, so that no call waits for it.
 */
const loadUndici = (): typeof import('undici') => createRequire(import.meta.url)('undici');

export class KmeHttp {
  readonly kme: string;
  readonly #options: KmeHttpOptions;
  readonly #connector: KmeConnector;
  readonly #undici = loadUndici();
  readonly #pool: Pool;
  readonly #active = new Set<Exchange>();
  #closed = false;

  constructor(options: KmeHttpOptions) {
    const { address, tls, clock, connectTimeoutMs = 5_000, maxBodyBytes = MAX_REPLY_BODY_BYTES } = options;
    this.#options = options;
    this.kme = address.name;
    this.#connector = new KmeConnector({ address, tls, clock, connectTimeoutMs });
    this.#pool = new this.#undici.Pool(`https://${address.name}`, {
      connect: this.#connector.connect,
      connections: options.connections ?? 4,
      pipelining: 1,
      maxResponseSize: maxBodyBytes,
      // The call's own deadline covers these.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** The reply, whatever its status. Rejects with a `KdiError` when there is none that can be read. */
  async call({ method, path, body, signal, maxReplyBytes = SMALL_REPLY_BODY_BYTES }: HttpCall): Promise<HttpReply> {
    if (this.#closed) throw new KdiError(KdiErrorCode.aborted, `the client of KME ${this.kme} is closed`);
    if (signal?.aborted) throw this.#givenUp();
    const { clock, callTimeoutMs = 10_000, address, maxBodyBytes = MAX_REPLY_BODY_BYTES } = this.#options;
    const exchange = new Exchange(Math.min(maxReplyBytes, maxBodyBytes), this.#undici.errors);
    const giveUp = (): void => exchange.giveUp(this.#givenUp());
    const cancelDeadline = clock.schedule(() => {
      exchange.giveUp(new KdiError(KdiErrorCode.timeout, `KME ${this.kme} took longer than ${callTimeoutMs} ms`));
    }, callTimeoutMs);
    signal?.addEventListener('abort', giveUp);
    this.#active.add(exchange);
    try {
      this.#pool.dispatch(
        {
          path: address.basePath + path,
          method,
          headers: body === undefined ? ACCEPT_JSON : ACCEPT_AND_SEND_JSON,
          body: body === undefined ? null : JSON.stringify(body),
        },
        exchange,
      );
      const { status, bytes } = await exchange.reply;
      return { status, json: this.#parse(bytes, status) };
    } catch (error) {
      throw this.#translate(error, exchange.begun);
    } finally {
      cancelDeadline();
      signal?.removeEventListener('abort', giveUp);
      this.#active.delete(exchange);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const exchange of [...this.#active]) exchange.giveUp(this.#givenUp());
    this.#connector.close();
    await this.#pool.destroy();
  }

  #givenUp(): KdiError {
    return new KdiError(KdiErrorCode.aborted, `the call to KME ${this.kme} was given up`);
  }

  #parse(bytes: Buffer, status: number): unknown {
    try {
      return bytes.length === 0 ? undefined : parseStrictJson(bytes);
    } catch (cause) {
      // Proxies in between answer errors with HTML.
      if (status >= 300) return undefined;
      const reason = cause instanceof DecodeError ? cause.message : 'not JSON';
      throw new KdiError(KdiErrorCode.malformed, `KME ${this.kme} answered with a body that is refused: ${reason}`, {
        cause,
        httpStatus: status,
      });
    } finally {
      bytes.fill(0);
    }
  }

  #translate(error: unknown, begun: boolean): KdiError {
    if (error instanceof KdiError) return error;
    const { errors } = this.#undici;
    const malformed = (what: string): KdiError =>
      new KdiError(KdiErrorCode.malformed, `KME ${this.kme} ${what}`, { cause: error });
    if (error instanceof errors.ResponseExceededMaxSizeError || error instanceof errors.HeadersOverflowError) {
      return malformed('sent a longer reply than is allowed');
    }
    if (error instanceof errors.HTTPParserError || error instanceof errors.ResponseContentLengthMismatchError) {
      return malformed('does not answer in HTTP');
    }
    // How connecting failed is said by the connector.
    return connectionError(error, this.kme, begun ? 'replying' : 'unanswered');
  }
}

/**
 * One request and its reply, as undici tells of it: without the stream, the
 * signal and the iterator of its `request`, which cost more than the rest of a
 * call for a single key.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly reply: Promise<{ readonly status: number; readonly bytes: Buffer }>;
  readonly #maxBytes: number;
  readonly #errors: typeof import('undici').errors;
  #resolve!: (reply: { readonly status: number; readonly bytes: Buffer }) => void;
  #reject!: (error: unknown) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #givenUp: Error | undefined;
  #status = 0;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(maxBytes: number, errors: typeof import('undici').errors) {
    this.#maxBytes = maxBytes;
    this.#errors = errors;
    this.reply = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Whether something of a reply has come. */
  get begun(): boolean {
    return this.#status !== 0;
  }

  /** `reply` rejects with `error`, unless it is there already; a request that waits for its connection is not sent. */
  giveUp(error: Error): void {
    this.#givenUp ??= error;
    this.#reject(error);
    this.#controller?.abort(error);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#givenUp === undefined) this.#controller = controller;
    else controller.abort(this.#givenUp);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    // Of an informational one (1xx) nothing is kept: the next one counts.
    this.#status = status;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length > this.#maxBytes) controller.abort(new this.#errors.ResponseExceededMaxSizeError());
  }

  onResponseEnd(): void {
    const [only] = this.#chunks;
    const bytes = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
    if (bytes !== only) this.#wipe();
    this.#resolve({ status: this.#status, bytes });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#wipe();
    this.#reject(error);
  }

  /** Of a reply that nobody will read. */
  #wipe(): void {
    for (const chunk of this.#chunks) chunk.fill(0);
    this.#chunks = [];
  }
}
