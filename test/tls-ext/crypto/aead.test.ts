import { expect } from 'chai';
import { concatBytes, fromHex, SecretBytes, utf8 } from '../../../tls-ext/bytes/index.ts';
import { AEAD_TAG_BYTES, aeadKey, createAeadCipher, createAeadDecipher } from '../../../tls-ext/crypto/aead.ts';
import {
  CipherSuite,
  type CipherSuiteInfo,
  cipherSuiteInfo,
  cipherSuiteName,
  cipherSuites,
} from '../../../tls-ext/crypto/cipher-suites.ts';

interface Vector {
  readonly source: string;
  readonly suite: CipherSuite;
  readonly key: string;
  readonly nonce: string;
  readonly additional: string;
  readonly plaintext: Uint8Array;
  readonly sealed: string;
}

const gcmPlaintext = fromHex(
  'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72' +
    '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
);

const vectors: readonly Vector[] = [
  {
    source: 'AES-128-GCM: McGrew and Viega, test case 4',
    suite: CipherSuite.aes128GcmSha256,
    key: 'feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    additional: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    plaintext: gcmPlaintext,
    sealed:
      '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e' +
      '21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47',
  },
  {
    source: 'AES-256-GCM: McGrew and Viega, test case 16',
    suite: CipherSuite.aes256GcmSha384,
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    additional: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    plaintext: gcmPlaintext,
    sealed:
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa' +
      '8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b',
  },
  {
    source: 'ChaCha20-Poly1305: RFC 8439, 2.8.2',
    suite: CipherSuite.chacha20Poly1305Sha256,
    key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
    nonce: '070000004041424344454647',
    additional: '50515253c0c1c2c3c4c5c6c7',
    plaintext: utf8(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    ),
    sealed:
      'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6' +
      '3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36' +
      '92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc' +
      '3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
  },
];

describe('AEADs as wired', () => {
  for (const vector of vectors) {
    const { aead } = cipherSuiteInfo(vector.suite) as CipherSuiteInfo;
    const key = aeadKey(aead, new SecretBytes(fromHex(vector.key)));
    const nonce = fromHex(vector.nonce);
    const additional = fromHex(vector.additional);
    const sealed = fromHex(vector.sealed);
    const tagAt = sealed.length - AEAD_TAG_BYTES;

    it(`${vector.source}: seals and opens`, () => {
      const cipher = createAeadCipher(aead, key, nonce);
      cipher.setAAD(additional);
      const body = cipher.update(vector.plaintext);
      cipher.final();
      expect(concatBytes(body, cipher.getAuthTag())).to.deep.equal(sealed);

      const decipher = createAeadDecipher(aead, key, nonce);
      decipher.setAAD(additional);
      decipher.setAuthTag(sealed.subarray(tagAt));
      expect(concatBytes(decipher.update(sealed.subarray(0, tagAt)))).to.deep.equal(vector.plaintext);
      decipher.final();
    });

    it(`${vector.source}: a shortened tag is refused, however right it is`, () => {
      for (const length of [4, 8, 12, 15]) {
        const decipher = createAeadDecipher(aead, key, nonce);
        expect(() => decipher.setAuthTag(sealed.subarray(tagAt, tagAt + length))).to.throw();
      }
    });
  }

  it('a key of another length is refused', () => {
    for (const { aead } of cipherSuites) {
      expect(() => aeadKey(aead, new SecretBytes(new Uint8Array(aead.keyLengthBytes + 1)))).to.throw(RangeError);
    }
  });
});

describe('cipher suites', () => {
  it('have their IANA code points and names, hash and limits', () => {
    expect(cipherSuites.map(({ codePoint, name, hash }) => [codePoint, name, hash])).to.deep.equal([
      [0x1302, 'TLS_AES_256_GCM_SHA384', 'sha384'],
      [0x1303, 'TLS_CHACHA20_POLY1305_SHA256', 'sha256'],
      [0x1301, 'TLS_AES_128_GCM_SHA256', 'sha256'],
    ]);
    expect(cipherSuiteInfo(0x1302)?.aead.sealLimitRecords).to.equal(23_726_566);
    expect(cipherSuiteInfo(0x1304)).to.equal(undefined);
    expect(cipherSuiteName(0x1304)).to.equal('0x1304');
  });
});
