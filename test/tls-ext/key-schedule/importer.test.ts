import { expect } from 'chai';
import fc from 'fast-check';
import { DecodeError, fromHex, hexOf, SecretBytes, utf8 } from '../../../tls-ext/bytes/index.ts';
import {
  decodeImportedIdentity,
  EarlySecret,
  encodeImportedIdentity,
  importPsk,
  isImportedIdentity,
  TARGET_PROTOCOL_TLS13,
  targetKdfOf,
} from '../../../tls-ext/key-schedule/index.ts';

const externalKey = () => new SecretBytes(new Uint8Array(32).fill(0xab));
const kid1 = { externalIdentity: utf8('kid1'), context: utf8('ctx1') };

describe('RFC 9258 importer', () => {
  it('known answers, which agree with BoringSSL', () => {
    const sha256 = importPsk({ ...kid1, externalKey: externalKey() }, 'sha256');
    expect(hexOf(sha256.identity)).to.equal('00046b69643100046374783103040001');
    expect(hexOf(sha256.key.expose())).to.equal('964e6fc31db18c4af094050b028c474a822fa7463a858013f1852b2801906ad6');
    const sha384 = importPsk({ ...kid1, externalKey: externalKey() }, 'sha384');
    expect(hexOf(sha384.identity)).to.equal('00046b69643100046374783103040002');
    expect(hexOf(sha384.key.expose())).to.equal(
      '4ad628b48bb250a0d937f76be1a37ead1b7fd9bea252973bd40324d9adde93accf3031c7c8e4671a91e921fb2f73083b',
    );
  });

  it("an external PSK's own hash changes the key, not the identity", () => {
    const own = importPsk({ ...kid1, externalKey: externalKey(), importHash: 'sha384' }, 'sha384');
    const none = importPsk({ ...kid1, externalKey: externalKey() }, 'sha384');
    expect(own.identity).to.deep.equal(none.identity);
    expect(own.key.expose()).to.not.deep.equal(none.key.expose());
  });

  it('leaves the external key to its owner', () => {
    const key = externalKey();
    importPsk({ ...kid1, externalKey: key }, 'sha256').key.wipe();
    expect(key.expose()).to.deep.equal(new Uint8Array(32).fill(0xab));
  });

  it('each part of the input, and each target, makes another key', () => {
    const keys = [
      importPsk({ ...kid1, externalKey: externalKey() }, 'sha256'),
      importPsk({ ...kid1, externalIdentity: utf8('kid2'), externalKey: externalKey() }, 'sha256'),
      importPsk({ ...kid1, context: utf8('ctx2'), externalKey: externalKey() }, 'sha256'),
      importPsk({ externalIdentity: utf8('kid1c'), context: utf8('tx1'), externalKey: externalKey() }, 'sha256'),
      importPsk({ ...kid1, externalKey: new SecretBytes(new Uint8Array(32).fill(0xac)) }, 'sha256'),
      importPsk({ ...kid1, externalKey: externalKey() }, 'sha384'),
    ].map((psk) => hexOf(psk.key.expose().subarray(0, 32)));
    expect(new Set(keys).size).to.equal(keys.length);
  });

  it('an imported PSK has a binder key of its own', () => {
    const { key } = importPsk({ ...kid1, externalKey: externalKey() }, 'sha384');
    const early = EarlySecret.of('sha384', key);
    const binderKeys = (['imported', 'external', 'resumption'] as const).map((kind) =>
      hexOf(early.binderKey(kind).expose()),
    );
    expect(new Set(binderKeys).size).to.equal(3);
  });

  it('ImportedIdentity: round trip, every truncation and every trailing byte refused', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 60 }),
        fc.uint8Array({ maxLength: 60 }),
        fc.nat(0xffff),
        fc.nat(0xffff),
        (externalIdentity, context, targetProtocol, targetKdf) => {
          const identity = { externalIdentity, context, targetProtocol, targetKdf };
          const bytes = encodeImportedIdentity(identity);
          expect(decodeImportedIdentity(bytes)).to.deep.equal(identity);
          expect(isImportedIdentity(bytes)).to.equal(true);
          for (let length = 0; length < bytes.length; length++) {
            expect(() => decodeImportedIdentity(bytes.subarray(0, length))).to.throw(DecodeError);
          }
          expect(() => decodeImportedIdentity(Uint8Array.of(...bytes, 0))).to.throw(DecodeError);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('ImportedIdentity: an empty external_identity is neither written nor read', () => {
    const empty = { externalIdentity: new Uint8Array(0), context: utf8('c'), targetProtocol: 0x0304, targetKdf: 1 };
    expect(() => encodeImportedIdentity(empty)).to.throw(RangeError);
    expect(() => decodeImportedIdentity(fromHex('000000016303040001'))).to.throw(DecodeError);
  });

  it('knows the form of an ImportedIdentity exactly where it can be decoded', () => {
    const decodes = (bytes: Uint8Array) => {
      try {
        decodeImportedIdentity(bytes);
        return true;
      } catch {
        return false;
      }
    };
    // Lengths of 0 to 3 in both places, so that many of them fit.
    const small = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 16 });
    fc.assert(
      fc.property(small, fc.uint8Array({ maxLength: 20 }), (form, any) => {
        for (const bytes of [Uint8Array.from(form), any]) expect(isImportedIdentity(bytes)).to.equal(decodes(bytes));
      }),
      { seed: 9258, numRuns: 5_000, examples: [[[0, 1, 9, 0, 0, 3, 4, 0, 1], new Uint8Array(0)]] },
    );
  });

  it('target KDFs', () => {
    expect([targetKdfOf('sha256'), targetKdfOf('sha384'), TARGET_PROTOCOL_TLS13]).to.deep.equal([1, 2, 0x0304]);
  });
});
