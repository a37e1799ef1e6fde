import { expect } from 'chai';
import { accumulatedMlKem } from './accumulated-ml-kem.ts';

describe('ML-KEM as wired, at length', () => {
  it("ML-KEM-768: 10,000 accumulated vectors of Go's crypto/mlkem", () => {
    expect(accumulatedMlKem('ml-kem-768', 10_000)).to.equal(
      '8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc',
    );
  });
});
