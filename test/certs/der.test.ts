import { expect } from 'chai';
import fc from 'fast-check';
import { DerError, DerReader, derNamedBits, derOid, derSmallInteger, derTimeMs } from '../../certs/der.ts';
import { isSaeId, saeIdFromUri, saeIdToUri } from '../../certs/index.ts';

const time = (tag: number, text: string) => derTimeMs({ tag, content: Buffer.from(text), raw: new Uint8Array(0) });

describe('certs: DER', () => {
  it('reads only minimal, definite lengths', () => {
    const read = (...bytes: number[]) => new DerReader(Uint8Array.from(bytes)).read().content.length;
    expect(read(0x04, 0x00)).to.equal(0);
    expect(read(0x04, 0x81, 0x80, ...new Array(128).fill(0))).to.equal(128);
    for (const bad of [
      [0x04],
      [0x04, 0x01],
      [0x04, 0x80, 0, 0],
      [0x04, 0x81, 0x01, 0],
      [0x04, 0x82, 0x00, 0x80],
      [0x1f, 0x20, 0],
    ]) {
      expect(() => read(...bad), bad.join()).to.throw(DerError);
    }
    expect(() => read(0x04, 0x84, 0, 0, 0, 1, 0)).to.throw(DerError);
  });

  it('reads OBJECT IDENTIFIERs as OpenSSL prints them', () => {
    const oid = (hex: string) => derOid(Buffer.from(hex, 'hex'));
    expect(oid('2a8648ce3d040302')).to.equal('1.2.840.10045.4.3.2');
    expect(oid('551d11')).to.equal('2.5.29.17');
    expect(oid('883703')).to.equal('2.999.3');
    for (const bad of ['', '80', '2a8001', '2a86', `2a${'ff'.repeat(8)}7f`, `2a${'01'.repeat(40)}`]) {
      expect(() => oid(bad), bad).to.throw(DerError);
    }
  });

  it('reads small INTEGERs and named bits in their one encoding', () => {
    expect(derSmallInteger(Uint8Array.of(0))).to.equal(0);
    expect(derSmallInteger(Uint8Array.of(0, 0x80))).to.equal(128);
    for (const bad of [[], [0x80], [0, 1], [1, 2, 3, 4, 5]]) {
      expect(() => derSmallInteger(Uint8Array.from(bad)), bad.join()).to.throw(DerError);
    }
    expect(derNamedBits(Uint8Array.of(7, 0x80))).to.equal(1);
    expect(derNamedBits(Uint8Array.of(2, 0x04))).to.equal(1 << 5);
    expect(derNamedBits(Uint8Array.of(7, 0x00, 0x80))).to.equal(1 << 8);
    for (const bad of [[], [8, 0], [1], [0, 0x80], [7, 0x81], [0, 1, 1, 1]]) {
      expect(() => derNamedBits(Uint8Array.from(bad)), bad.join()).to.throw(DerError);
    }
  });

  it('reads times in the profile of RFC 5280', () => {
    expect(time(0x17, '500101000000Z')).to.equal(Date.UTC(1950, 0, 1));
    expect(time(0x17, '491231235959Z')).to.equal(Date.UTC(2049, 11, 31, 23, 59, 59));
    expect(time(0x18, '20500101000000Z')).to.equal(Date.UTC(2050, 0, 1));
    expect(time(0x18, '99991231235959Z')).to.equal(Date.UTC(9999, 11, 31, 23, 59, 59));
    for (const bad of ['260230000000Z', '260101240000Z', '2601010000Z', '260101000000+0100', '26010100000 Z', '']) {
      expect(() => time(0x17, bad), bad).to.throw(DerError);
    }
    expect(() => time(0x18, '20260101000000.5Z')).to.throw(DerError);
    expect(() => time(0x04, '260101000000Z')).to.throw(DerError);
  });
});

describe('certs: SAE IDs', () => {
  it('go into a URI and back, in one spelling', () => {
    const saeId = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
      maxLength: 127,
    });
    fc.assert(fc.property(saeId, (rest) => saeIdFromUri(saeIdToUri(`a${rest}`)) === `a${rest}`));
    expect(saeIdToUri('lab:1/a b'.replace(' ', '%'))).to.equal('urn:qstunnel:sae:lab%3A1%2Fa%25b');
  });

  it('have a bounded syntax that is safe in a URL path', () => {
    for (const good of ['a', 'siteA', '9', 'a..', `a${'~'.repeat(127)}`]) expect(isSaeId(good), good).to.equal(true);
    for (const bad of ['', '.', '..', '/x', '-x', 'a b', 'a\n', 'ü', `a${'b'.repeat(128)}`]) {
      expect(isSaeId(bad), bad).to.equal(false);
      expect(() => saeIdToUri(bad)).to.throw(RangeError);
    }
  });

  it('are not read from other spellings or URIs', () => {
    const bad = [
      'siteA',
      'URN:qstunnel:sae:siteA',
      'urn:qstunnel:sae:',
      'urn:qstunnel:sae:a%2f',
      'urn:qstunnel:sae:%61',
    ];
    for (const uri of [...bad, 'urn:qstunnel:sae:a:b', 'urn:qstunnel:sae:a%', 'urn:qstunnel:sae:a%00']) {
      expect(saeIdFromUri(uri), uri).to.equal(undefined);
    }
  });
});
