import { expect } from 'chai';
import fc from 'fast-check';
import { AuthReserve, type TranscriptField, TranscriptHash } from '../../../qkd-sim/post-processing/authentication.ts';
import { concatBytes, fromHex, hexOf, utf8 } from '../../../tls-ext/bytes/index.ts';

const hashKey = fromHex('85d6be7857556d337f4452fe42d506a8');
const pad = fromHex('0103808afb0db2fd4abff6af4149f51b');
const tagOf = (...messages: readonly TranscriptField[][]) => {
  const hash = new TranscriptHash(hashKey);
  for (const message of messages) hash.absorb(...message);
  return hexOf(hash.tag(pad));
};

/** Poly1305 as RFC 8439, section 2.5.1 writes it down, in big integers. */
function poly1305(r: Uint8Array, s: Uint8Array, message: Uint8Array): string {
  const little = (bytes: Uint8Array) => BigInt(`0x${hexOf(bytes.slice().reverse())}`);
  const clamped = little(r) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let accumulator = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = concatBytes(message.subarray(at, at + 16), Uint8Array.of(1));
    accumulator = ((accumulator + little(block)) * clamped) % ((1n << 130n) - 5n);
  }
  const tag = (accumulator + little(s)) & ((1n << 128n) - 1n);
  return hexOf(fromHex(tag.toString(16).padStart(32, '0')).reverse());
}

describe('transcript authentication', () => {
  it('is Poly1305 of the framed messages, with the pad added at the end', () => {
    const message = concatBytes(
      fromHex('6d02000000'),
      fromHex('7304000000'),
      utf8('text'),
      fromHex('6203000000'),
      Uint8Array.of(1, 2, 3),
    );
    expect(tagOf(['text', Uint8Array.of(1, 2, 3)])).to.equal(poly1305(hashKey, pad, message));
  });

  it('tells apart conversations that differ anywhere, also only in where a field ends', () => {
    const field = fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.string({ maxLength: 8 }),
      fc.integer(),
      fc.uint32Array({ maxLength: 5 }),
    );
    const conversation = fc.array(fc.array(field, { maxLength: 3 }), { maxLength: 3 });
    fc.assert(
      fc.property(conversation, conversation, (one, other) => {
        expect(tagOf(...one) === tagOf(...other)).to.equal(fc.stringify(one) === fc.stringify(other));
      }),
    );
    expect(tagOf([Uint8Array.of(1), Uint8Array.of(2)])).to.not.equal(tagOf([Uint8Array.of(1, 2)]));
    expect(tagOf([Uint8Array.of(1)], [Uint8Array.of(2)])).to.not.equal(tagOf([Uint8Array.of(1), Uint8Array.of(2)]));
  });

  it('accepts the right tag only', () => {
    const tag = fromHex(tagOf(['hello']));
    const fresh = () => {
      const hash = new TranscriptHash(hashKey);
      hash.absorb('hello');
      return hash;
    };
    expect(fresh().verify(pad, tag)).to.equal(true);
    for (let bit = 0; bit < 128; bit++) {
      const forged = tag.slice();
      forged[bit >>> 3]! ^= 1 << (bit & 7);
      expect(fresh().verify(pad, forged)).to.equal(false);
    }
    expect(fresh().verify(fromHex('00'.repeat(16)), tag)).to.equal(false);
    expect(fresh().verify(pad, tag.subarray(0, 15))).to.equal(false);
  });
});

describe('authentication reserve', () => {
  it('gives each byte once, in order, refills at the end, and refuses what it has not', () => {
    const reserve = new AuthReserve(Uint8Array.of(1, 2, 3, 4));
    expect([...reserve.take(3)!]).to.deep.equal([1, 2, 3]);
    expect(reserve.take(2)).to.equal(undefined);
    expect(reserve.availableBits).to.equal(8);
    reserve.refill(Uint8Array.of(5, 6));
    expect([...reserve.take(3)!]).to.deep.equal([4, 5, 6]);
    expect(reserve.availableBits).to.equal(0);
  });
});
