import { expect } from 'chai';
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
});
