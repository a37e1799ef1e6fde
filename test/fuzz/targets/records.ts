/** The record layer and the reassembly of handshake messages, with keys that the input may seal under. */

import { HandshakeReassembler } from '../../../tls-ext/handshake/reassembler.ts';
import { BULK_BUFFER_BYTES, createBufferPool, RecordReader } from '../../../tls-ext/record/index.ts';
import { TlsError } from '../../../tls-ext/tls-error.ts';
import { innerOf, keysOf, plaintextRecord, sealRaw } from '../../tls-ext/record/record-fixtures.ts';
import { decodeProgram, encodeProgram, mutateProgram, operation } from '../program.ts';
import type { Outcome, Target } from '../target.ts';

const Kind = { raw: 0, plaintext: 1, content: 2, inner: 3, keys: 4, skip: 5, limit: 6, cut: 7 } as const;
const KINDS = 8;
const APPLICATION_DATA = 23;
const EPOCHS = 3;
const memory = createBufferPool(2);

function runReader(input: Uint8Array): Outcome {
  let out = 0;
  const pool = {
    acquire: () => {
      out++;
      return memory.acquire();
    },
    release: (buffer: Uint8Array) => {
      out--;
      memory.release(buffer);
    },
  };
  const reader = new RecordReader({ pool });
  let epoch = -1;
  let sequence = 0;
  let given = 0;
  let got = 0;
  let pieceBytes = 2 ** 16;
  const deliver = (bytes: Uint8Array) => {
    given += bytes.length;
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      reader.receive(bytes.slice(at, at + pieceBytes));
      for (let record = reader.next(); record !== undefined; record = reader.next()) {
        got += record.bytes.length;
        // Of application data alone, and of nobody's pool: the endpoint knows whether it may stand there.
        const mayBeEmpty = record.type === APPLICATION_DATA && record.release === undefined;
        if (record.bytes.length === 0 && !mayBeEmpty) throw new Error('an empty record came out');
        if (record.bytes.length > BULK_BUFFER_BYTES) throw new Error('more than a bulk buffer came out at once');
        record.release?.();
      }
    }
  };
  const seal = (inner: Uint8Array) => {
    if (epoch >= 0) deliver(sealRaw(epoch, sequence++, inner.subarray(0, 2 ** 14 + 256)));
  };
  let outcome: Outcome;
  try {
    for (const { kind, argument, payload } of decodeProgram(input)) {
      switch (kind % KINDS) {
        case Kind.raw:
          deliver(payload);
          break;
        case Kind.plaintext:
          deliver(plaintextRecord(argument, payload));
          break;
        case Kind.content:
          seal(innerOf(payload, argument, (payload[0] ?? 0) % 64));
          break;
        case Kind.inner:
          seal(payload);
          break;
        case Kind.keys:
          epoch = (epoch + 1) % EPOCHS;
          sequence = 0;
          reader.keepRest();
          reader.setKeys(keysOf(epoch));
          break;
        case Kind.skip:
          reader.skipEarlyData(argument * 256);
          break;
        case Kind.limit:
          reader.setRecordSizeLimit(64 + argument * 60);
          break;
        case Kind.cut:
          pieceBytes = 1 + argument;
      }
    }
    outcome = `read ${epoch >= 0 ? 'under keys' : 'plain'}`;
  } catch (error) {
    if (!(error instanceof TlsError) || error.code === 'ERR_TLS_INTERNAL') throw error;
    outcome = error.message;
    expectTheSame(reader, error);
  }
  if (got > given) throw new Error(`${got} bytes out of ${given}`);
  if (out !== 0) throw new Error(`${out} buffers of the pool were not given back`);
  if (reader.unreadBytes > 2 ** 17) throw new Error(`${reader.unreadBytes} bytes are kept`);
  reader.wipe();
  return outcome;
}

/** A record layer that has failed stays so. */
function expectTheSame(reader: RecordReader, fault: TlsError): void {
  try {
    reader.next();
  } catch (error) {
    if (error === fault) return;
  }
  throw new Error(`went on after: ${fault.message}`);
}

const program = {
  data: encodeProgram([
    operation(Kind.plaintext, 22, 1, 0, 0, 1, 9),
    operation(Kind.plaintext, 20, 1),
    operation(Kind.keys, 0),
    operation(Kind.content, 22, 8, 0, 0, 2, 0, 0),
    operation(Kind.content, 23, 65, 66, 67),
    operation(Kind.content, 23, 68),
    operation(Kind.keys, 0),
    operation(Kind.content, 21, 1, 0),
  ]),
  early: encodeProgram([
    operation(Kind.skip, 4),
    operation(Kind.plaintext, 23, ...new Uint8Array(40)),
    operation(Kind.keys, 0),
    operation(Kind.raw, 0, 23, 3, 3, 0, 20, ...new Uint8Array(20)),
    operation(Kind.limit, 3),
    operation(Kind.content, 23, 1, 2, 3),
  ]),
  pieces: encodeProgram([
    operation(Kind.cut, 0),
    operation(Kind.keys, 0),
    operation(Kind.inner, 0, 1, 2, 3, 23, 0, 0, 0),
    operation(Kind.cut, 6),
    operation(Kind.content, 23, ...new Uint8Array(300)),
    operation(Kind.plaintext, 21, 2, 40),
  ]),
};

const reassembler: Target = {
  name: 'reassembler',
  seeds: () => [
    encodeProgram([operation(0, 0, 1, 0, 0, 2, 7, 7), operation(0, 0, 2, 0), operation(0, 0, 0, 1, 5, 20, 0, 0, 0)]),
  ],
  mutate: mutateProgram({ kinds: 1, arguments: 1 }),
  run: (input) => {
    const messages = new HandshakeReassembler();
    let given = 0;
    let taken = 0;
    try {
      for (const { payload } of decodeProgram(input)) {
        if (payload.length === 0) continue;
        messages.append(payload);
        given += payload.length;
        for (let message = messages.next(); message !== undefined; message = messages.next()) {
          taken += message.bytes.length;
        }
        if (taken + messages.pendingBytes !== given) throw new Error('bytes were lost or invented');
      }
    } catch (error) {
      if (!(error instanceof TlsError)) throw error;
      return error.message;
    }
    return taken === given ? 'all whole' : 'pending';
  },
};

export const recordTargets: readonly Target[] = [
  {
    name: 'record-reader',
    covers: ['RecordReader'],
    seeds: () => Object.values(program),
    mutate: mutateProgram({ kinds: KINDS, arguments: 256 }),
    weight: 2,
    run: runReader,
  },
  reassembler,
];
