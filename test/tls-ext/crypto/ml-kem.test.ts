import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { fromHex, hexOf } from '../../../tls-ext/bytes/index.ts';
import { deterministicMlKem, mlKemLengths } from '../../../tls-ext/crypto/ml-kem.ts';
import { accumulatedMlKem } from './accumulated-ml-kem.ts';

describe('ML-KEM as wired (FIPS 203)', () => {
  it("ML-KEM-768: 100 accumulated vectors of Go's crypto/mlkem", () => {
    expect(accumulatedMlKem('ml-kem-768', 100)).to.equal(
      '1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415',
    );
  });

  it('ML-KEM-768: an "unlucky" key of C2SP/CCTV, whose matrix needs many reads', () => {
    const coins = [
      '82c4a361586b9715c2375a45fb85c32d04be7fe6e26acd820ec5d4080093afe18476013560151d986dc7834dcb57c75f845f8d7ee71558d0955f3f4feb723cf2',
      'e48f74ad416e99631003ded1478aec62a02c245d88ed7f2fae92aedf13ca03b3',
    ].map(fromHex);
    const kem = deterministicMlKem('ml-kem-768', () => coins.shift() as Uint8Array);
    const pair = kem.generateKeyPair();
    const { ciphertext, sharedSecret } = kem.encapsulate(pair.encapsulationKey);
    expect(hexOf(pair.encapsulationKey).slice(0, 64)).to.equal(
      'ad568015b87690ebbe1fb438ee8a22b9ac4379a12422e34037c231341c316bc0',
    );
    expect(hexOf(ciphertext).slice(0, 64)).to.equal('696ef1699d5ac2aa9a012a64c60c6c214dcedec75ff87fb3a5850044202a790b');
    expect(hexOf(sharedSecret.expose())).to.equal('4f7cc64c040fc4e335a539691f4638caf8b1bf5da6455754afe699e41813801b');
    expect(pair.decapsulate(ciphertext).expose()).to.deep.equal(sharedSecret.expose());
  });

  it('the coins are wiped after use', () => {
    const drawn: Uint8Array[] = [];
    const kem = deterministicMlKem('ml-kem-1024', (length) => {
      const coins = new Uint8Array(createHash('shake128', { outputLength: length }).digest());
      drawn.push(coins);
      return coins;
    });
    const pair = kem.generateKeyPair();
    const { ciphertext } = kem.encapsulate(pair.encapsulationKey);
    expect([pair.encapsulationKey.length, ciphertext.length]).to.deep.equal([
      mlKemLengths['ml-kem-1024'].encapsulationKey,
      mlKemLengths['ml-kem-1024'].ciphertext,
    ]);
    expect(drawn.map((coins) => coins.every((byte) => byte === 0))).to.deep.equal([true, true]);
    pair.wipe();
    expect(() => pair.decapsulate(ciphertext)).to.throw('wipe');
  });
});
