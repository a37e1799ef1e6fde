/**
 * HTTPS to a key manager: bounded, with one deadline per call, no redirects.
 * Replies are JSON; whatever held key bytes is overwritten once parsed, except
 * the strings that JSON.parse makes, which only the garbage collector can end.
 */

import { Agent, errors as undiciErrors } from 'undici';
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

export class KmeHttp {
  readonly kme: string;
  readonly #options: KmeHttpOptions;
  readonly #connector: KmeConnector;
  readonly #agent: Agent;
  readonly #origin: string;
  readonly #active = new Set<() => void>();
  #closed = false;

  constructor(options: KmeHttpOptions) {
    const { address, tls, clock, connectTimeoutMs = 5_000, maxBodyBytes = MAX_REPLY_BODY_BYTES } = options;
    this.#options = options;
    this.kme = address.name;
    this.#origin = `https://${address.name}`;
    this.#connector = new KmeConnector({ address, tls, clock, connectTimeoutMs });
    this.#agent = new Agent({
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
    if (signal?.aborted) throw new KdiError(KdiErrorCode.aborted, `the call to KME ${this.kme} was given up`);
    const { clock, callTimeoutMs = 10_000, address } = this.#options;
    const abort = new AbortController();
    const give = (code: KdiErrorCode, message: string) => (): void => abort.abort(new KdiError(code, message));
    const giveUp = give(KdiErrorCode.aborted, `the call to KME ${this.kme} was given up`);
    const cancelDeadline = clock.schedule(
      give(KdiErrorCode.timeout, `KME ${this.kme} took longer than ${callTimeoutMs} ms`),
      callTimeoutMs,
    );
    signal?.addEventListener('abort', giveUp);
    this.#active.add(giveUp);
    try {
      const reply = await this.#agent.request({
        origin: this.#origin,
        path: address.basePath + path,
        method,
        headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        body: body === undefined ? null : JSON.stringify(body),
        signal: abort.signal,
      });
      const maxBytes = Math.min(maxReplyBytes, this.#options.maxBodyBytes ?? MAX_REPLY_BODY_BYTES);
      const bytes = await readAll(reply.body, maxBytes);
      return { status: reply.statusCode, json: this.#parse(bytes, reply.statusCode) };
    } catch (error) {
      throw this.#translate(abort.signal.aborted ? abort.signal.reason : error);
    } finally {
      cancelDeadline();
      signal?.removeEventListener('abort', giveUp);
      this.#active.delete(giveUp);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const giveUp of [...this.#active]) giveUp();
    this.#connector.close();
    await this.#agent.destroy();
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

  #translate(error: unknown): KdiError {
    if (error instanceof KdiError) return error;
    const malformed = (what: string): KdiError =>
      new KdiError(KdiErrorCode.malformed, `KME ${this.kme} ${what}`, { cause: error });
    if (
      error instanceof undiciErrors.ResponseExceededMaxSizeError ||
      error instanceof undiciErrors.HeadersOverflowError
    ) {
      return malformed('sent a longer reply than is allowed');
    }
    if (
      error instanceof undiciErrors.HTTPParserError ||
      error instanceof undiciErrors.ResponseContentLengthMismatchError
    ) {
      return malformed('does not answer in HTTP');
    }
    // How connecting failed is said by the connector.
    return connectionError(error, this.kme, 'replying');
  }
}

async function readAll(body: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maxBytes) throw new undiciErrors.ResponseExceededMaxSizeError();
  }
  const whole = Buffer.concat(chunks);
  for (const chunk of chunks) chunk.fill(0);
  return whole;
}
