import { expect } from 'chai';
import fc from 'fast-check';
import { parseSkipCapabilities, parseSkipEntropy, parseSkipKey } from '../../../kdi-client/wire/index.ts';
import { DecodeError } from '../../../tls-ext/bytes/index.ts';

// JSON typed by hand after draft-cisco-skip-02.
const CAPABILITIES = `{
  "entropy": true,
  "key": true,
  "algorithm": "QKD",
  "localSystemID": "alice",
  "remoteSystemID": [ "bob", "KP_QKD_*" , "site[0-9]" ]
}`;
const KEY = `{
  "keyId": "1726e9aa76234fa0b1e3a0c5fc4e6f3d",
  "key": "ad229dfffe13b9d4b1c7f3ee13ac3c9a0b1d7c5e9f60718293a4b5c6d7e8f901"
}`;
const ENTROPY = '{ "randomStr": "ad229dff", "minentropy": 32 }';

describe('kdi-client/wire/skip: messages', () => {
  it('the three of the draft', () => {
    expect(parseSkipCapabilities(JSON.parse(CAPABILITIES))).to.deep.equal(JSON.parse(CAPABILITIES));
    expect(parseSkipKey(JSON.parse(KEY))).to.deep.equal(JSON.parse(KEY));
    expect(parseSkipEntropy(JSON.parse(ENTROPY))).to.deep.equal(JSON.parse(ENTROPY));
  });

  it('refuses other types, lengths and digits', () => {
    const capabilities = JSON.parse(CAPABILITIES) as Record<string, unknown>;
    for (const [field, value] of [
      ['entropy', 'true'],
      ['key', 1],
      ['algorithm', 'x'.repeat(129)],
      ['localSystemID', undefined],
      ['remoteSystemID', 'bob'],
      ['remoteSystemID', [7]],
      ['remoteSystemID', Array.from({ length: 1025 }, () => 'x')],
    ] as const) {
      expect(() => parseSkipCapabilities({ ...capabilities, [field]: value }), field).to.throw(DecodeError, field);
    }
    const key = JSON.parse(KEY) as Record<string, unknown>;
    for (const [field, value] of [
      ['keyId', ''],
      ['keyId', 'abc'],
      ['keyId', 'ab'.repeat(65)],
      ['key', 'xy'.repeat(32)],
      ['key', 'ab'.repeat(4097)],
      ['key', ' ab'],
    ] as const) {
      expect(() => parseSkipKey({ ...key, [field]: value }), `${field} ${value}`).to.throw(DecodeError, field);
    }
    for (const minentropy of [-1, 1.5, '32', 2 ** 60]) {
      expect(() => parseSkipEntropy({ randomStr: 'ab', minentropy }), String(minentropy)).to.throw(DecodeError);
    }
  });

  it('no value makes a parser throw anything but DecodeError', () => {
    fc.assert(
      fc.property(fc.anything(), (hostile) => {
        for (const parse of [parseSkipCapabilities, parseSkipKey, parseSkipEntropy]) {
          try {
            parse(hostile);
          } catch (error) {
            expect(error).to.be.instanceOf(DecodeError);
          }
        }
      }),
    );
  });
});
