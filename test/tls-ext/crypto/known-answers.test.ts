/** Published answers of each primitive, through the functions that the engine calls. Sources are named in the file of vectors. */
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { concatBytes, encode, fromHex, hexOf, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { aeadKey, createAeadCipher, createAeadDecipher } from '../../../tls-ext/crypto/aead.ts';
import { CipherSuite, cipherSuiteInfo } from '../../../tls-ext/crypto/cipher-suites.ts';
import { deterministicKeyAgreements, NamedGroup } from '../../../tls-ext/crypto/groups.ts';
import { hkdfExpand, hkdfExtract } from '../../../tls-ext/crypto/hkdf.ts';
import { SignatureScheme } from '../../../tls-ext/crypto/signature-schemes.ts';
import { signingKeyFromPkcs8, verifySignature } from '../../../tls-ext/crypto/signatures.ts';
import { TlsError } from '../../../tls-ext/tls-error.ts';

interface Answers<T> {
  readonly source: string;
  readonly cases: readonly T[];
}

const answers = JSON.parse(readFileSync(new URL('../../vectors/known-answers.json', import.meta.url), 'utf8')) as {
  readonly x25519: Answers<{ scalar: string; u: string; result: string }>;
  readonly ecdh: Answers<{
    group: 'secp256r1' | 'secp384r1';
    privateKey: string;
    x: string;
    y: string;
    secret: string;
    good: boolean;
  }>;
  readonly ed25519: Answers<{ seed: string; publicKey: string; message: string; signature: string }>;
  readonly ecdsa: Answers<{
    scheme: 'ecdsa_secp256r1_sha256' | 'ecdsa_secp384r1_sha384';
    message: string;
    x: string;
    y: string;
    r: string;
    s: string;
    good: boolean;
  }>;
  readonly aead: Answers<{
    suite: keyof typeof suites;
    key: string;
    iv: string;
    additional: string;
    plaintext: string;
    ciphertext: string;
    tag: string;
    good: boolean;
  }>;
  readonly hkdf: Answers<{ hash: 'sha384'; ikm: string; salt: string; info: string; prk: string; okm: string }>;
};

const suites = {
  'aes-128-gcm': CipherSuite.aes128GcmSha256,
  'aes-256-gcm': CipherSuite.aes256GcmSha384,
  'chacha20-poly1305': CipherSuite.chacha20Poly1305Sha256,
} as const;

/** The shared secret with a peer's share, for a private key of ours. */
function agree(group: NamedGroup, privateKey: string, share: Uint8Array): string {
  const agreement = deterministicKeyAgreements(() => fromHex(privateKey))(group);
  if (agreement === undefined) throw new Error(`no group ${group}`);
  return hexOf(agreement.generateKeyShare().finish(share).expose());
}

/** SubjectPublicKeyInfo up to the point, and what TLS calls the scheme. */
const ecdsaKeys = {
  ecdsa_secp256r1_sha256: {
    scheme: SignatureScheme.ecdsaSecp256r1Sha256,
    spki: '3059301306072a8648ce3d020106082a8648ce3d03010703420004',
  },
  ecdsa_secp384r1_sha384: {
    scheme: SignatureScheme.ecdsaSecp384r1Sha384,
    spki: '3076301006072a8648ce3d020106052b8104002203620004',
  },
} as const;

/** A DER INTEGER of an unsigned number. */
function derInteger(hex: string): Uint8Array {
  const digits = fromHex(hex.length % 2 === 0 ? hex : `0${hex}`);
  const first = digits.findIndex((byte) => byte !== 0);
  const number = digits.subarray(Math.max(first, 0));
  const positive = (number[0] as number) < 0x80 ? number : concatBytes(Uint8Array.of(0), number);
  return encode((writer) => writer.u8(2).vector(1, positive));
}

describe('known answers, as wired', () => {
  it(`X25519: ${answers.x25519.source}`, () => {
    for (const { scalar, u, result } of answers.x25519.cases) {
      expect(agree(NamedGroup.x25519, scalar, fromHex(u))).to.equal(result);
    }
  });

  it('X25519: RFC 7748, 5.2, after 1,000 iterations', () => {
    let [scalar, u] = [`09${'00'.repeat(31)}`, `09${'00'.repeat(31)}`];
    for (let i = 0; i < 1_000; i++) [scalar, u] = [agree(NamedGroup.x25519, scalar, fromHex(u)), scalar];
    expect(scalar).to.equal('684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51');
  });

  it(`ECDH: ${answers.ecdh.source}`, () => {
    for (const { group, privateKey, x, y, secret, good } of answers.ecdh.cases) {
      const point = fromHex(`04${x}${y}`);
      const attempt = () => agree(NamedGroup[group], privateKey, point);
      if (good) expect(attempt()).to.equal(secret);
      else expect(attempt).to.throw(TlsError);
    }
  });

  it(`Ed25519: ${answers.ed25519.source}`, () => {
    for (const { seed, publicKey, message, signature } of answers.ed25519.cases) {
      const key = signingKeyFromPkcs8(fromHex(`302e020100300506032b657004220420${seed}`));
      expect(hexOf(key.sign(SignatureScheme.ed25519, fromHex(message)))).to.equal(signature);
      const spki = fromHex(`302a300506032b6570032100${publicKey}`);
      const verify = (content: string) =>
        verifySignature(SignatureScheme.ed25519, spki, fromHex(content), fromHex(signature));
      expect(verify(message)).to.equal(true);
      expect(verify(`${message}00`)).to.equal(false);
    }
  });

  it(`ECDSA: ${answers.ecdsa.source}`, () => {
    for (const { scheme, message, x, y, r, s, good } of answers.ecdsa.cases) {
      const key = ecdsaKeys[scheme];
      const numbers = concatBytes(derInteger(r), derInteger(s));
      const signature = encode((writer) => writer.u8(0x30).vector(1, numbers));
      const verified = verifySignature(key.scheme, fromHex(`${key.spki}${x}${y}`), fromHex(message), signature);
      expect(verified, `${scheme} ${message.slice(0, 16)}`).to.equal(good);
    }
  });

  it(`AEAD: ${answers.aead.source}`, () => {
    for (const { suite, key, iv, additional, plaintext, ciphertext, tag, good } of answers.aead.cases) {
      const aead = cipherSuiteInfo(suites[suite])?.aead;
      if (aead === undefined) throw new Error(`no ${suite}`);
      const keyObject = () => aeadKey(aead, new SecretBytes(fromHex(key)));
      const decipher = createAeadDecipher(aead, keyObject(), fromHex(iv));
      decipher.setAAD(fromHex(additional));
      decipher.setAuthTag(fromHex(tag));
      const opened = hexOf(decipher.update(fromHex(ciphertext)));
      if (!good) {
        expect(() => decipher.final()).to.throw();
        continue;
      }
      decipher.final();
      expect(opened).to.equal(plaintext);
      const cipher = createAeadCipher(aead, keyObject(), fromHex(iv));
      cipher.setAAD(fromHex(additional));
      const sealed = hexOf(cipher.update(fromHex(plaintext)));
      cipher.final();
      expect([sealed, hexOf(cipher.getAuthTag())]).to.deep.equal([ciphertext, tag]);
    }
  });

  it(`HKDF: ${answers.hkdf.source}`, () => {
    for (const { hash, ikm, salt, info, prk, okm } of answers.hkdf.cases) {
      const extracted = hkdfExtract(hash, fromHex(salt), fromHex(ikm));
      expect(hexOf(extracted.expose())).to.equal(prk);
      expect(hexOf(hkdfExpand(hash, extracted, fromHex(info), okm.length / 2).expose())).to.equal(okm);
    }
  });

  it('has cases of both verdicts, and of each suite, group and scheme', () => {
    const kinds = [
      ...answers.ecdh.cases.map(({ group, good }) => `${group} ${good}`),
      ...answers.ecdsa.cases.map(({ scheme, good }) => `${scheme} ${good}`),
      ...answers.aead.cases.map(({ suite, good }) => `${suite} ${good}`),
    ];
    expect([...new Set(kinds)].sort()).to.deep.equal([
      'aes-128-gcm false',
      'aes-128-gcm true',
      'aes-256-gcm false',
      'aes-256-gcm true',
      'chacha20-poly1305 false',
      'chacha20-poly1305 true',
      'ecdsa_secp256r1_sha256 false',
      'ecdsa_secp256r1_sha256 true',
      'ecdsa_secp384r1_sha384 false',
      'ecdsa_secp384r1_sha384 true',
      'secp256r1 false',
      'secp256r1 true',
      'secp384r1 false',
      'secp384r1 true',
    ]);
  });
});
