import { expect } from 'chai';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import type { KeyAgreement } from '../../../tls-ext/crypto/groups.ts';
import { type HybridOrder, hybridKeyAgreement } from '../../../tls-ext/crypto/hybrid.ts';
import { type MlKem, mlKemLengths } from '../../../tls-ext/crypto/ml-kem.ts';

const { encapsulationKey, ciphertext } = mlKemLengths['ml-kem-768'];
const ORDERS: readonly HybridOrder[] = ['ml-kem-first', 'ec-first'];

/** Both parts give secrets that are kept to be looked at; the part that is named fails at the peer's share. */
function group(order: HybridOrder, fails: 'ec' | 'ml-kem' | 'none') {
  const secrets: SecretBytes[] = [];
  const give = (part: 'ec' | 'ml-kem'): SecretBytes => {
    if (fails === part) throw new Error(`${part} fails`);
    const secret = new SecretBytes(new Uint8Array(32).fill(7));
    secrets.push(secret);
    return secret;
  };
  const ec: KeyAgreement = {
    clientShareBytes: 32,
    serverShareBytes: 32,
    secretBytes: 32,
    generateKeyShare: () => ({ share: new Uint8Array(32), finish: () => give('ec'), wipe: () => {} }),
    respond: () => ({ share: new Uint8Array(32), secret: give('ec') }),
  };
  const mlKem: MlKem = {
    parameters: 'ml-kem-768',
    generateKeyPair: () => ({
      encapsulationKey: new Uint8Array(encapsulationKey),
      decapsulate: () => give('ml-kem'),
      wipe: () => {},
    }),
    encapsulate: () => ({ ciphertext: new Uint8Array(ciphertext), sharedSecret: give('ml-kem') }),
  };
  return { agreement: hybridKeyAgreement(mlKem, ec, order), secrets };
}

const clientShare = new Uint8Array(encapsulationKey + 32);
const serverShare = new Uint8Array(ciphertext + 32);

describe('hybrid key agreement: secrets of the parts', () => {
  for (const order of ORDERS) {
    it(`${order}: both are wiped once they are joined, on both sides`, () => {
      const { agreement, secrets } = group(order, 'none');
      expect(agreement.generateKeyShare().finish(serverShare).length).to.equal(64);
      expect(agreement.respond(clientShare).secret.length).to.equal(64);
      expect(secrets.map(({ wiped }) => wiped)).to.deep.equal([true, true, true, true]);
    });

    for (const fails of ['ec', 'ml-kem'] as const) {
      it(`${order}: none is left when the part of ${fails} fails, on either side`, () => {
        const madeBefore = { 'ml-kem-first': { ec: 1, 'ml-kem': 1 }, 'ec-first': { ec: 0, 'ml-kem': 2 } }[order][fails];
        const { agreement, secrets } = group(order, fails);
        expect(() => agreement.generateKeyShare().finish(serverShare)).to.throw(/fail/);
        expect(() => agreement.respond(clientShare)).to.throw(/fail/);
        expect(secrets.map(({ wiped }) => wiped)).to.deep.equal(Array(madeBefore).fill(true));
      });
    }
  }
});
