/**
 * A 004 key manager (dialect `etsi`) that answers rightly until it is told to
 * fail in one way, once or for good. Both ends of a link are two of these with
 * the same `keyAt`. For tests of whatever stands on `Etsi004Source`.
 */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  decodeRequest,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Splitter,
  Etsi004Status,
  encodeResponse,
  isNullKsid,
} from '../../kdi-client/wire/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { type ScriptedKme, scriptedKme } from './support/scripted-kme.ts';
import type { TestPki } from './support/test-pki.ts';

export type KmeFault =
  /** No reply, connection kept. */
  | { readonly fault: 'hang' }
  /** The connection is reset after this many bytes of the reply. */
  | { readonly fault: 'reset'; readonly afterBytes: number }
  /** These bytes instead of a reply. */
  | { readonly fault: 'garbage'; readonly bytes: Uint8Array }
  /** This status, in the short form. */
  | { readonly fault: 'status'; readonly status: number }
  /** The chunk of index 0 again, under that index. */
  | { readonly fault: 'repeat-index' }
  /** Other bits than the other side has. */
  | { readonly fault: 'other-bits' }
  /** A reply that never ends: header of a huge payload, then bytes for ever. */
  | { readonly fault: 'endless' };

export interface FaultyKme extends ScriptedKme {
  /** Applies to GET_KEY, or to all calls, until it is cleared. */
  fail(fault: KmeFault | undefined, calls?: 'get-key' | 'all'): void;
  /** As after a restart without memory: no stream is known. */
  forget(): void;
  /** Streams open now. */
  readonly streams: number;
  /** GET_KEYs that were answered with a key. */
  readonly delivered: number;
}

export async function faultyKme(pki: TestPki, keyAt: (ksid: string, index: number) => Uint8Array): Promise<FaultyKme> {
  const streams = new Set<string>();
  let current: KmeFault | undefined;
  let failing: 'get-key' | 'all' = 'get-key';
  let delivered = 0;

  function answer(request: Etsi004Request): Etsi004Response {
    switch (request.service) {
      case 'open-connect': {
        const ksid = isNullKsid(request.ksid)
          ? Uint8Array.from(Buffer.from(randomUUID().replaceAll('-', ''), 'hex'))
          : Uint8Array.from(request.ksid);
        streams.add(hexOf(ksid));
        return {
          service: 'open-connect',
          status: Etsi004Status.success,
          stream: { qos: { ...request.qos, keyChunkSizeBytes: 32 }, ksid },
        };
      }
      case 'get-key': {
        const ksid = hexOf(request.ksid);
        if (!streams.has(ksid)) return { service: 'get-key', status: Etsi004Status.noQkdConnection };
        const index = current?.fault === 'repeat-index' ? 0 : request.index;
        const key = Uint8Array.from(keyAt(ksid, index));
        if (current?.fault === 'other-bits') key[0] = (key[0] as number) ^ 1;
        delivered++;
        return {
          service: 'get-key',
          status: Etsi004Status.success,
          delivery: { index, key, metadata: new Uint8Array() },
        };
      }
      case 'close':
        return {
          service: 'close',
          status: streams.delete(hexOf(request.ksid)) ? Etsi004Status.success : Etsi004Status.noQkdConnection,
        };
    }
  }

  function serve(socket: Socket, request: Etsi004Request): void {
    const fault = failing === 'all' || request.service === 'get-key' ? current : undefined;
    switch (fault?.fault) {
      case 'hang':
        return;
      case 'garbage':
        socket.end(fault.bytes);
        return;
      case 'status':
        socket.end(
          encodeResponse('qubip', { service: request.service, status: fault.status } as Etsi004Response)
            .with(0, 2)
            .with(1, 1),
        );
        return;
      case 'reset':
        socket.write(encodeResponse('etsi', answer(request)).subarray(0, fault.afterBytes), () => socket.destroy());
        return;
      case 'endless':
        socket.write(Uint8Array.of(2, 1, 1, 5, 0, 0x10, 0, 0));
        pour(socket);
        return;
      default:
        socket.end(encodeResponse('etsi', answer(request)));
    }
  }

  const kme = await scriptedKme(pki, (socket) => {
    const splitter = new Etsi004Splitter('requests');
    socket.on('data', (chunk: Buffer) => {
      for (const frame of splitter.push(chunk)) serve(socket, decodeRequest(frame));
    });
  });
  return Object.defineProperties(kme as FaultyKme, {
    fail: {
      value: (fault: KmeFault | undefined, calls: 'get-key' | 'all' = 'get-key') => {
        current = fault;
        failing = calls;
      },
    },
    forget: { value: () => streams.clear() },
    streams: { get: () => streams.size },
    delivered: { get: () => delivered },
  });
}

function pour(socket: Socket): void {
  const block = new Uint8Array(0x1_0000);
  const more = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', more);
  more();
}
