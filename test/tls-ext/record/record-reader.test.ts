import { expect } from 'chai';
import fc from 'fast-check';
import { Alert } from '../../../tls-ext/alert.ts';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { cipherSuites } from '../../../tls-ext/crypto/index.ts';
import {
  BULK_BUFFER_BYTES,
  CONTENT_BYTES_PER_EMPTY_RECORD,
  ContentType,
  MAX_EMPTY_RECORDS,
  type OpenedRecord,
  RecordReader,
  RecordWriter,
} from '../../../tls-ext/record/index.ts';
import { TlsError, TlsMisuseError } from '../../../tls-ext/tls-error.ts';
import { bytesOf, drain, innerOf, keysOf, patterned, plaintextRecord, sealRaw } from './record-fixtures.ts';

const { alert, applicationData, changeCipherSpec, handshake } = ContentType;

function protectedReader(): RecordReader {
  const reader = new RecordReader();
  reader.setKeys(keysOf(0));
  return reader;
}

/** The alert of the fault that `next` comes to, and what came out in front of it. */
function faultOf(reader: RecordReader): { alert: Alert | undefined; before: OpenedRecord[] } {
  const before: OpenedRecord[] = [];
  for (;;) {
    try {
      const record = reader.next();
      if (record === undefined) throw new Error('no fault');
      before.push({ ...record, bytes: record.bytes.slice() });
      record.release?.();
    } catch (error) {
      if (!(error instanceof TlsError)) throw error;
      // A record layer that has failed stays so.
      expect(() => reader.next()).to.throw(TlsError);
      return { alert: error.alert, before };
    }
  }
}

function alertFor(reader: RecordReader, bytes: Uint8Array): Alert | undefined {
  reader.receive(bytes);
  return faultOf(reader).alert;
}

describe('RecordReader: bulk', () => {
  it('gathers consecutive application data of a chunk into pooled buffers, in order', () => {
    const writer = new RecordWriter();
    writer.setKeys(keysOf(0));
    const plaintext = patterned(3 * BULK_BUFFER_BYTES);
    const sealed = bytesOf(writer.writeApplicationData(plaintext));
    const reader = protectedReader();
    reader.receive(sealed);
    const sizes: number[] = [];
    let at = 0;
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      expect(Buffer.compare(record.bytes, plaintext.subarray(at, at + record.bytes.length))).to.equal(0);
      at += record.bytes.length;
      sizes.push(record.bytes.length);
      record.release?.();
    }
    expect(at).to.equal(plaintext.length);
    expect(sizes.length).to.equal(4);
  });

  it('takes a pooled buffer only for more than one record, and only from 8 KiB on', () => {
    let acquired = 0;
    const pool = {
      acquire: () => {
        acquired++;
        return new Uint8Array(BULK_BUFFER_BYTES);
      },
      release: () => {},
    };
    const writer = new RecordWriter();
    writer.setKeys(keysOf(0));
    const reader = new RecordReader({ pool });
    reader.setKeys(keysOf(0));
    const small = concatBytes(...Array.from({ length: 50 }, () => bytesOf(writer.writeApplicationData(patterned(64)))));
    reader.receive(small);
    expect(reader.next()?.bytes).to.have.length(3200);
    expect(acquired).to.equal(0);
    reader.receive(bytesOf(writer.writeApplicationData(patterned(16_384))));
    expect(reader.next()?.bytes).to.have.length(16_384);
    expect(acquired).to.equal(0);
    reader.receive(bytesOf(writer.writeApplicationData(patterned(16_385))));
    expect(reader.next()?.bytes).to.have.length(16_385);
    expect(acquired).to.equal(1);
  });

  it('two connections that share one chunk buffer see no byte of each other', () => {
    const shared = new Uint8Array(200_000);
    const ends = [1, 2].map((epoch) => {
      const writer = new RecordWriter();
      const reader = new RecordReader();
      writer.setKeys(keysOf(epoch));
      reader.setKeys(keysOf(epoch));
      return { writer, reader, canary: new Uint8Array(30_000).fill(epoch), received: [] as Uint8Array[] };
    });
    for (let round = 0; round < 6; round++) {
      for (const { writer, reader, canary, received } of ends) {
        const sealed = bytesOf(writer.writeApplicationData(canary));
        for (let at = 0; at < sealed.length; at += 10_007) {
          const part = sealed.subarray(at, at + 10_007);
          shared.set(part);
          reader.receive(shared.subarray(0, part.length));
          for (let record = reader.next(); record !== undefined; record = reader.next()) received.push(record.bytes);
        }
      }
    }
    for (const [i, { received }] of ends.entries()) {
      const all = concatBytes(...received);
      expect(all).to.have.length(180_000);
      expect(all.every((byte) => byte === i + 1)).to.equal(true);
    }
  });

  it('works for every suite', () => {
    for (const suite of cipherSuites) {
      const writer = new RecordWriter();
      const reader = new RecordReader();
      writer.setKeys(keysOf(3, suite));
      reader.setKeys(keysOf(3, suite));
      reader.receive(bytesOf(writer.writeApplicationData(patterned(20_000))));
      expect(concatBytes(...drain(reader).map((record) => record.bytes))).to.deep.equal(patterned(20_000));
    }
  });
});

describe('RecordReader: faults', () => {
  const hello = plaintextRecord(handshake, patterned(10));
  const sealedHi = sealRaw(0, 0, innerOf(patterned(5), applicationData));

  it('before keys: other content types, HTTP, oversized and empty records, malformed ChangeCipherSpec', () => {
    const cases: [Uint8Array, Alert][] = [
      [new TextEncoder().encode('GET / HTTP/1.1\r\n'), Alert.unexpectedMessage],
      [Uint8Array.of(24, 3, 3, 0, 1, 0), Alert.unexpectedMessage],
      [Uint8Array.of(0, 0, 0, 0, 0), Alert.unexpectedMessage],
      [Uint8Array.of(22, 3, 3, 0x40, 0x01), Alert.recordOverflow],
      [Uint8Array.of(23, 3, 3, 0x41, 0x01), Alert.recordOverflow],
      [plaintextRecord(handshake, new Uint8Array(0)), Alert.unexpectedMessage],
      [plaintextRecord(alert, new Uint8Array(0)), Alert.unexpectedMessage],
      [plaintextRecord(applicationData, patterned(40)), Alert.unexpectedMessage],
      [plaintextRecord(changeCipherSpec, Uint8Array.of(2)), Alert.unexpectedMessage],
      [plaintextRecord(changeCipherSpec, Uint8Array.of(1, 1)), Alert.unexpectedMessage],
      [plaintextRecord(changeCipherSpec, new Uint8Array(0)), Alert.unexpectedMessage],
    ];
    for (const [bytes, expected] of cases) {
      expect(alertFor(new RecordReader(), bytes)).to.equal(expected);
      // Byte by byte, and behind a good record.
      const slow = new RecordReader();
      let fault: Alert | undefined;
      for (const byte of concatBytes(hello, bytes)) {
        slow.receive(Uint8Array.of(byte));
        try {
          slow.next();
        } catch (error) {
          fault = (error as TlsError).alert;
          break;
        }
      }
      expect(fault).to.equal(expected);
    }
  });

  it('the version of a plaintext record means nothing', () => {
    for (const version of [0x0300, 0x0301, 0x0303, 0x0304, 0xffff]) {
      const reader = new RecordReader();
      reader.receive(plaintextRecord(handshake, patterned(10), version));
      expect(reader.next()?.bytes).to.deep.equal(patterned(10));
    }
  });

  it('under keys: everything short of a tag and a type is bad_record_mac', () => {
    for (let length = 0; length < 17; length++) {
      const record = concatBytes(Uint8Array.of(23, 3, 3, 0, length), new Uint8Array(length));
      expect(alertFor(protectedReader(), record), `${length}`).to.equal(Alert.badRecordMac);
    }
    // A valid tag over nothing at all.
    expect(alertFor(protectedReader(), sealRaw(0, 0, new Uint8Array(0)))).to.equal(Alert.badRecordMac);
  });

  it('under keys: each flipped bit of a record is noticed', () => {
    for (let bit = 0; bit < sealedHi.length * 8; bit++) {
      const at = bit >> 3;
      const changed = sealedHi.slice();
      changed[at] = (changed[at] as number) ^ (1 << (bit & 7));
      const reader = protectedReader();
      reader.receive(changed);
      let record: OpenedRecord | undefined;
      try {
        record = reader.next();
      } catch (error) {
        expect(error).to.be.instanceOf(TlsError);
      }
      expect(record, `bit ${bit}`).to.equal(undefined);
    }
  });

  it('under keys: repeated, skipped and reordered records, and those of another epoch, are bad_record_mac', () => {
    const second = sealRaw(0, 1, innerOf(patterned(6), applicationData));
    for (const bytes of [
      concatBytes(sealedHi, sealedHi),
      second,
      concatBytes(second, sealedHi),
      sealRaw(1, 0, innerOf(patterned(5), applicationData)),
    ]) {
      expect(alertFor(protectedReader(), bytes)).to.equal(Alert.badRecordMac);
    }
  });

  it('under keys: another version in the header is not authentic, even if it was sealed so', () => {
    const inner = innerOf(patterned(5), applicationData);
    const header = Uint8Array.of(23, 3, 1, 0, inner.length + 16);
    expect(alertFor(protectedReader(), sealRaw(0, 0, inner, header))).to.equal(Alert.badRecordMac);
  });

  it('under keys: padding only, empty handshake and alert, inner ChangeCipherSpec and unknown types', () => {
    const inners = [
      new Uint8Array(1),
      new Uint8Array(300),
      innerOf(new Uint8Array(0), handshake),
      innerOf(new Uint8Array(0), alert, 20),
      innerOf(Uint8Array.of(1), changeCipherSpec),
      innerOf(Uint8Array.of(1), 24),
      innerOf(Uint8Array.of(1), 255),
    ];
    for (const inner of inners) {
      expect(alertFor(protectedReader(), sealRaw(0, 0, inner))).to.equal(Alert.unexpectedMessage);
    }
  });

  it('under keys: plaintext handshake at any time, a plaintext alert after the first protected record', () => {
    expect(alertFor(protectedReader(), hello)).to.equal(Alert.unexpectedMessage);
    const early = protectedReader();
    early.receive(plaintextRecord(alert, Uint8Array.of(2, 40)));
    expect(early.next()).to.deep.equal({ type: alert, bytes: Uint8Array.of(2, 40), protected: false });
    const late = protectedReader();
    late.receive(concatBytes(sealedHi, plaintextRecord(alert, Uint8Array.of(2, 40))));
    const fault = faultOf(late);
    expect(fault.alert).to.equal(Alert.unexpectedMessage);
    expect(fault.before).to.have.length(1);
    const newKeys = protectedReader();
    newKeys.receive(sealedHi);
    newKeys.next();
    newKeys.setKeys(keysOf(1));
    expect(alertFor(newKeys, plaintextRecord(alert, Uint8Array.of(2, 40)))).to.equal(Alert.unexpectedMessage);
  });

  it('sizes: TLSInnerPlaintext up to 2^14 + 1, or up to the limit we announced', () => {
    const full = protectedReader();
    full.receive(sealRaw(0, 0, innerOf(patterned(2 ** 14), applicationData)));
    expect(full.next()?.bytes).to.have.length(2 ** 14);
    for (const inner of [
      innerOf(patterned(2 ** 14 + 1), applicationData),
      innerOf(patterned(5), applicationData, 2 ** 14),
    ]) {
      expect(alertFor(protectedReader(), sealRaw(0, 0, inner))).to.equal(Alert.recordOverflow);
    }
    for (const limit of [64, 512, 2 ** 14 + 1]) {
      const reader = protectedReader();
      reader.setRecordSizeLimit(limit);
      reader.receive(sealRaw(0, 0, innerOf(patterned(5), applicationData, limit - 6)));
      expect(reader.next()?.bytes).to.deep.equal(patterned(5));
      expect(alertFor(reader, sealRaw(0, 1, innerOf(patterned(limit), applicationData)))).to.equal(
        Alert.recordOverflow,
      );
    }
    for (const limit of [63, 2 ** 14 + 2, 1.5]) {
      expect(() => new RecordReader().setRecordSizeLimit(limit)).to.throw(RangeError);
    }
  });

  it('padding of any length is taken off', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(1000), (content, padding) => {
        const reader = protectedReader();
        reader.receive(sealRaw(0, 0, innerOf(content, applicationData, padding)));
        expect(reader.next()?.bytes).to.deep.equal(content);
      }),
    );
  });

  it('empty application data comes out as such, but not without end', () => {
    const empty = (sequence: number) => sealRaw(0, sequence, innerOf(new Uint8Array(0), applicationData, 3));
    const reader = protectedReader();
    for (let i = 0; i < MAX_EMPTY_RECORDS; i++) {
      reader.receive(empty(i));
      expect(reader.next()).to.deep.include({ type: applicationData, bytes: new Uint8Array(0) });
    }
    reader.receive(sealRaw(0, MAX_EMPTY_RECORDS, innerOf(patterned(CONTENT_BYTES_PER_EMPTY_RECORD), applicationData)));
    expect(reader.next()?.bytes).to.have.length(CONTENT_BYTES_PER_EMPTY_RECORD);
    reader.receive(empty(MAX_EMPTY_RECORDS + 1));
    expect(reader.next()?.bytes).to.have.length(0);
    // A byte of content now and then makes up for nothing.
    reader.receive(sealRaw(0, MAX_EMPTY_RECORDS + 2, innerOf(patterned(1), applicationData)));
    expect(reader.next()?.bytes).to.have.length(1);
    expect(alertFor(reader, empty(MAX_EMPTY_RECORDS + 3))).to.equal(Alert.unexpectedMessage);
  });

  it('what stands in front of a fault comes out first, however it is cut', () => {
    const good = [0, 1, 2].map((i) => sealRaw(0, i, innerOf(patterned(4000, i + 1), applicationData)));
    const bad = sealRaw(0, 9, innerOf(patterned(4), applicationData));
    const reader = protectedReader();
    reader.receive(concatBytes(...good, bad, ...good));
    const { alert: fault, before } = faultOf(reader);
    expect(fault).to.equal(Alert.badRecordMac);
    expect(concatBytes(...before.map((record) => record.bytes))).to.deep.equal(
      concatBytes(patterned(4000, 1), patterned(4000, 2), patterned(4000, 3)),
    );
  });

  it('takes the keys, and opens nothing after wipe', () => {
    const keys = keysOf(0);
    const bytes = [keys.key.expose(), keys.iv.expose()];
    const reader = new RecordReader();
    reader.setKeys(keys);
    for (const view of bytes) expect(view.every((byte) => byte === 0)).to.equal(true);
    reader.receive(sealedHi);
    reader.wipe();
    reader.wipe();
    expect(reader.next()).to.equal(undefined);
    reader.receive(sealedHi);
    expect(() => reader.next()).to.throw(TlsMisuseError);
  });
});

describe('RecordReader: what it says of itself', () => {
  it('whether it has keys, and how many records they have opened', () => {
    const reader = new RecordReader();
    expect([reader.protected, reader.recordCount, reader.limitShare]).to.deep.equal([false, 0, 0]);
    reader.setKeys(keysOf(0));
    reader.receive(
      concatBytes(sealRaw(0, 0, innerOf(patterned(5), handshake)), sealRaw(0, 1, innerOf(patterned(5), alert))),
    );
    drain(reader);
    expect([reader.protected, reader.recordCount]).to.deep.equal([true, 2]);
    expect(reader.limitShare).to.equal(2 / keysOf(0).suite.aead.sealLimitRecords);
    reader.setKeys(keysOf(1));
    expect([reader.protected, reader.recordCount]).to.deep.equal([true, 0]);
  });

  it('gathered records came under keys, as single ones did', () => {
    const reader = protectedReader();
    const records = [0, 1].map((i) => sealRaw(0, i, innerOf(patterned(5), applicationData)));
    reader.receive(concatBytes(...records));
    expect(reader.next()?.protected).to.equal(true);
    reader.receive(sealRaw(0, 2, innerOf(patterned(5), applicationData)));
    expect(reader.next()?.protected).to.equal(true);
  });

  it('can be wiped before it has keys', () => {
    new RecordReader().wipe();
  });
});

describe('RecordReader: early data that is not taken', () => {
  const earlyRecord = (i: number) => sealRaw(7, i, innerOf(patterned(100), applicationData));

  it('to the last byte of the bound', () => {
    const reader = new RecordReader();
    const record = earlyRecord(0);
    reader.skipEarlyData(2 * (record.length - 5));
    reader.receive(concatBytes(record, record, plaintextRecord(handshake, patterned(9))));
    expect(reader.next()?.type).to.equal(handshake);
    expect(alertFor(reader, plaintextRecord(applicationData, patterned(1)))).to.equal(Alert.unexpectedMessage);
  });

  it('after a HelloRetryRequest: application data is passed over, up to the budget', () => {
    const reader = new RecordReader();
    reader.skipEarlyData(300);
    reader.receive(concatBytes(earlyRecord(0), earlyRecord(1), plaintextRecord(handshake, patterned(9))));
    expect(reader.next()?.bytes).to.deep.equal(patterned(9));
    expect(alertFor(reader, earlyRecord(2))).to.equal(Alert.unexpectedMessage);
  });

  it('under keys: what does not open is passed over, up to the first record that does', () => {
    const reader = protectedReader();
    reader.skipEarlyData(1000);
    reader.receive(
      concatBytes(earlyRecord(0), earlyRecord(1), sealRaw(0, 0, innerOf(patterned(8), handshake)), earlyRecord(2)),
    );
    const { alert: fault, before } = faultOf(reader);
    expect(before.map((record) => record.bytes)).to.deep.equal([patterned(8)]);
    expect(fault).to.equal(Alert.badRecordMac);
  });

  it('under keys: the budget ends it', () => {
    const reader = protectedReader();
    reader.skipEarlyData(200);
    reader.receive(concatBytes(earlyRecord(0), earlyRecord(1)));
    expect(faultOf(reader).alert).to.equal(Alert.unexpectedMessage);
  });
});
