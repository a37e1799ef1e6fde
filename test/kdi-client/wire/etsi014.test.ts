import { expect } from 'chai';
import fc from 'fast-check';
import {
  bytesOfUuid,
  type Etsi014KeyContainer,
  MAX_KEYS_PER_CONTAINER,
  parseEtsi014Error,
  parseEtsi014KeyContainer,
  parseEtsi014KeyIds,
  parseEtsi014KeyRequest,
  parseEtsi014Status,
  uuidOfBytes,
} from '../../../kdi-client/wire/index.ts';
import { DecodeError, hexOf } from '../../../tls-ext/bytes/index.ts';

/*
 * JSON as in the examples of GS QKD 014 V1.1.1, clauses 5 and 6, typed by hand
 * as text: what a KME would really send.
 */
const STATUS = `{
  "source_KME_ID": "AAAABBBBCCCCDDDD",
  "target_KME_ID": "EEEEFFFFGGGGHHHH",
  "master_SAE_ID": "IIIIJJJJKKKKLLLL",
  "slave_SAE_ID": "MMMMNNNNOOOOPPPP",
  "key_size": 352,
  "stored_key_count": 25000,
  "max_key_count": 100000,
  "max_key_per_request": 128,
  "max_key_size": 1024,
  "min_key_size": 64,
  "max_SAE_ID_count": 0
}`;
const REQUEST = '{ "number": 20, "size": 512 }';
const MULTICAST = `{
  "number": 1,
  "size": 32,
  "additional_slave_SAE_IDs": [ "ABCDEFG", "HIJKLMN" ]
}`;
const EXTENDED = `{
  "number": 20,
  "size": 128,
  "extension_mandatory": [ { "abc_route_type": "direct" }, { "abc_transfer_method": "qkd" } ],
  "extension_optional": [ { "abc_max_age": 30000 } ]
}`;
const CONTAINER = `{
  "keys": [
    { "key_ID": "bc490419-7d60-487f-adc1-4ddcc177c139", "key": "wHHVxRwDJs3/bXd38GHP3oe4svTuRpZS0yCC7x4Ly+s=" },
    { "key_ID": "0a782fb5-3434-48fe-aa4d-14f41d46cf92", "key": "OeGMPxh1+2RpJpNCYixWHFLYRubpOKCw94FcCI7VdJA=" }
  ]
}`;
const KEY_IDS = `{
  "key_IDs": [
    { "key_ID": "bc490419-7d60-487f-adc1-4ddcc177c139" },
    { "key_ID": "0a782fb5-3434-48fe-aa4d-14f41d46cf92" }
  ]
}`;
const ERROR = `{
  "message": "not all extension_mandatory parameters are supported",
  "details": [ { "extension_mandatory_unsupported": "abc_route_type is not supported" } ]
}`;

describe('kdi-client/wire/etsi014: the examples of the standard', () => {
  const same = (parse: (value: unknown) => unknown, text: string) =>
    expect(parse(JSON.parse(text))).to.deep.equal(JSON.parse(text));

  it('status', () => same(parseEtsi014Status, STATUS));
  it('key request', () => same(parseEtsi014KeyRequest, REQUEST));
  it('key request to several slaves', () => same(parseEtsi014KeyRequest, MULTICAST));
  it('key request with extensions', () => same(parseEtsi014KeyRequest, EXTENDED));
  it('an empty key request', () => same(parseEtsi014KeyRequest, '{}'));
  it('key container', () => same(parseEtsi014KeyContainer, CONTAINER));
  it('key IDs', () => same(parseEtsi014KeyIds, KEY_IDS));
  it('error', () => same(parseEtsi014Error, ERROR));
  it('error without details', () => same(parseEtsi014Error, '{"message":"size shall be a multiple of 8"}'));
  it('extensions wherever the standard allows one', () => {
    same(parseEtsi014Status, STATUS.replace('\n}', ', "status_extension": { "a": 1 }\n}'));
    same(
      parseEtsi014KeyContainer,
      `{"keys":[{"key_ID":"bc490419-7d60-487f-adc1-4ddcc177c139","key_ID_extension":{"a":1},
        "key":"AQEB","key_extension":{"b":{}}}],"key_container_extension":{"c":[1]}}`,
    );
    same(
      parseEtsi014KeyIds,
      `{"key_IDs":[{"key_ID":"bc490419-7d60-487f-adc1-4ddcc177c139","key_ID_extension":{"a":1}}],
        "key_IDs_extension":{"b":2}}`,
    );
  });

  it('a key_ID is 16 bytes, written in either case', () => {
    expect(hexOf(bytesOfUuid('BC490419-7D60-487F-ADC1-4DDCC177C139'))).to.equal('bc4904197d60487fadc14ddcc177c139');
    expect(uuidOfBytes(bytesOfUuid('bc490419-7d60-487f-adc1-4ddcc177c139'))).to.equal(
      'bc490419-7d60-487f-adc1-4ddcc177c139',
    );
    expect(() => uuidOfBytes(new Uint8Array(15))).to.throw(RangeError);
  });
});

describe('kdi-client/wire/etsi014: bounds', () => {
  it('more keys than a container may have, a key that is too long, IDs that are none', () => {
    const key = { key_ID: 'bc490419-7d60-487f-adc1-4ddcc177c139', key: 'AQEB' };
    const full = { keys: Array.from({ length: MAX_KEYS_PER_CONTAINER }, () => key) };
    expect(parseEtsi014KeyContainer(full).keys).to.have.length(MAX_KEYS_PER_CONTAINER);
    for (const container of [
      { keys: [...full.keys, key] },
      { keys: [{ ...key, key: 'AAAA'.repeat(2_000) }] },
      { keys: [{ ...key, key_ID: '{bc490419-7d60-487f-adc1-4ddcc177c139}' }] },
      { keys: [{ ...key, key_ID: 7 }] },
      { keys: [{ ...key, key: 'AQ=B' }] },
      { keys: [{ ...key, key_extension: [] }] },
      { keys: { length: 1, 0: key } },
    ]) {
      expect(() => parseEtsi014KeyContainer(container)).to.throw(DecodeError);
    }
  });

  it('no value makes a parser throw anything but DecodeError', () => {
    const field = fc.constantFrom(
      'keys',
      'key_ID',
      'key',
      'key_IDs',
      'message',
      'details',
      'number',
      'size',
      'key_size',
    );
    const value = fc.oneof(
      fc.anything(),
      fc.dictionary(field, fc.anything()),
      fc.record({ keys: fc.array(fc.dictionary(field, fc.anything())) }),
    );
    fc.assert(
      fc.property(value, (hostile) => {
        for (const parse of [
          parseEtsi014Status,
          parseEtsi014KeyRequest,
          parseEtsi014KeyContainer,
          parseEtsi014KeyIds,
          parseEtsi014Error,
        ]) {
          try {
            parse(hostile);
          } catch (error) {
            expect(error).to.be.instanceOf(DecodeError);
          }
        }
      }),
    );
  });

  it('what one side writes the other reads', () => {
    const uuid = fc.uuid();
    const extension = fc.option(fc.dictionary(fc.string(), fc.jsonValue()), { nil: undefined });
    const key = fc
      .tuple(uuid, fc.uint8Array({ maxLength: 100 }), extension, extension)
      .map(([key_ID, bytes, idExtension, keyExtension]) => ({
        key_ID,
        key: Buffer.from(bytes).toString('base64'),
        ...(idExtension === undefined ? {} : { key_ID_extension: idExtension }),
        ...(keyExtension === undefined ? {} : { key_extension: keyExtension }),
      }));
    fc.assert(
      fc.property(fc.array(key, { maxLength: 10 }), (keys) => {
        const container = JSON.parse(JSON.stringify({ keys })) as Etsi014KeyContainer;
        expect(parseEtsi014KeyContainer(container)).to.deep.equal(container);
      }),
    );
  });
});
