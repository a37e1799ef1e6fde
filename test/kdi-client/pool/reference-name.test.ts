import { expect } from 'chai';
import fc from 'fast-check';
import { type QkdKeyReference, referenceText } from '../../../kdi-client/index.ts';
import { isOfStream, referenceName, referenceOfName } from '../../../kdi-client/pool/reference-name.ts';

const id = fc.uint8Array({ minLength: 1, maxLength: 64 });
const ksid = fc.uint8Array({ minLength: 16, maxLength: 16 });
const reference: fc.Arbitrary<QkdKeyReference> = fc.oneof(
  fc.record({
    api: fc.constant('etsi004' as const),
    drawer: fc.constant('siteA'),
    ksid,
    index: fc.integer({ min: 0, max: 0xffff_ffff }),
    slice: fc.integer({ min: 0, max: 0xffff }),
  }),
  fc.record({ api: fc.constant('etsi014' as const), drawer: fc.constant('siteA'), keyId: id }),
  fc.record({ api: fc.constant('skip' as const), drawer: fc.constant('siteA'), keyId: id }),
);

describe('kdi-client/pool/reference-name', () => {
  it('leads back to the reference', () => {
    fc.assert(
      fc.property(reference, (one) => {
        expect(referenceOfName(referenceName(one), 'siteA')).to.deep.equal(one);
      }),
    );
  });

  it('is equal exactly for equal references', () => {
    fc.assert(
      fc.property(reference, reference, (one, other) => {
        expect(referenceName(one) === referenceName(other)).to.equal(referenceText(one) === referenceText(other));
      }),
    );
  });

  it('tells whose stream it is', () => {
    fc.assert(
      fc.property(reference, ksid, (one, other) => {
        const own = one.api === 'etsi004' ? one.ksid : other;
        expect(isOfStream(referenceName(one), own)).to.equal(one.api === 'etsi004');
        if (one.api === 'etsi004') {
          expect(isOfStream(referenceName(one), other)).to.equal(Buffer.compare(one.ksid, other) === 0);
        }
      }),
    );
  });
});
