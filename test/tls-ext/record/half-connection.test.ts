import { expect } from 'chai';
import type { TrafficKeys } from '../../../tls-ext/key-schedule/index.ts';
import { detach, OpeningHalf, SealingHalf } from '../../../tls-ext/record/half-connection.ts';
import { TlsError, TlsMisuseError } from '../../../tls-ext/tls-error.ts';
import { innerOf, keysOf, patterned, sealRaw } from './record-fixtures.ts';

class LateSealingHalf extends SealingHalf {
  constructor(keys: TrafficKeys, sequence: number) {
    super(keys);
    this.sequence = sequence;
  }
}

class LateOpeningHalf extends OpeningHalf {
  constructor(keys: TrafficKeys, sequence: number) {
    super(keys);
    this.sequence = sequence;
  }
}

const inner = innerOf(patterned(20), 23);
const unlimited = () => {
  const keys = keysOf(0);
  const aead = { ...keys.suite.aead, sealLimitRecords: Number.MAX_SAFE_INTEGER };
  return { ...keys, suite: { ...keys.suite, aead } };
};

describe('half-connection', () => {
  it('the nonce holds the whole sequence number, across every byte that it grows by', () => {
    for (const edge of [2 ** 8, 2 ** 16, 2 ** 24, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 48 - 2]) {
      const sealing = new LateSealingHalf(unlimited(), edge - 1);
      const opening = new LateOpeningHalf(unlimited(), edge - 1);
      for (const sequence of [edge - 1, edge, edge + 1]) {
        const target = new Uint8Array(5 + inner.length + 16);
        expect(sealing.sealRecord(inner, target, 0)).to.equal(target.length);
        expect(target, `${sequence}`).to.deep.equal(sealRaw(0, sequence, inner));
        expect(Uint8Array.from(opening.openRecord(target, 5, target.length))).to.deep.equal(inner);
      }
      expect([sealing.recordCount, opening.recordCount]).to.deep.equal([edge + 2, edge + 2]);
    }
  });

  it('a record that fails does not count', () => {
    const opening = new OpeningHalf(keysOf(0));
    const good = sealRaw(0, 0, inner);
    const bad = good.slice();
    bad[bad.length - 1] = (bad[bad.length - 1] as number) ^ 1;
    expect(() => opening.openRecord(bad, 5, bad.length)).to.throw(TlsError);
    expect(opening.recordCount).to.equal(0);
    expect(Uint8Array.from(opening.openRecord(good, 5, good.length))).to.deep.equal(inner);
  });

  it('is of no use after wipe', () => {
    const sealing = new SealingHalf(keysOf(0));
    const opening = new OpeningHalf(keysOf(0));
    sealing.wipe();
    opening.wipe();
    expect(() => sealing.sealRecord(inner, new Uint8Array(100), 0)).to.throw(TlsMisuseError);
    expect(() => opening.openRecord(sealRaw(0, 0, inner), 5, 5 + inner.length + 16)).to.throw(TlsMisuseError);
  });

  it('wipe leaves nothing of the IV', () => {
    for (const half of [new SealingHalf(keysOf(0)), new OpeningHalf(keysOf(0))]) {
      const { nonce } = half as unknown as { readonly nonce: { readonly bytes: Uint8Array } };
      expect(nonce.bytes.some((byte) => byte !== 0)).to.equal(true);
      half.wipe();
      expect(nonce.bytes).to.deep.equal(new Uint8Array(12));
    }
  });

  it('detaches large outputs of their own memory, where the runtime can, and no others', () => {
    const detaches = 'transfer' in ArrayBuffer.prototype;
    const lengthAfter = (output: Uint8Array) => {
      detach(output);
      return output.length;
    };
    expect(lengthAfter(new Uint8Array(1_024))).to.equal(detaches ? 0 : 1_024);
    expect(lengthAfter(new Uint8Array(1_023))).to.equal(1_023);
    expect(lengthAfter(new Uint8Array(5_000).subarray(0, 4_000))).to.equal(4_000);
  });
});
