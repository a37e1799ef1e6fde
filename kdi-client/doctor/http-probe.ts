/** Requests to a KME over HTTPS with all that can be told about the reply. One connection, kept as long as the KME keeps it. */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { SecureVersion } from 'node:tls';
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import { connectionError } from '../kme-tls.ts';
import { parseStrictJson } from '../wire/index.ts';
import { type KmeEnd, StoppedError } from './kme-end.ts';
import { explained } from './probe-connection.ts';

/** Longest body that is read. A reply to what the doctor asks has a few KiB. */
const MAX_BODY_BYTES = 0x4_0000;

export interface ProbeCall {
  readonly method?: 'GET' | 'POST';
  /** Below the base path, query included. */
  readonly path: string;
  readonly body?: unknown;
  /** For the human who waits. */
  readonly what: string;
}

export interface ProbeReply {
  readonly status: number;
  /** Undefined: no body, or none that is JSON. May hold a key: never to be shown. */
  readonly json: unknown;
  /** Why there is a body and no JSON. */
  readonly bodyProblem?: string;
  readonly contentType: string;
  /** From the request to the last byte, without connecting. */
  readonly ms: number;
  /** On the examination's clock. */
  readonly sentAtMs: number;
}

export class HttpProbe {
  readonly end: KmeEnd;
  readonly #agent: Agent;
  readonly #maxVersion: SecureVersion | undefined;

  constructor(end: KmeEnd, maxVersion?: SecureVersion) {
    this.end = end;
    this.#maxVersion = maxVersion;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
    // Node's types know the form with a callback for its own use only.
    const agent = this.#agent as { createConnection: unknown };
    agent.createConnection = (_options: unknown, done: (error: Error | null, socket?: Socket) => void) => {
      this.end.connect(this.#maxVersion).then(
        (socket) => done(null, socket),
        (error) => done(error),
      );
    };
  }

  /** The reply, whatever its status. Rejects with a `KdiError`, or with `StoppedError` if a check has said why. */
  async call(call: ProbeCall): Promise<ProbeReply> {
    const { exam } = this.end;
    exam.waitingFor(`the reply to ${call.what} from ${this.end.name}`);
    try {
      return await this.#send(call);
    } catch (error) {
      // The KME ended the connection that was kept, just when it was used again.
      if (!(error instanceof KeptConnectionError)) throw error;
      return await this.#send(call);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #send({ method = 'GET', path, body, what }: ProbeCall): Promise<ProbeReply> {
    const { exam, name, options } = this.end;
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      let sentAtMs = exam.clock.now();
      const outgoing = httpRequest({
        agent: this.#agent,
        host: options.address.host,
        port: options.address.port,
        method,
        path: options.address.basePath + path,
        headers: {
          accept: 'application/json',
          ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': byteLength(text) }),
        },
      });
      let settled = false;
      let connected = false;
      const settle = (): boolean => {
        if (settled) return false;
        settled = true;
        cancel();
        exam.signal.removeEventListener('abort', onTimeout);
        return true;
      };
      const fail = (error: Error): void => {
        if (!settle()) return;
        outgoing.destroy();
        reject(error);
      };
      const onTimeout = (): void =>
        fail(
          new KdiError(
            KdiErrorCode.timeout,
            `KME ${name} did not answer ${what} in ${waitMs} ms: it hangs, or is no KME; compare host and port of the URL`,
          ),
        );
      const waitMs = Math.round(Math.min(exam.limits.replyMs, exam.remainingMs));
      // Connecting has a deadline of its own.
      let cancel = (): void => {};
      exam.signal.addEventListener('abort', onTimeout);
      outgoing.once('socket', () => {
        connected = true;
        sentAtMs = exam.clock.now();
        cancel = exam.clock.schedule(onTimeout, waitMs);
      });
      outgoing.on('error', (error) => {
        const reset = outgoing.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        fail(reset ? new KeptConnectionError() : replyError(error, this.end, connected ? 'connected' : 'unconnected'));
      });
      outgoing.on('response', (incoming) => {
        readBody(incoming).then(
          (bytes) => {
            const contentType = incoming.headers['content-type'] ?? '';
            const ms = exam.clock.now() - sentAtMs;
            const reply = { status: incoming.statusCode ?? 0, contentType, ms, sentAtMs, ...parseBody(bytes) };
            if (settle()) resolve(reply);
          },
          (error) => fail(replyError(error, this.end, 'begun')),
        );
      });
      outgoing.end(text);
    });
  }
}

class KeptConnectionError extends Error {
  override readonly name = 'KeptConnectionError';
}

async function readBody(incoming: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of incoming as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_BODY_BYTES) {
      throw new KdiError(
        KdiErrorCode.malformed,
        `a reply of more than ${MAX_BODY_BYTES} bytes, which nobody asked for`,
      );
    }
    parts.push(part);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
    part.fill(0);
  }
  return whole;
}

function parseBody(bytes: Uint8Array): Pick<ProbeReply, 'json' | 'bodyProblem'> {
  try {
    return { json: bytes.length === 0 ? undefined : parseStrictJson(bytes) };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { json: undefined, bodyProblem: error.message };
  } finally {
    bytes.fill(0);
  }
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** `phase`: how far it had come. */
function replyError(error: Error, end: KmeEnd, phase: 'unconnected' | 'connected' | 'begun'): Error {
  if (isKdiError(error) || error instanceof StoppedError) return error;
  const { name: kme, options } = end;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code.startsWith('HPE_')) {
    return new KdiError(
      KdiErrorCode.malformed,
      `KME ${kme} does not answer in HTTP (${code}): compare host and port of the URL; a port of GS QKD 004 is etsi004://`,
    );
  }
  const told = connectionError(error, kme, phase === 'unconnected' ? 'handshake' : 'replying');
  const silent = phase !== 'begun' && (code === 'ECONNRESET' || code === 'EPIPE');
  return silent
    ? new KdiError(
        KdiErrorCode.closed,
        `KME ${kme} closed the connection without an answer: it does not admit our certificate, or does not speak HTTP here (a port of GS QKD 004 is etsi004://)`,
        { cause: error },
      )
    : explained(told, error, options);
}
