import { expect } from 'chai';
import fc from 'fast-check';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { cipherSuites } from '../../../tls-ext/crypto/index.ts';
import type { BufferPool } from '../../../tls-ext/engine-types.ts';
import {
  BULK_BUFFER_BYTES,
  ContentType,
  createBufferPool,
  MAX_PLAINTEXT_BYTES,
  RecordReader,
  RecordWriter,
} from '../../../tls-ext/record/index.ts';
import { TlsError, TlsMisuseError } from '../../../tls-ext/tls-error.ts';
import { aes256, bytesOf, drain, innerOf, keysOf, patterned, plaintextRecord, sealRaw } from './record-fixtures.ts';

/** A pool that knows what is out, and scribbles over what comes back. */
function watchedPool(): BufferPool & { readonly out: Set<Uint8Array>; acquired: number } {
  const out = new Set<Uint8Array>();
  return {
    out,
    acquired: 0,
    acquire() {
      const buffer = new Uint8Array(BULK_BUFFER_BYTES).fill(0xee);
      out.add(buffer);
      this.acquired++;
      return buffer;
    },
    release(buffer) {
      if (!out.delete(buffer)) throw new Error('released twice, or not ours');
      buffer.fill(0xdd);
    },
  };
}

function openAll(bytes: Uint8Array): Uint8Array {
  const reader = new RecordReader();
  reader.setKeys(keysOf(0));
  reader.receive(bytes);
  const records = drain(reader);
  for (const record of records) expect(record.type).to.equal(ContentType.applicationData);
  return concatBytes(...records.map((record) => record.bytes));
}

/** Fragment lengths of the records in `bytes`. */
function recordLengths(bytes: Uint8Array): number[] {
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length; at += 5 + (lengths[lengths.length - 1] as number)) {
    lengths.push(((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number));
  }
  return lengths;
}

function protectedWriter(pool?: BufferPool, paddingMultipleBytes = 1): RecordWriter {
  const writer = new RecordWriter({ ...(pool && { pool }), paddingMultipleBytes });
  writer.setKeys(keysOf(0));
  return writer;
}

describe('RecordWriter', () => {
  it('writes plaintext records before keys, cut at 2^14, with the version it is told', () => {
    const writer = new RecordWriter();
    const message = patterned(2 ** 14 + 5);
    expect(writer.write(ContentType.handshake, message)).to.deep.equal(
      concatBytes(plaintextRecord(22, message.subarray(0, 2 ** 14)), plaintextRecord(22, message.subarray(2 ** 14))),
    );
    expect(writer.write(ContentType.handshake, Uint8Array.of(1), 0x0301)).to.deep.equal(
      plaintextRecord(22, Uint8Array.of(1), 0x0301),
    );
    // Full to the last byte: no empty record follows.
    expect(writer.write(ContentType.handshake, message.subarray(0, 2 ** 14))).to.deep.equal(
      plaintextRecord(22, message.subarray(0, 2 ** 14)),
    );
  });

  it('protects what follows the keys, but never ChangeCipherSpec, and counts from 0 in each epoch', () => {
    const writer = protectedWriter();
    expect(writer.write(ContentType.changeCipherSpec, Uint8Array.of(1))).to.deep.equal(
      plaintextRecord(20, Uint8Array.of(1)),
    );
    for (let sequence = 0; sequence < 3; sequence++) {
      expect(writer.write(ContentType.alert, Uint8Array.of(1, 0))).to.deep.equal(
        sealRaw(0, sequence, innerOf(Uint8Array.of(1, 0), 21)),
      );
    }
    writer.setKeys(keysOf(1));
    expect(writer.write(ContentType.alert, Uint8Array.of(2, 40))).to.deep.equal(
      sealRaw(1, 0, innerOf(Uint8Array.of(2, 40), 21)),
    );
  });

  it('application data before keys, and empty handshake records, are misuse', () => {
    const writer = new RecordWriter();
    expect(() => writer.writeApplicationData(Uint8Array.of(1))).to.throw(TlsMisuseError);
    expect(() => writer.sealInPlace(new Uint8Array(2), 0, 1)).to.throw(TlsMisuseError);
    expect(() => writer.write(ContentType.handshake, new Uint8Array(0))).to.throw(TlsMisuseError);
  });

  it('sealInPlace wants its byte behind the range', () => {
    const writer = protectedWriter();
    const buffer = new Uint8Array(100);
    for (const [start, end] of [
      [0, 100],
      [-1, 10],
      [11, 10],
      [Number.NaN, 10],
    ] as const) {
      expect(() => writer.sealInPlace(buffer, start, end)).to.throw(TlsMisuseError);
    }
  });

  it('seals any length either way, leaves the buffer as it was, and gives each pooled buffer back once', () => {
    const edges = [0, 1, 8191, 8192, 8193, 16_383, 16_384, 16_385, 32 * 16_384 - 1, 32 * 16_384, 32 * 16_384 + 1];
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom(...edges), fc.nat(100_000)),
        fc.nat(40),
        fc.boolean(),
        (length, start, inPlace) => {
          const pool = watchedPool();
          const writer = protectedWriter(pool);
          const buffer = patterned(start + length + 1);
          const before = buffer.slice();
          const chunks = inPlace
            ? writer.sealInPlace(buffer, start, start + length)
            : writer.writeApplicationData(buffer.subarray(start, start + length));
          expect(buffer).to.deep.equal(before);
          const sealed = concatBytes(...chunks.map((chunk) => chunk.bytes));
          for (const chunk of chunks) {
            chunk.release?.();
            chunk.release?.();
          }
          expect(pool.out.size).to.equal(0);
          expect(pool.acquired).to.equal(length < 8192 ? 0 : Math.ceil(length / (32 * 16_384)));
          expect(openAll(sealed)).to.deep.equal(before.subarray(start, start + length));
          const lengths = recordLengths(sealed);
          expect(lengths.length).to.equal(Math.ceil(length / 16_384));
          expect(lengths.every((bytes) => bytes <= 16_384 + 17)).to.equal(true);
        },
      ),
      {
        numRuns: 60,
        examples: edges.flatMap((length) => [true, false].map((inPlace) => [length, 7, inPlace])) as never,
      },
    );
  });

  it('makes no write of no data', () => {
    const writer = protectedWriter();
    expect(writer.writeApplicationData(new Uint8Array(0))).to.deep.equal([]);
    expect(writer.sealInPlace(new Uint8Array(9), 4, 4)).to.deep.equal([]);
  });

  it('fills a pooled buffer with whole records, and never past its end', () => {
    // 33 records of this size are five bytes more than a buffer holds.
    const recordBytes = Math.ceil(BULK_BUFFER_BYTES / 33);
    const contentBytes = recordBytes - 22;
    const writer = protectedWriter(watchedPool());
    writer.setRecordSizeLimit(contentBytes + 1);
    const buffer = patterned(33 * contentBytes + 1);
    const chunks = writer.sealInPlace(buffer, 0, 33 * contentBytes);
    expect(chunks.map(({ bytes }) => bytes.length)).to.deep.equal([32 * recordBytes, recordBytes]);
    expect(openAll(bytesOf(chunks))).to.deep.equal(buffer.subarray(0, 33 * contentBytes));
  });

  it('writes a handshake message into exactly the bytes that its records need', () => {
    for (const length of [1, 62, 63, 64, 125, 126, 127, 500]) {
      const writer = protectedWriter();
      writer.setRecordSizeLimit(64);
      const message = patterned(length);
      const records = Array.from({ length: Math.ceil(length / 63) }, (_, i) =>
        sealRaw(0, i, innerOf(message.subarray(63 * i, 63 * (i + 1)), 22)),
      );
      expect(writer.write(ContentType.handshake, message), `${length} bytes`).to.deep.equal(concatBytes(...records));
    }
  });

  it('both ways of sealing give the same bytes', () => {
    const buffer = patterned(70_001);
    const inPlace = bytesOf(protectedWriter().sealInPlace(buffer, 0, 70_000));
    const copied = bytesOf(protectedWriter().writeApplicationData(buffer.subarray(0, 70_000)));
    expect(inPlace).to.deep.equal(copied);
  });

  it("keeps the peer's record_size_limit in every kind of record", () => {
    for (const limit of [64, 65, 1000, 2 ** 14, 2 ** 14 + 1, 2 ** 15]) {
      const content = Math.min(limit, 2 ** 14 + 1) - 1;
      const writer = protectedWriter();
      writer.setRecordSizeLimit(limit);
      const buffer = patterned(50_001);
      const sealed = bytesOf(writer.sealInPlace(buffer, 0, 50_000));
      expect(Math.max(...recordLengths(sealed))).to.equal(content + 17);
      expect(openAll(sealed)).to.deep.equal(buffer.subarray(0, 50_000));
      expect(Math.max(...recordLengths(writer.write(ContentType.handshake, buffer)))).to.equal(content + 17);
    }
    expect(() => new RecordWriter().setRecordSizeLimit(63)).to.throw(RangeError);
  });

  it('pads to a multiple, never past the limit', () => {
    for (const multiple of [16, 256, 1000, 16_384, 20_000]) {
      for (const length of [1, 15, 16, 999, 8192, 16_384, 20_000]) {
        const buffer = patterned(length + 1);
        const sealed = bytesOf(protectedWriter(undefined, multiple).sealInPlace(buffer, 0, length));
        for (const bytes of recordLengths(sealed)) {
          const content = bytes - 17;
          expect(content % multiple === 0 || content === 16_384, `${content} of ${multiple}`).to.equal(true);
        }
        expect(openAll(sealed)).to.deep.equal(buffer.subarray(0, length));
      }
    }
    const alert = protectedWriter(undefined, 64).write(ContentType.alert, Uint8Array.of(1, 0));
    expect(alert).to.deep.equal(sealRaw(0, 0, innerOf(Uint8Array.of(1, 0), 21, 62)));
    expect(() => new RecordWriter({ paddingMultipleBytes: 0 })).to.throw(RangeError);
  });

  it('says how much of the AEAD limit is used up; stops application data before it, and everything at it', () => {
    const limited = { ...aes256, aead: { ...aes256.aead, sealLimitRecords: 16 } };
    const writer = new RecordWriter();
    const expectLimit = (write: () => unknown) =>
      expect(write).to.throw(TlsError).with.property('code', 'ERR_TLS_LIMIT');
    expect(writer.limitShare).to.equal(0);
    writer.setKeys(keysOf(0, limited));
    for (let i = 0; i < 13; i++) writer.writeApplicationData(Uint8Array.of(i));
    expect(writer.limitShare).to.equal(13 / 16);
    // Three records' worth, two are left.
    expectLimit(() => writer.writeApplicationData(new Uint8Array(2 * MAX_PLAINTEXT_BYTES + 1)));
    expectLimit(() => writer.sealInPlace(new Uint8Array(2 * MAX_PLAINTEXT_BYTES + 2), 0, 2 * MAX_PLAINTEXT_BYTES + 1));
    // Two records' worth, wherever in its buffer it lies.
    const buffer = new Uint8Array(5 * MAX_PLAINTEXT_BYTES);
    for (const { release } of writer.sealInPlace(buffer, MAX_PLAINTEXT_BYTES, 3 * MAX_PLAINTEXT_BYTES)) release?.();
    expectLimit(() => writer.writeApplicationData(Uint8Array.of(5)));
    writer.write(ContentType.alert, Uint8Array.of(1, 0));
    expectLimit(() => writer.write(ContentType.alert, Uint8Array.of(1, 0)));
    writer.setKeys(keysOf(1, limited));
    expect(writer.limitShare).to.equal(0);
    expect(bytesOf(writer.writeApplicationData(Uint8Array.of(6)))).to.deep.equal(
      sealRaw(1, 0, innerOf(Uint8Array.of(6), 23)),
    );
  });

  it('may be wiped before it has keys', () => {
    expect(() => new RecordWriter().wipe()).not.to.throw();
  });

  it('takes the keys: they are wiped at once, and after wipe nothing is sealed', () => {
    for (const suite of cipherSuites) {
      const keys = keysOf(0, suite);
      const bytes = [keys.key.expose(), keys.iv.expose()];
      const writer = new RecordWriter();
      writer.setKeys(keys);
      expect([keys.key.wiped, keys.iv.wiped]).to.deep.equal([true, true]);
      for (const view of bytes) expect(view.every((byte) => byte === 0)).to.equal(true);
      writer.wipe();
      writer.wipe();
      expect(() => writer.writeApplicationData(Uint8Array.of(1))).to.throw(TlsMisuseError);
    }
  });
});

describe('buffer pool', () => {
  it('gives released buffers out again, up to what it keeps, and refuses others', () => {
    const pool = createBufferPool(1);
    const first = pool.acquire();
    const second = pool.acquire();
    expect(first).to.have.length(BULK_BUFFER_BYTES);
    expect(first.buffer).to.not.equal(second.buffer);
    pool.release(first);
    pool.release(second);
    expect(pool.acquire()).to.equal(first);
    expect(pool.acquire()).to.not.equal(second);
    expect(() => pool.release(new Uint8Array(5))).to.throw(RangeError);
  });
});
