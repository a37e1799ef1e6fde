import { expect } from 'chai';
import fc from 'fast-check';
import { MAX_JSON_DEPTH, MAX_JSON_VALUES, parseStrictJson } from '../../../kdi-client/wire/index.ts';
import { DecodeError, utf8 } from '../../../tls-ext/bytes/index.ts';

const parse = (text: string): unknown => parseStrictJson(utf8(text));
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('kdi-client/wire/strict-json', () => {
  it('reads what JSON.parse reads, as it reads it', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(undefined, 2), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), undefined, indent);
        expect(parse(spaced)).to.deep.equal(JSON.parse(spaced));
      }),
    );
  });

  it('refuses what JSON.parse refuses, with one kind of error', () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.nat(),
        fc.constantFrom('', '"', '{', '}', '[', ']', ',', ':', '\\', '\u0000'),
        (text, seed, junk) => {
          const at = seed % (text.length + 1);
          const broken = text.slice(0, at) + junk + text.slice(at + (junk === '' ? 1 : 0));
          let expected: unknown;
          try {
            expected = JSON.parse(broken);
          } catch {
            expect(() => parse(broken), broken).to.throw(DecodeError);
            return;
          }
          // A name may have become a second one.
          try {
            expect(parse(broken)).to.deep.equal(expected);
          } catch (error) {
            expect(error, broken).to.be.instanceOf(DecodeError);
            expect((error as Error).message).to.match(/twice/);
          }
        },
      ),
    );
  });

  it('bounds the depth, exactly', () => {
    expect(parse(nested(MAX_JSON_DEPTH))).to.be.an('array');
    expect(() => parse(nested(MAX_JSON_DEPTH + 1))).to.throw(DecodeError, /deeper than 16/);
    expect(() => parse('{"a":'.repeat(1_000_000))).to.throw(DecodeError, /deeper/);
    expect(parse(`{"a":"${'['.repeat(100)}"}`), 'brackets in a string are none').to.be.an('object');
  });

  it('bounds the number of values', () => {
    const array = (count: number): string => `[${'0,'.repeat(count - 1)}0]`;
    expect(parse(array(MAX_JSON_VALUES - 1))).to.have.length(MAX_JSON_VALUES - 1);
    expect(() => parse(array(MAX_JSON_VALUES + 1))).to.throw(DecodeError, /more than/);
  });

  it('refuses a name twice in one object, however it is written, and only there', () => {
    for (const text of [
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '[{"x":{"b":[],"b":{}}}]',
      '{"":1,"":2}',
      '{"é":1,"\\u00e9":2}',
    ]) {
      expect(() => parse(text), text).to.throw(DecodeError, /twice/);
    }
    for (const text of [
      '[{"a":1},{"a":2}]',
      '{"a":{"a":{"a":1}}}',
      '{"a":"a","b":"a"}',
      '["a","a"]',
      '{"a\\"":1,"a":2}',
    ]) {
      expect(parse(text), text).to.deep.equal(JSON.parse(text));
    }
  });

  it('a field named __proto__ is a field', () => {
    const parsed = parse('{"__proto__":{"polluted":true},"b":1}') as Record<string, unknown>;
    expect(Object.getPrototypeOf(parsed)).to.equal(Object.prototype);
    expect(({} as Record<string, unknown>).polluted).to.equal(undefined);
  });

  it('refuses what is no UTF-8, and never quotes what it read', () => {
    expect(() => parseStrictJson(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).to.throw(DecodeError, 'not UTF-8');
    for (const text of ['"secret', '{"secret":1,"secret":2}', 'secret', '{"k":"secret"']) {
      try {
        parse(text);
        expect.fail('accepted');
      } catch (error) {
        expect((error as Error).message).to.not.contain('secret');
        expect((error as Error).cause).to.equal(undefined);
      }
    }
  });
});
