import type { TLSSocket } from 'node:tls';
import {
  decodeRequest,
  type Etsi004Dialect,
  type Etsi004Frame,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Splitter,
  encodeResponse,
} from '../../kdi-client/wire/index.ts';
import type { Clock } from '../kernel/clock.ts';

/** Answers 004 requests of an authenticated application; see `KeyStreams.handle`. */
export type Etsi004Handler = (
  request: Etsi004Request,
  dialect: Etsi004Dialect,
  signal: AbortSignal,
) => Promise<Etsi004Response>;

export interface Etsi004ConnectionOptions {
  readonly clock: Clock;
  /** From the connection's start, or a reply, to the last byte of the next request; and for the client to take a reply. */
  readonly requestTimeoutMs: number;
  readonly handle: Etsi004Handler;
  /** Why a connection is being cut. */
  readonly onRejected: (reason: string) => void;
}

/** Requests that a client may send ahead of their replies. */
const MAX_PIPELINED_REQUESTS = 16;

/**
 * Serves 004 on one connection: one request in dialect `etsi`, any number, one
 * after the other, in `qubip`. A client that sends garbage, or too slowly, is
 * cut off; there is no status for that.
 */
export function serveEtsi004(socket: TLSSocket, options: Etsi004ConnectionOptions): void {
  const splitter = new Etsi004Splitter('requests');
  const gone = new AbortController();
  const queue: Etsi004Frame[] = [];
  let busy = false;
  let finished = false;
  let cancelDeadline = () => {};

  const cut = (reason: string) => {
    options.onRejected(reason);
    socket.destroy();
  };
  const expectProgress = (what: string) => {
    cancelDeadline();
    cancelDeadline = options.clock.setTimer(options.requestTimeoutMs, () => cut(`${what} took too long`));
  };

  // Reads on while a request is being answered: only so does it notice that the client has gone.
  socket.on('data', (bytes: Uint8Array) => {
    if (finished) return;
    try {
      queue.push(...splitter.push(bytes));
    } catch (error) {
      cut(error instanceof Error ? error.message : 'malformed');
      return;
    }
    if (queue.length > MAX_PIPELINED_REQUESTS) cut('too many requests ahead of their replies');
    else if (queue.length > 0 && !busy) void serveQueue();
  });
  // A client that closes its side has gone: these protocols know no half-close, and a key must not be wasted on it.
  socket.once('end', () => gone.abort());
  socket.once('close', () => {
    gone.abort();
    cancelDeadline();
    splitter.wipe();
    for (const frame of queue) frame.payload.fill(0);
  });
  expectProgress('the request');

  async function serveQueue(): Promise<void> {
    busy = true;
    for (let frame = queue.shift(); frame !== undefined && !socket.destroyed; frame = queue.shift()) {
      cancelDeadline();
      const reply = await answer(frame);
      if (reply === undefined || socket.destroyed) {
        reply?.fill(0);
        return;
      }
      expectProgress('taking the reply');
      await written(reply);
      if (frame.dialect === 'etsi') {
        finished = true;
        socket.end();
        return;
      }
      expectProgress('the next request');
    }
    busy = false;
  }

  async function answer({ dialect, service, payload }: Etsi004Frame): Promise<Uint8Array | undefined> {
    try {
      const request = decodeRequest({ dialect, service, payload });
      const response = await options.handle(request, dialect, gone.signal);
      const reply = encodeResponse(dialect, response);
      if (response.service === 'get-key') response.delivery?.key.fill(0);
      return reply;
    } catch (error) {
      cut(error instanceof Error ? error.message : 'malformed');
      return undefined;
    }
  }

  function written(reply: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      socket.write(reply, () => {
        reply.fill(0);
        resolve();
      });
    });
  }
}
