import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { fromHex, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { hmac } from '../../../tls-ext/crypto/hmac.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('HMAC', () => {
  it('RFC 4231 cases 2 and 6, with SHA-256 and SHA-384', () => {
    const short = new SecretBytes(utf8('Jefe'));
    const parts = [utf8('what do ya want '), utf8('for nothing?')];
    expect(hmac('sha256', short, ...parts)).to.deep.equal(
      fromHex('5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'),
    );
    const long = new SecretBytes(new Uint8Array(131).fill(0xaa));
    expect(hmac('sha384', long, utf8('Test Using Larger Than Block-Size Key - Hash Key First'))).to.deep.equal(
      fromHex('4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952'),
    );
    expect(long.expose()).to.deep.equal(new Uint8Array(131).fill(0xaa));
  });

  it("is node's for keys and messages of every length, one after the other", () => {
    const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
    fc.assert(
      fc.property(
        fc.constantFrom('sha256' as const, 'sha384' as const),
        bytes(150),
        fc.array(bytes(600), { maxLength: 4 }),
        (name, key, parts) => {
          const expected = createHmac(name, key);
          for (const part of parts) expected.update(part);
          expect(hmac(name, key, ...parts)).to.deep.equal(new Uint8Array(expected.digest()));
        },
      ),
    );
  });
});
