import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { expect } from 'chai';
import { readPrivateKey } from '../../certs/identity.ts';
import {
  certificatesOfPem,
  createCa,
  issueLeaf,
  type KeyAlgorithm,
  keyNameOf,
  loadIdentity,
  loadTrust,
  validateChain,
} from '../../certs/index.ts';
import { mlDsaPrivateKey, mlDsaPublicKey } from '../../certs/ml-dsa.ts';
import { signingKeyFromPkcs8 } from '../../tls-ext/index.ts';

const nowMs = Date.now();
const hasNative = (() => {
  try {
    generateKeyPairSync('ml-dsa-44' as 'ed25519');
    return true;
  } catch {
    return false;
  }
})();

async function chainOf(caAlgorithm: KeyAlgorithm, leafAlgorithm: KeyAlgorithm) {
  const ca = await createCa({ commonName: 'CA', nowMs, algorithm: caAlgorithm });
  const leaf = await issueLeaf(ca, 'proxy', { commonName: 'a', saeIds: ['siteA'], nowMs, algorithm: leafAlgorithm });
  return { ca, leaf };
}

function verdictOf({ ca, leaf }: Awaited<ReturnType<typeof chainOf>>, chainDer = certificatesOfPem(leaf.certPem)) {
  return validateChain({ chainDer, trust: loadTrust(ca.certPem), nowMs, purpose: 'client' });
}

describe('certs: ML-DSA', () => {
  for (const algorithm of ['ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'] as const) {
    it(`issues, loads and believes a chain of ${algorithm}`, async () => {
      const chain = await chainOf(algorithm, algorithm);
      const verdict = verdictOf(chain);
      expect(verdict).to.have.property('ok', true);
      expect(verdict).to.have.deep.property('authentication', { algorithm, postQuantum: true });
      const identity = loadIdentity(chain.leaf.certPem, chain.leaf.keyPem);
      expect(keyNameOf(identity.leaf)).to.equal(algorithm);
      const key = signingKeyFromPkcs8(identity.privateKeyPkcs8);
      const content = new TextEncoder().encode('content');
      const signature = key.sign(key.signatureSchemes[0] as number, content);
      expect(mlDsaPublicKey(identity.leaf.publicKeySpki)?.verify(content, signature)).to.equal(true);
      expect(mlDsaPublicKey(identity.leaf.publicKeySpki)?.verify(content, signature.subarray(1))).to.equal(false);
    });
  }

  (hasNative ? it : it.skip)(
    hasNative ? 'agrees with OpenSSL on what it issued' : 'this runtime has no ML-DSA to compare with',
    async () => {
      const { ca, leaf } = await chainOf('ML-DSA-65', 'ML-DSA-65');
      const [caX509, leafX509] = [new X509Certificate(ca.certPem), new X509Certificate(leaf.certPem)];
      expect(leafX509.verify(caX509.publicKey)).to.equal(true);
      expect(leafX509.publicKey.asymmetricKeyType).to.equal('ml-dsa-65');
      const native = createPublicKey(leaf.keyPem).export({ format: 'der', type: 'spki' });
      expect(Buffer.from(readPrivateKey(leaf.keyPem).publicKeySpki).equals(native)).to.equal(true);
    },
  );

  it('calls a path post-quantum only if every key in it is', async () => {
    const rows: readonly (readonly [KeyAlgorithm, KeyAlgorithm, string])[] = [
      ['ECDSA P-256', 'ECDSA P-256', 'ECDSA P-256'],
      ['ECDSA P-256', 'ML-DSA-65', 'ML-DSA-65 under ECDSA P-256'],
      ['ML-DSA-65', 'ECDSA P-256', 'ECDSA P-256 under ML-DSA-65'],
    ];
    for (const [ca, leaf, algorithm] of rows) {
      const verdict = verdictOf(await chainOf(ca, leaf));
      expect(verdict).to.have.deep.property('authentication', { algorithm, postQuantum: false });
    }
  });

  it('believes no signature that was changed, and none of another parameter set', async () => {
    const chain = await chainOf('ML-DSA-44', 'ML-DSA-44');
    const [der] = certificatesOfPem(chain.leaf.certPem) as [Uint8Array];
    const changed = Uint8Array.from(der);
    changed[changed.length - 100] = (changed[changed.length - 100] as number) ^ 1;
    expect(verdictOf(chain, [changed])).to.include({ ok: false, reason: 'bad-signature' });
    const other = await chainOf('ML-DSA-65', 'ML-DSA-65');
    const wrongCa = { ca: other.ca, leaf: chain.leaf };
    expect(verdictOf(wrongCa).ok).to.equal(false);
  });

  it('refuses a key that belongs to another certificate', async () => {
    const [a, b] = [await chainOf('ML-DSA-44', 'ML-DSA-44'), await chainOf('ML-DSA-44', 'ML-DSA-44')];
    expect(() => loadIdentity(a.leaf.certPem, b.leaf.keyPem))
      .to.throw()
      .with.property('code', 'ERR_CERT_KEY_MISMATCH');
  });

  describe('private keys of RFC 9881', () => {
    const seed = Uint8Array.from({ length: 32 }, (_, i) => i);
    const { secretKey, publicKey } = ml_dsa44.keygen(seed);
    const pkcs8 = (key: Uint8Array) =>
      der(0x30, Uint8Array.of(2, 1, 0), der(0x30, Buffer.from('0609608648016503040311', 'hex')), der(0x04, key));
    const forms = {
      'the seed': der(0x80, seed),
      'the expanded key': der(0x04, secretKey),
      both: der(0x30, der(0x04, seed), der(0x04, secretKey)),
    };
    for (const [name, form] of Object.entries(forms)) {
      it(`are read as ${name}`, () => {
        const key = mlDsaPrivateKey(pkcs8(form));
        expect(
          Buffer.from(key?.publicKeySpki ?? [])
            .subarray(-1312)
            .equals(publicKey),
        ).to.equal(true);
        const content = Uint8Array.of(1, 2, 3);
        const signature = key?.sign(content) as Uint8Array;
        expect(ml_dsa44.verify(signature, content, publicKey)).to.equal(true);
      });
    }

    it('are refused when the two halves disagree, or a length is wrong', () => {
      const otherSeed = Uint8Array.from(seed).fill(9);
      const broken = [
        der(0x30, der(0x04, otherSeed), der(0x04, secretKey)),
        der(0x80, seed.subarray(1)),
        der(0x04, secretKey.subarray(1)),
        der(0x05),
      ];
      for (const form of broken) {
        const pem = `-----BEGIN PRIVATE KEY-----\n${Buffer.from(pkcs8(form)).toString('base64')}\n-----END PRIVATE KEY-----\n`;
        expect(() => readPrivateKey(pem))
          .to.throw()
          .with.property('code', 'ERR_CERT_KEY');
      }
    });
  });
});

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  const { length } = content;
  return Buffer.concat([
    length < 128 ? Buffer.of(tag, length) : Buffer.of(tag, 0x82, length >> 8, length & 255),
    content,
  ]);
}
