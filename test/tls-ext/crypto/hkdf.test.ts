import { expect } from 'chai';
import { concatBytes, fromHex, SecretBytes, utf8 } from '../../../tls-ext/bytes/index.ts';
import { emptyHash, hash, hashLengthBytes, TranscriptHash } from '../../../tls-ext/crypto/hash.ts';
import { encodeHkdfLabel, hkdfExpand, hkdfExpandLabel, hkdfExtract } from '../../../tls-ext/crypto/hkdf.ts';

function range(from: number, to: number): Uint8Array {
  return Uint8Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** RFC 5869, appendix A, the cases with SHA-256. */
const rfc5869 = [
  {
    ikm: new Uint8Array(22).fill(0x0b),
    salt: range(0x00, 0x0c),
    info: range(0xf0, 0xf9),
    prk: '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5',
    okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    ikm: range(0x00, 0x4f),
    salt: range(0x60, 0xaf),
    info: range(0xb0, 0xff),
    prk: '06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244',
    okm:
      'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09' +
      'da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
  },
  {
    ikm: new Uint8Array(22).fill(0x0b),
    salt: undefined,
    info: new Uint8Array(0),
    prk: '19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04',
    okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
];

describe('HKDF', () => {
  for (const [i, { ikm, salt, info, prk, okm }] of rfc5869.entries()) {
    it(`RFC 5869, A.${i + 1}`, () => {
      const extracted = hkdfExtract('sha256', salt, ikm);
      expect(extracted.expose()).to.deep.equal(fromHex(prk));
      expect(hkdfExpand('sha256', extracted, info, okm.length / 2).expose()).to.deep.equal(fromHex(okm));
    });
  }

  it('an empty salt is the absent one', () => {
    const ikm = utf8('key');
    expect(hkdfExtract('sha384', new Uint8Array(0), ikm).expose()).to.deep.equal(
      hkdfExtract('sha384', undefined, ikm).expose(),
    );
  });

  it('expands to any length up to 255 blocks, each a prefix of the longest', () => {
    const prk = new SecretBytes(new Uint8Array(48).fill(7));
    const longest = hkdfExpand('sha384', prk, utf8('info'), 255 * 48).expose();
    for (const length of [0, 1, 12, 47, 48, 49, 96, 97, 1000]) {
      expect(hkdfExpand('sha384', prk, utf8('info'), length).expose()).to.deep.equal(longest.slice(0, length));
    }
    expect(() => hkdfExpand('sha384', prk, utf8('info'), 255 * 48 + 1)).to.throw(RangeError);
    expect(() => hkdfExpand('sha384', prk, utf8('info'), -1)).to.throw(RangeError);
  });

  it('encodes HkdfLabel with its prefix and bounds', () => {
    expect(encodeHkdfLabel('key', new Uint8Array(0), 16)).to.deep.equal(fromHex('001009746c733133206b657900'));
    expect(() => encodeHkdfLabel('x'.repeat(250), new Uint8Array(0), 16)).to.throw(RangeError);
    expect(() => encodeHkdfLabel('key', new Uint8Array(256), 16)).to.throw(RangeError);
  });

  it('labels that were cached and labels that were not give the same secret', () => {
    const prk = new SecretBytes(new Uint8Array(32).fill(1));
    const first = hkdfExpandLabel('sha256', prk, 'one', new Uint8Array(0), 32).expose();
    for (let i = 0; i < 200; i++) hkdfExpandLabel('sha256', prk, `filler ${i}`, new Uint8Array(0), 32);
    expect(hkdfExpandLabel('sha256', prk, 'one', new Uint8Array(0), 32).expose()).to.deep.equal(first);
    const late = hkdfExpandLabel('sha256', prk, 'late', new Uint8Array(0), 32).expose();
    expect(hkdfExpandLabel('sha256', prk, 'late', new Uint8Array(0), 32).expose()).to.deep.equal(late);
    expect(late).to.not.deep.equal(first);
  });

  it('leaves the inputs as they were, and owns its outputs', () => {
    const prk = new SecretBytes(new Uint8Array(32).fill(3));
    const output = hkdfExpand('sha256', prk, utf8('info'), 32);
    output.wipe();
    expect(prk.expose()).to.deep.equal(new Uint8Array(32).fill(3));
    expect(hkdfExpand('sha256', prk, utf8('info'), 32).expose()).to.not.deep.equal(new Uint8Array(32));
  });
});

describe('hashes', () => {
  it('FIPS 180-4: "abc", and the empty string', () => {
    expect(hash('sha256', utf8('a'), utf8('bc'))).to.deep.equal(
      fromHex('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'),
    );
    expect(emptyHash('sha256')).to.deep.equal(
      fromHex('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'),
    );
    expect(hash('sha384', utf8('abc'))).to.have.length(hashLengthBytes.sha384);
  });

  it('a transcript goes on after a snapshot, and a clone goes its own way', () => {
    const transcript = new TranscriptHash('sha384');
    transcript.update(utf8('one'));
    const clone = transcript.clone();
    expect(transcript.snapshot()).to.deep.equal(hash('sha384', utf8('one')));
    expect(transcript.snapshotWith(utf8('cut'))).to.deep.equal(hash('sha384', utf8('onecut')));
    transcript.update(utf8('two'));
    clone.update(utf8('three'));
    expect(transcript.snapshot()).to.deep.equal(hash('sha384', utf8('onetwo')));
    expect(clone.snapshot()).to.deep.equal(hash('sha384', utf8('onethree')));
  });

  it('message_hash stands for ClientHello1 with its length', () => {
    const transcript = new TranscriptHash('sha384');
    transcript.update(utf8('hello'));
    transcript.replaceByMessageHash();
    transcript.update(utf8('retry'));
    const synthetic = concatBytes(Uint8Array.of(254, 0, 0, 48), hash('sha384', utf8('hello')));
    expect(transcript.snapshot()).to.deep.equal(hash('sha384', synthetic, utf8('retry')));
  });
});
