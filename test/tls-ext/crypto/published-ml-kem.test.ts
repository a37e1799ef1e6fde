/** Published answers of ML-KEM, both sizes, through the function that the vectors' key agreement uses. Sources: test/vectors/README.md. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { fromHex, hexOf } from '../../../tls-ext/bytes/index.ts';
import { deterministicMlKem, type MlKemParameterSet } from '../../../tls-ext/crypto/ml-kem.ts';

interface Answers {
  readonly keyGen: readonly { set: MlKemParameterSet; d: string; z: string; encapsulationKey: string }[];
  readonly encaps: readonly {
    set: MlKemParameterSet;
    encapsulationKey: string;
    m: string;
    ciphertext: string;
    sharedSecret: string;
  }[];
  readonly decaps: readonly {
    set: MlKemParameterSet;
    d: string;
    z: string;
    m: string;
    encapsulationKey: string;
    ciphertext: string;
    sharedSecret: string;
    otherCiphertext: string;
    otherSecret: string;
  }[];
}

const answers = JSON.parse(readFileSync(new URL('../../vectors/ml-kem.json', import.meta.url), 'utf8')) as Answers;
const fromBase64 = (text: string) => Uint8Array.from(Buffer.from(text, 'base64'));
const digest = (bytes: Uint8Array) => createHash('shake256', { outputLength: 16 }).update(bytes).digest('hex');

/** With coins that are given, one for each draw. */
function kemOf(set: MlKemParameterSet, ...coins: readonly string[]) {
  const left = coins.map(fromHex);
  return deterministicMlKem(set, () => left.shift() as Uint8Array);
}

for (const set of ['ml-kem-768', 'ml-kem-1024'] as const) {
  describe(`published answers of ${set}`, () => {
    const own = <T extends { set: MlKemParameterSet }>(cases: readonly T[]) => {
      const chosen = cases.filter((one) => one.set === set);
      expect(chosen).not.to.have.length(0);
      return chosen;
    };

    it('key generation (NIST ACVP)', () => {
      for (const { d, z, encapsulationKey } of own(answers.keyGen)) {
        expect(digest(kemOf(set, d + z).generateKeyPair().encapsulationKey)).to.equal(encapsulationKey);
      }
    });

    it('encapsulation (NIST ACVP)', () => {
      for (const { encapsulationKey, m, ciphertext, sharedSecret } of own(answers.encaps)) {
        const made = kemOf(set, m).encapsulate(fromBase64(encapsulationKey));
        expect([digest(made.ciphertext), hexOf(made.sharedSecret.expose())]).to.deep.equal([ciphertext, sharedSecret]);
      }
    });

    it('decapsulation, and the secret that a ciphertext of nobody gets', () => {
      for (const { d, z, m, encapsulationKey, ciphertext, sharedSecret, ...other } of own(answers.decaps)) {
        const kem = kemOf(set, d + z, m);
        const pair = kem.generateKeyPair();
        expect(digest(pair.encapsulationKey)).to.equal(encapsulationKey);
        const made = kem.encapsulate(pair.encapsulationKey);
        expect(digest(made.ciphertext)).to.equal(ciphertext);
        expect(hexOf(pair.decapsulate(made.ciphertext).expose())).to.equal(sharedSecret);
        expect(hexOf(pair.decapsulate(fromBase64(other.otherCiphertext)).expose())).to.equal(other.otherSecret);
      }
    });
  });
}
