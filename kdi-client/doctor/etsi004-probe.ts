/** One 004 request and its reply on a connection of its own, with all that the reply shows beside its meaning. */
import type { Socket } from 'node:net';
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { connectionError } from '../kme-tls.ts';
import {
  decodeResponse,
  ETSI004_HEADER_BYTES,
  type Etsi004Dialect,
  type Etsi004Frame,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Splitter,
  encodeRequest,
} from '../wire/index.ts';
import type { KmeEnd } from './kme-end.ts';
import { explained } from './probe-connection.ts';

type ReplyTo<Q extends Etsi004Request> = Extract<Etsi004Response, { service: Q['service'] }>;

export interface Etsi004ProbeReply<R extends Etsi004Response> {
  readonly response: R;
  /** From the request to the last byte, without connecting. */
  readonly ms: number;
  /** Erases the payload that the response's key is a view of. */
  wipe(): void;
}

const SERVICE_NAMES = { 'open-connect': 'OPEN_CONNECT', 'get-key': 'GET_KEY', close: 'CLOSE' } as const;

export class Etsi004Probe {
  readonly end: KmeEnd;
  readonly dialect: Etsi004Dialect;
  /** What the first reply showed of the dialect; undefined before it. */
  onDialect: ((seen: Etsi004Dialect) => void) | undefined;

  constructor(end: KmeEnd) {
    this.end = end;
    this.dialect = end.options.address.dialect ?? 'etsi';
  }

  /** Rejects with a `KdiError` when no reply came that can be read, or with `StoppedError` if a check has said why. */
  async call<Q extends Etsi004Request>(request: Q, waitMs?: number): Promise<Etsi004ProbeReply<ReplyTo<Q>>> {
    const { exam, name } = this.end;
    const what = SERVICE_NAMES[request.service];
    exam.waitingFor(`the reply to ${what} from ${name}`);
    const socket = await this.end.connect();
    const startedMs = exam.clock.now();
    const frame = await this.#exchange(socket, request, what, waitMs ?? exam.limits.replyMs);
    const ms = exam.clock.now() - startedMs;
    const wipe = (): void => {
      frame.payload.fill(0);
    };
    this.onDialect?.(frame.dialect);
    try {
      if (frame.dialect !== this.dialect) {
        throw new KdiError(
          KdiErrorCode.dialect,
          `KME ${name} answers in 004 dialect ${frame.dialect}, and the URL says ${this.dialect}`,
        );
      }
      const response = decodeResponse(frame);
      if (response.service !== request.service) {
        throw new DecodeError(`a reply to ${SERVICE_NAMES[response.service]} instead of ${what}`);
      }
      return { response: response as ReplyTo<Q>, ms, wipe };
    } catch (error) {
      wipe();
      if (!(error instanceof DecodeError)) throw error;
      throw new KdiError(
        KdiErrorCode.malformed,
        `KME ${name} answered ${what} with ${frame.payload.length} bytes that are no reply of dialect ${this.dialect}: ${error.message}; does it speak the other dialect under the same version?`,
        { cause: error },
      );
    }
  }

  #exchange(socket: Socket, request: Etsi004Request, what: string, waitMs: number): Promise<Etsi004Frame> {
    const { exam, name } = this.end;
    return new Promise((resolve, reject) => {
      const splitter = new Etsi004Splitter('responses');
      const head: number[] = [];
      let settled = false;
      const settle = (): boolean => {
        if (settled) return false;
        settled = true;
        cancel();
        exam.signal.removeEventListener('abort', onTimeout);
        socket.destroy();
        return true;
      };
      const fail = (error: KdiError): void => {
        splitter.wipe();
        if (settle()) reject(error);
      };
      const limitMs = Math.round(Math.min(waitMs, exam.remainingMs));
      const onTimeout = (): void =>
        fail(
          new KdiError(
            KdiErrorCode.timeout,
            `KME ${name} did not answer ${what} in ${limitMs} ms; it may wait for something, or speak another dialect than ${this.dialect} (?dialect= in its URL)`,
          ),
        );
      const cancel = exam.clock.schedule(onTimeout, limitMs);
      exam.signal.addEventListener('abort', onTimeout);
      socket.on('data', (chunk: Uint8Array) => {
        if (settled) return;
        for (let i = 0; i < chunk.length && head.length < ETSI004_HEADER_BYTES; i++) head.push(chunk[i] as number);
        try {
          const [frame] = splitter.push(chunk);
          if (frame !== undefined && settle()) resolve(frame);
        } catch (error) {
          fail(this.#notThisProtocol(head, what, error));
        } finally {
          chunk.fill(0);
        }
      });
      socket.on('error', (error) => fail(explained(connectionError(error, name, 'replying'), error, this.end.options)));
      socket.once('close', () =>
        fail(
          new KdiError(
            KdiErrorCode.closed,
            head.length > 0
              ? `KME ${name} closed the connection in the middle of its reply to ${what}`
              : `KME ${name} closed the connection without an answer to ${what}: ${this.#whyClosed()}`,
          ),
        ),
      );
      socket.write(encodeRequest(this.dialect, request));
    });
  }

  #whyClosed(): string {
    const reasons = [
      this.end.options.tls === undefined ? 'it wants TLS' : 'it does not admit our certificate',
      `speaks another dialect than ${this.dialect}`,
      'or speaks another protocol than 004',
    ];
    return reasons.join(', ');
  }

  /** The header shows only what is public: key comes later in a reply. */
  #notThisProtocol(head: readonly number[], what: string, error: unknown): KdiError {
    const { name } = this.end;
    const text = String.fromCharCode(...head.slice(0, 5));
    if (text === 'HTTP/') {
      return new KdiError(
        KdiErrorCode.malformed,
        `KME ${name} answers in HTTP: write etsi014:// (or skip://) instead of etsi004:// in its URL`,
      );
    }
    const version = head.slice(0, 3).join('.');
    if (version !== '2.1.1' && version !== '1.0.1') {
      return new KdiError(
        KdiErrorCode.malformed,
        `KME ${name} answered ${what} with version ${version} of the binary protocol; 2.1.1 (dialect etsi) and 1.0.1 (dialect qubip) are spoken here; compare host and port of the URL`,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    return new KdiError(
      KdiErrorCode.malformed,
      `KME ${name} answered ${what} with what is no 004 reply (${reason}): is it a KME? compare host and port of the URL`,
    );
  }
}
