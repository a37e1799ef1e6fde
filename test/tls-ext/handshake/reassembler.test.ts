/** Handshake messages put together out of records' contents (RFC 8446, 5.1). */
import { expect } from 'chai';
import { HandshakeReassembler } from '../../../tls-ext/handshake/reassembler.ts';
import { Alert, TlsError } from '../../../tls-ext/index.ts';
import { maxMessageBytes } from '../../../tls-ext/messages/limits.ts';

const FINISHED = 20;
const CERTIFICATE = 11;

const header = (type: number, length: number) => [type, length >> 16, (length >> 8) & 0xff, length & 0xff];
const message = (type: number, ...body: readonly number[]) => Uint8Array.of(...header(type, body.length), ...body);

/** What comes out of these fragments, each read as far as it goes. */
function reassembled(...fragments: readonly Uint8Array[]): { type: number; bytes: number[] }[] {
  const reassembler = new HandshakeReassembler();
  const messages: { type: number; bytes: number[] }[] = [];
  for (const fragment of fragments) {
    reassembler.append(fragment);
    for (let next = reassembler.next(); next !== undefined; next = reassembler.next()) {
      messages.push({ type: next.type, bytes: [...next.bytes] });
    }
  }
  expect(reassembler.pendingBytes, 'bytes left over').to.equal(0);
  return messages;
}

describe('handshake messages in records', () => {
  const first = message(FINISHED, 1, 2, 3);
  const second = message(CERTIFICATE, ...Array.from({ length: 300 }, (_, i) => i & 0xff));
  const third = message(FINISHED);
  const all = Uint8Array.of(...first, ...second, ...third);
  const expected = [first, second, third].map((bytes) => ({ type: bytes[0], bytes: [...bytes] }));

  it('come out whole and in order, all in one record or cut at any two places', () => {
    expect(reassembled(all)).to.deep.equal(expected);
    for (let from = 1; from < all.length - 1; from += 3) {
      for (let to = from + 1; to < all.length; to += 7) {
        const pieces = [all.subarray(0, from), all.subarray(from, to), all.subarray(to)];
        expect(reassembled(...pieces.map((piece) => piece.slice())), `${from}, ${to}`).to.deep.equal(expected);
      }
    }
  });

  it('come out of records of one byte', () => {
    expect(reassembled(...Array.from(all, (byte) => Uint8Array.of(byte)))).to.deep.equal(expected);
  });

  it('are nothing before their last byte is there, and that is counted', () => {
    const reassembler = new HandshakeReassembler();
    for (const [i, byte] of first.entries()) {
      expect(reassembler.next(), `after ${i} bytes`).to.equal(undefined);
      expect(reassembler.pendingBytes).to.equal(i);
      reassembler.append(Uint8Array.of(byte));
    }
    expect(reassembler.next()?.bytes).to.deep.equal(first);
    expect(reassembler.pendingBytes).to.equal(0);
  });

  it('have memory of their own', () => {
    const record = Uint8Array.of(...first, ...third);
    const reassembler = new HandshakeReassembler();
    reassembler.append(record);
    const { bytes } = reassembler.next() ?? { bytes: new Uint8Array(0) };
    record.fill(0);
    expect(bytes).to.deep.equal(first);
    expect(bytes.buffer.byteLength).to.equal(first.length);
  });

  for (const type of [FINISHED, CERTIFICATE]) {
    it(`may be as long as their type allows, and are refused at the header beyond it: type ${type}`, () => {
      const most = maxMessageBytes(type);
      const longest = new HandshakeReassembler();
      longest.append(Uint8Array.from(header(type, most)));
      expect(longest.next()).to.equal(undefined);
      longest.append(new Uint8Array(most));
      expect(longest.next()?.bytes).to.have.length(4 + most);
      const longer = new HandshakeReassembler();
      longer.append(Uint8Array.from(header(type, most + 1)));
      expect(() => longer.next())
        .to.throw(TlsError)
        .that.includes({ code: 'ERR_TLS_LIMIT', alert: Alert.decodeError });
    });
  }
});
