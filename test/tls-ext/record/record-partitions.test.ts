import { expect } from 'chai';
import fc from 'fast-check';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { ContentType, RecordReader, RecordWriter } from '../../../tls-ext/record/index.ts';
import { bytesOf, keysOf, patterned, plaintextRecord } from './record-fixtures.ts';

const { alert, applicationData, changeCipherSpec, handshake } = ContentType;

/** A stream of one peer in three epochs, and what must come out of it. */
function threeEpochs() {
  const writer = new RecordWriter();
  const parts: Uint8Array[] = [];
  const expected: [number, Uint8Array][] = [];
  const put = (type: ContentType, content: Uint8Array) => {
    parts.push(type === applicationData ? bytesOf(writer.writeApplicationData(content)) : writer.write(type, content));
    const last = expected[expected.length - 1];
    if (type === applicationData && last?.[0] === applicationData) last[1] = concatBytes(last[1], content);
    else expected.push([type, content]);
  };
  put(handshake, patterned(90, 2));
  parts.push(writer.write(changeCipherSpec, Uint8Array.of(1)));
  expected.push([changeCipherSpec, Uint8Array.of(1)]);
  writer.setKeys(keysOf(0));
  put(handshake, patterned(700, 3));
  put(handshake, patterned(36, 4));
  writer.setKeys(keysOf(1));
  put(applicationData, patterned(300, 5));
  put(applicationData, patterned(1, 6));
  put(applicationData, patterned(40_000, 7));
  put(handshake, Uint8Array.of(24, 0, 0, 1, 0));
  writer.setKeys(keysOf(2));
  put(applicationData, patterned(9_000, 8));
  put(alert, Uint8Array.of(1, 0));
  return { stream: concatBytes(...parts), expected };
}

/** Reads as an engine does: new keys right after the messages that bring them. */
function readThreeEpochs(chunks: readonly Uint8Array[]): [number, Uint8Array][] {
  const reader = new RecordReader();
  const got: [number, Uint8Array][] = [];
  let handshakeRecords = 0;
  for (const chunk of chunks) {
    const borrowed = chunk.slice();
    reader.receive(borrowed);
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      const last = got[got.length - 1];
      const bytes = record.bytes.slice();
      record.release?.();
      if (record.type === applicationData && last?.[0] === applicationData) last[1] = concatBytes(last[1], bytes);
      else got.push([record.type, bytes]);
      if (record.type === handshake) {
        handshakeRecords++;
        if (handshakeRecords === 1) reader.setKeys(keysOf(0));
        if (handshakeRecords === 3) reader.setKeys(keysOf(1));
        if (handshakeRecords === 4) reader.setKeys(keysOf(2));
      }
    }
    // The chunk was borrowed: nothing may look at it any more.
    borrowed.fill(0xaa);
  }
  expect(reader.unreadBytes).to.equal(0);
  return got;
}

describe('RecordReader: partitions of a stream', () => {
  const { stream, expected } = threeEpochs();

  it('in one chunk', () => {
    expect(readThreeEpochs([stream])).to.deep.equal(expected);
  });

  it('byte by byte', () => {
    expect(readThreeEpochs(Array.from(stream, (byte) => Uint8Array.of(byte)))).to.deep.equal(expected);
  });

  it('cut in two anywhere', () => {
    for (let cut = 1; cut < stream.length; cut += cut < 1300 || cut > stream.length - 200 ? 1 : 97) {
      const got = readThreeEpochs([stream.subarray(0, cut), stream.subarray(cut)]);
      if (got.length !== expected.length) throw new Error(`cut at ${cut}`);
      for (const [i, [type, bytes]] of got.entries()) {
        const want = expected[i] as [number, Uint8Array];
        if (type !== want[0] || Buffer.compare(bytes, want[1]) !== 0) throw new Error(`cut at ${cut}, record ${i}`);
      }
    }
  });

  it('cut anyhow', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 40 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const chunks = at.slice(1).map((end, i) => stream.subarray(at[i], end));
        expect(readThreeEpochs(chunks)).to.deep.equal(expected);
      }),
      { numRuns: 100 },
    );
  });

  it('what came out stays as it was when the chunk is overwritten', () => {
    const reader = new RecordReader();
    const chunk = concatBytes(plaintextRecord(handshake, patterned(9)), plaintextRecord(alert, Uint8Array.of(2, 40)));
    reader.receive(chunk);
    const records = [reader.next(), reader.next()];
    expect(reader.next()).to.equal(undefined);
    chunk.fill(0xaa);
    expect(records.map((record) => record?.bytes)).to.deep.equal([patterned(9), Uint8Array.of(2, 40)]);
  });

  it('two chunks before the first is read to its end, and keepRest in between', () => {
    const reader = new RecordReader();
    const first = stream.slice(0, 500);
    reader.receive(first);
    expect(reader.next()?.type).to.equal(handshake);
    reader.keepRest();
    first.fill(0xaa);
    reader.receive(stream.subarray(500));
    expect(reader.next()?.type).to.equal(changeCipherSpec);
    reader.setKeys(keysOf(0));
    expect(reader.next()?.bytes).to.deep.equal(patterned(700, 3));
    expect(reader.unreadBytes).to.be.greaterThan(40_000);
  });

  it('every truncation leaves unread bytes, unless it falls between two records', () => {
    const boundaries = new Set<number>();
    for (let at = 0; at <= stream.length; ) {
      boundaries.add(at);
      at += 5 + (((stream[at + 3] ?? 0) << 8) | (stream[at + 4] ?? 0));
    }
    const reader = new RecordReader();
    for (let at = 0; at < 96; at++) {
      expect(reader.unreadBytes === 0, `at ${at}`).to.equal(boundaries.has(at));
      reader.receive(stream.subarray(at, at + 1));
      reader.next();
    }
  });
});
