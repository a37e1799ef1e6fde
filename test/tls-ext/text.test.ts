import { expect } from 'chai';
import fc from 'fast-check';
import { fromHex, hexOf, utf8 } from '../../tls-ext/bytes/index.ts';

describe('tls-ext/bytes: text', () => {
  it('hex is what Buffer makes of it, both ways and in both cases', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const hex = Buffer.from(bytes).toString('hex');
        expect(hexOf(bytes)).to.equal(hex);
        expect([...fromHex(hex)]).to.deep.equal([...bytes]);
        expect([...fromHex(hex.toUpperCase())]).to.deep.equal([...bytes]);
      }),
    );
  });

  it('takes the digits and nothing beside them for hex', () => {
    for (let code = 0; code < 0x200; code++) {
      const character = String.fromCharCode(code);
      const isDigit = /^[0-9a-f]$/i.test(character);
      for (const text of [`${character}0`, `0${character}`]) {
        if (isDigit) expect(fromHex(text)).to.have.length(1);
        else expect(() => fromHex(text), `character ${code}`).to.throw(RangeError);
      }
    }
    for (const text of ['0', '00 ', ' 00', '0x00', '00\n']) expect(() => fromHex(text), text).to.throw(RangeError);
    expect(fromHex('')).to.have.length(0);
  });

  it('UTF-8 is what Buffer makes of it, whatever the length', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 100 }), fc.string({ unit: 'grapheme', maxLength: 100 })), (text) => {
        expect([...utf8(text)]).to.deep.equal([...Buffer.from(text, 'utf8')]);
      }),
    );
    for (const text of [
      'é',
      '\u0080',
      '\u007f',
      '€'.repeat(70),
      'a'.repeat(64),
      'a'.repeat(65),
      `${'a'.repeat(63)}ü`,
    ]) {
      expect([...utf8(text)], text).to.deep.equal([...Buffer.from(text, 'utf8')]);
    }
  });
});
