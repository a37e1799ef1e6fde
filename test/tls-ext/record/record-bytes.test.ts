import { expect } from 'chai';
import { Alert } from '../../../tls-ext/alert.ts';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { RecordBytes } from '../../../tls-ext/record/record-bytes.ts';
import { patterned, plaintextRecord } from './record-fixtures.ts';

describe('RecordBytes', () => {
  for (const cut of [0, 3, 700]) {
    it(`holds on to nothing when it has shown a record, cut at ${cut}`, () => {
      const record = plaintextRecord(22, patterned(1_000));
      const stream = new RecordBytes();
      stream.append(record.subarray(0, cut));
      expect(stream.advance()).to.equal(false);
      stream.append(record.subarray(cut));
      expect(stream.advance()).to.equal(true);
      expect(stream.bytes.subarray(stream.start, stream.end)).to.deep.equal(patterned(1_000));
      expect(stream.advance()).to.equal(false);
      expect(stream.bytes).to.have.length(0);
      expect(stream.incompleteBytes).to.equal(0);
    });
  }

  it('shows each record where it lies, also after the stream was empty', () => {
    const stream = new RecordBytes();
    for (const seed of [1, 2]) {
      const record = plaintextRecord(22, patterned(40, seed));
      stream.append(record);
      expect(stream.advance()).to.equal(true);
      expect(stream.bytes.buffer).to.equal(record.buffer);
      expect(stream.advance()).to.equal(false);
    }
  });

  it('takes a record of the largest length, and refuses one byte more or another content type at its fifth byte', () => {
    const advance = (...header: number[]) => {
      const stream = new RecordBytes();
      stream.append(Uint8Array.from(header));
      return stream.advance();
    };
    const fault = (alert: Alert) => ({
      with: (act: () => unknown) => expect(act).to.throw().with.property('alert', alert),
    });
    for (const type of [20, 21, 22]) {
      expect(advance(type, 3, 3, 0x40, 0x00)).to.equal(false);
      fault(Alert.recordOverflow).with(() => advance(type, 3, 3, 0x40, 0x01));
    }
    expect(advance(23, 3, 3, 0x41, 0x00)).to.equal(false);
    fault(Alert.recordOverflow).with(() => advance(23, 3, 3, 0x41, 0x01));
    for (const type of [0, 19, 24, 0x47]) {
      expect(advance(type, 3, 3, 0)).to.equal(false);
      fault(Alert.unexpectedMessage).with(() => advance(type, 3, 3, 0, 0));
    }
  });

  describe('says that application data follow', () => {
    const follows = (bytes: Uint8Array, maxFragmentBytes: number) => {
      const stream = new RecordBytes();
      stream.append(concatBytes(plaintextRecord(22, patterned(3)), bytes));
      expect(stream.advance()).to.equal(true);
      return stream.applicationDataFollows(maxFragmentBytes);
    };
    const record = plaintextRecord(23, patterned(100));

    it('where a whole record of them does, that is small enough', () => {
      expect(follows(record, 100)).to.equal(true);
      expect(follows(record, 99)).to.equal(false);
      expect(follows(plaintextRecord(23, new Uint8Array(0)), 0)).to.equal(true);
    });

    it('and not where it is cut anywhere, or another record follows', () => {
      for (let length = 0; length < record.length; length++) {
        expect(follows(record.subarray(0, length), 100), `${length} bytes`).to.equal(false);
      }
      for (const type of [20, 21, 22]) expect(follows(plaintextRecord(type, patterned(100)), 100)).to.equal(false);
    });
  });
});
