import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign as nodeSign } from 'node:crypto';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { expect } from 'chai';
import { Alert } from '../../../tls-ext/alert.ts';
import { concatBytes, fromHex, hexOf, utf8 } from '../../../tls-ext/bytes/index.ts';
import { hasNativeMlDsa, mlDsaSigner, mlDsaVerify } from '../../../tls-ext/crypto/ml-dsa.ts';
import {
  type MlDsaParameterSet,
  SignatureScheme,
  signatureSchemes,
} from '../../../tls-ext/crypto/signature-schemes.ts';
import {
  expectSchemeFitsKey,
  signingKeyFromPkcs8,
  signingKeyOf,
  verifySignature,
} from '../../../tls-ext/crypto/signatures.ts';
import { TlsError, TlsMisuseError } from '../../../tls-ext/tls-error.ts';

const content = utf8('TLS 1.3, server CertificateVerify and a hash');

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const spkiOf = (pair: Pair): Uint8Array => Uint8Array.from(pair.publicKey.export({ format: 'der', type: 'spki' }));
const pkcs8Of = (pair: Pair): Uint8Array => Uint8Array.from(pair.privateKey.export({ format: 'der', type: 'pkcs8' }));

const pairs: Readonly<Record<string, Pair>> = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  'P-384': generateKeyPairSync('ec', { namedCurve: 'secp384r1' }),
  Ed25519: generateKeyPairSync('ed25519'),
  RSA: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'RSA-PSS': generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
};

const schemesOfKey: Readonly<Record<string, readonly SignatureScheme[]>> = {
  'P-256': [SignatureScheme.ecdsaSecp256r1Sha256],
  'P-384': [SignatureScheme.ecdsaSecp384r1Sha384],
  Ed25519: [SignatureScheme.ed25519],
  RSA: [SignatureScheme.rsaPssRsaeSha256, SignatureScheme.rsaPssRsaeSha384, SignatureScheme.rsaPssRsaeSha512],
  'RSA-PSS': [SignatureScheme.rsaPssPssSha256, SignatureScheme.rsaPssPssSha384, SignatureScheme.rsaPssPssSha512],
};

function alertOf(action: () => unknown): Alert | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof TlsError) return error.alert;
    throw error;
  }
  return undefined;
}

/** SubjectPublicKeyInfo and PKCS #8 of ML-DSA (RFC 9881), put together by hand: Node 20 can't. */
function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...parts);
  const length =
    body.length < 0x80
      ? Uint8Array.of(body.length)
      : body.length < 0x100
        ? Uint8Array.of(0x81, body.length)
        : Uint8Array.of(0x82, body.length >> 8, body.length & 0xff);
  return concatBytes(Uint8Array.of(tag), length, body);
}

const mlDsa = [
  { parameters: 'ml-dsa-44', scheme: SignatureScheme.mlDsa44, oid: '608648016503040311', noble: ml_dsa44 },
  { parameters: 'ml-dsa-65', scheme: SignatureScheme.mlDsa65, oid: '608648016503040312', noble: ml_dsa65 },
  { parameters: 'ml-dsa-87', scheme: SignatureScheme.mlDsa87, oid: '608648016503040313', noble: ml_dsa87 },
] as const;

function mlDsaKeys(entry: (typeof mlDsa)[number], seed: Uint8Array) {
  const { publicKey, secretKey } = entry.noble.keygen(seed);
  const algorithm = der(0x30, der(0x06, fromHex(entry.oid)));
  const pkcs8 = (privateKey: Uint8Array) => der(0x30, der(0x02, Uint8Array.of(0)), algorithm, der(0x04, privateKey));
  return {
    publicKey,
    spki: der(0x30, algorithm, der(0x03, Uint8Array.of(0), publicKey)),
    forms: {
      seed: pkcs8(der(0x80, seed)),
      expanded: pkcs8(der(0x04, secretKey)),
      both: pkcs8(der(0x30, der(0x04, seed), der(0x04, secretKey))),
    },
    pkcs8,
  };
}

describe('signatures', () => {
  for (const [name, pair] of Object.entries(pairs)) {
    describe(name, () => {
      const key = signingKeyOf(pair.privateKey);
      const spki = spkiOf(pair);

      it('makes exactly its schemes', () => {
        expect(key.signatureSchemes).to.deep.equal(schemesOfKey[name]);
        expect(signingKeyFromPkcs8(pkcs8Of(pair)).signatureSchemes).to.deep.equal(schemesOfKey[name]);
      });

      it('verifies what it signs, and nothing else', () => {
        for (const scheme of key.signatureSchemes) {
          const signature = key.sign(scheme, content);
          expect(verifySignature(scheme, spki, content, signature), scheme.toString(16)).to.equal(true);
          expect(verifySignature(scheme, spki, utf8('other'), signature)).to.equal(false);
          const changed = signature.slice();
          changed[signature.length - 1] = (changed[signature.length - 1] as number) ^ 1;
          expect(verifySignature(scheme, spki, content, changed)).to.equal(false);
          for (const garbage of [new Uint8Array(0), signature.subarray(1), concatBytes(signature, Uint8Array.of(0))]) {
            expect(verifySignature(scheme, spki, content, garbage)).to.equal(false);
          }
        }
      });

      it('a scheme that does not fit is illegal_parameter from a peer, and misuse from us', () => {
        for (const { codePoint } of signatureSchemes) {
          if (key.signatureSchemes.includes(codePoint)) continue;
          expect(alertOf(() => verifySignature(codePoint, spki, content, new Uint8Array(64)))).to.equal(
            Alert.illegalParameter,
          );
          expect(() => key.sign(codePoint, content)).to.throw(TlsMisuseError);
        }
        // rsa_pkcs1_sha256 and ecdsa_sha1 are never allowed in CertificateVerify.
        for (const scheme of [0x0401, 0x0203]) {
          expect(alertOf(() => expectSchemeFitsKey(scheme, spki))).to.equal(Alert.illegalParameter);
        }
      });
    });
  }

  it('RSA-PSS salts are as long as the hash, and no other salt is taken', () => {
    const pair = pairs.RSA as Pair;
    const shortSalt = nodeSign('sha256', content, { key: pair.privateKey, padding: 6, saltLength: 20 });
    expect(verifySignature(SignatureScheme.rsaPssRsaeSha256, spkiOf(pair), content, shortSalt)).to.equal(false);
    const pkcs1 = nodeSign('sha256', content, pair.privateKey);
    expect(verifySignature(SignatureScheme.rsaPssRsaeSha256, spkiOf(pair), content, pkcs1)).to.equal(false);
  });

  it('an RSA signature without its leading zero is refused (RFC 8017, 8.1.2)', () => {
    const pair = pairs.RSA as Pair;
    const key = signingKeyOf(pair.privateKey);
    const sign = () => key.sign(SignatureScheme.rsaPssRsaeSha256, content);
    // One in 256 begins with a zero.
    let signature = sign();
    for (let attempt = 0; attempt < 5000 && signature[0] !== 0; attempt++) signature = sign();
    expect(signature[0]).to.equal(0);
    expect(verifySignature(SignatureScheme.rsaPssRsaeSha256, spkiOf(pair), content, signature)).to.equal(true);
    expect(verifySignature(SignatureScheme.rsaPssRsaeSha256, spkiOf(pair), content, signature.subarray(1))).to.equal(
      false,
    );
  });

  it('an RSA key under 2048 bits is refused, whatever it signs', () => {
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const signature = signingKeyOf(small.privateKey).sign(SignatureScheme.rsaPssRsaeSha256, content);
    expect(
      alertOf(() => verifySignature(SignatureScheme.rsaPssRsaeSha256, spkiOf(small), content, signature)),
    ).to.equal(Alert.unsupportedCertificate);
  });

  it('keys of no scheme, malformed keys and off-curve keys are refused', () => {
    const x25519 = generateKeyPairSync('x25519');
    expect(alertOf(() => verifySignature(0x0403, spkiOf(x25519), content, new Uint8Array(70)))).to.equal(
      Alert.illegalParameter,
    );
    expect(() => signingKeyOf(x25519.privateKey)).to.throw(TlsMisuseError);
    const good = spkiOf(pairs['P-256'] as Pair);
    for (let length = 0; length < good.length; length++) {
      expect(alertOf(() => verifySignature(0x0403, good.subarray(0, length), content, new Uint8Array(70)))).to.equal(
        Alert.unsupportedCertificate,
      );
    }
    const offCurve = good.slice();
    offCurve[offCurve.length - 1] = (offCurve[offCurve.length - 1] as number) ^ 1;
    expect(alertOf(() => verifySignature(0x0403, offCurve, content, new Uint8Array(70)))).to.equal(
      Alert.unsupportedCertificate,
    );
    const longer = concatBytes(good, Uint8Array.of(0));
    expect(alertOf(() => verifySignature(0x0403, longer, content, new Uint8Array(70)))).to.equal(
      Alert.unsupportedCertificate,
    );
  });

  it('Ed25519: RFC 8032, 7.1, test 1', () => {
    const seed = fromHex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60');
    const publicKey = fromHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
    const pkcs8 = concatBytes(fromHex('302e020100300506032b657004220420'), seed);
    const spki = concatBytes(fromHex('302a300506032b6570032100'), publicKey);
    const signature = signingKeyFromPkcs8(pkcs8).sign(SignatureScheme.ed25519, new Uint8Array(0));
    expect(hexOf(signature)).to.equal(
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    );
    expect(verifySignature(SignatureScheme.ed25519, spki, new Uint8Array(0), signature)).to.equal(true);
  });
});

describe('ML-DSA (FIPS 204) as wired', () => {
  for (const entry of mlDsa) {
    const { parameters, scheme, noble } = entry;
    const keys = mlDsaKeys(entry, new Uint8Array(32).fill(0x42));

    it(`${parameters}: every private key form of RFC 9881 signs for the same public key`, () => {
      for (const [form, pkcs8] of Object.entries(keys.forms)) {
        const key = signingKeyFromPkcs8(pkcs8);
        expect(key.signatureSchemes, form).to.deep.equal([scheme]);
        const signature = key.sign(scheme, content);
        expect(verifySignature(scheme, keys.spki, content, signature)).to.equal(true);
        expect(verifySignature(scheme, keys.spki, utf8('other'), signature)).to.equal(false);
        expect(verifySignature(scheme, keys.spki, content, signature.subarray(1))).to.equal(false);
        // noble judges what this runtime made, so a wrong context string or a pre-hash would show.
        expect(noble.verify(signature, content, keys.publicKey)).to.equal(true);
      }
    });

    it(`${parameters}: the JavaScript signer and verifier fit the runtime's`, () => {
      const sign = mlDsaSigner(parameters, der(0x80, new Uint8Array(32).fill(0x42)));
      const signature = sign(content);
      expect(mlDsaVerify(parameters, keys.publicKey, content, signature)).to.equal(true);
      expect(verifySignature(scheme, keys.spki, content, signature)).to.equal(true);
      expect(mlDsaVerify(parameters, keys.publicKey.subarray(1), content, signature)).to.equal(false);
      expect(mlDsaVerify(parameters, keys.publicKey, content, signature.subarray(1))).to.equal(false);
    });

    it(`${parameters}: malformed private keys are refused`, () => {
      const other = noble.keygen(new Uint8Array(32).fill(1)).secretKey;
      const bad = [
        der(0x80, new Uint8Array(31)),
        der(0x04, new Uint8Array(100)),
        der(0x05),
        concatBytes(der(0x80, new Uint8Array(32)), Uint8Array.of(0)),
        der(0x30, der(0x04, new Uint8Array(32).fill(0x42)), der(0x04, other)),
      ];
      for (const privateKey of bad) {
        expect(() => mlDsaSigner(parameters, privateKey)).to.throw();
        expect(() => signingKeyFromPkcs8(keys.pkcs8(privateKey))).to.throw();
      }
    });
  }

  it('native and JavaScript make one public key of a seed', function () {
    if (!hasNativeMlDsa) {
      this.test!.title += ' (skipped: this runtime has no native ML-DSA)';
      this.skip();
    }
    for (const entry of mlDsa) {
      const keys = mlDsaKeys(entry, new Uint8Array(32).fill(9));
      const native = createPrivateKey({ key: Buffer.from(keys.forms.seed), format: 'der', type: 'pkcs8' });
      expect(native.asymmetricKeyType).to.equal(entry.parameters);
      const signature = signingKeyOf(native).sign(entry.scheme, content);
      expect(mlDsaVerify(entry.parameters, keys.publicKey, content, signature)).to.equal(true);
    }
  });

  /** C2SP/CCTV, ML-DSA/accumulated: keys of 100 seeds out of SHAKE128, and their deterministic signatures of nothing. */
  const accumulated: Readonly<Record<MlDsaParameterSet, string>> = {
    'ml-dsa-44': 'd51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4',
    'ml-dsa-65': '8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199',
    'ml-dsa-87': '8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b',
  };
  for (const entry of mlDsa) {
    it(`${entry.parameters}: 100 accumulated vectors of C2SP/CCTV, each verified through our wiring`, () => {
      const seeds = Uint8Array.from(createHash('shake128', { outputLength: 3200 }).digest());
      const accumulator = createHash('shake128', { outputLength: 32 });
      for (let i = 0; i < 100; i++) {
        const { publicKey, secretKey } = entry.noble.keygen(seeds.slice(32 * i, 32 * i + 32));
        const signature = entry.noble.sign(new Uint8Array(0), secretKey, { extraEntropy: false });
        accumulator.update(publicKey).update(signature);
        if (i % 10 === 0) {
          const spki = der(0x30, der(0x30, der(0x06, fromHex(entry.oid))), der(0x03, Uint8Array.of(0), publicKey));
          expect(verifySignature(entry.scheme, spki, new Uint8Array(0), signature)).to.equal(true);
        }
      }
      expect(hexOf(accumulator.digest())).to.equal(accumulated[entry.parameters]);
    });
  }
});
