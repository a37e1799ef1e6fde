/** Published signatures, right and wrong, through the functions that the engine calls. Sources: test/vectors/README.md. */
import { constants, createPublicKey, verify as nodeVerify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { concatBytes, encode, fromHex } from '../../../tls-ext/bytes/index.ts';
import { mlDsaVerify } from '../../../tls-ext/crypto/ml-dsa.ts';
import { SignatureScheme } from '../../../tls-ext/crypto/signature-schemes.ts';
import { verifySignature } from '../../../tls-ext/crypto/signatures.ts';
import { testIdentity } from '../engine/engine-pair.ts';

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), 'utf8')) as T;
const fromBase64 = (text: string) => Uint8Array.from(Buffer.from(text, 'base64'));

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...parts);
  return encode((writer) => {
    writer.u8(tag);
    if (body.length < 0x80) writer.u8(body.length);
    else writer.u8(0x82).u16(body.length);
    writer.bytes(body);
  });
}

describe('published ECDSA signatures (Wycheproof)', () => {
  const { keys, cases } = read<{
    keys: { scheme: 'ecdsa_secp256r1_sha256' | 'ecdsa_secp384r1_sha384'; point: string }[];
    cases: { name: string; key: number; message: string; signature: string; good: boolean }[];
  }>('ecdsa.json');
  /** SubjectPublicKeyInfo up to the point, and what TLS calls the scheme. */
  const wired = {
    ecdsa_secp256r1_sha256: [
      '3059301306072a8648ce3d020106082a8648ce3d03010703420004',
      SignatureScheme.ecdsaSecp256r1Sha256,
    ],
    ecdsa_secp384r1_sha384: ['3076301006072a8648ce3d020106052b8104002203620004', SignatureScheme.ecdsaSecp384r1Sha384],
  } as const;

  for (const scheme of ['ecdsa_secp256r1_sha256', 'ecdsa_secp384r1_sha384'] as const) {
    const own = cases.filter(({ key }) => keys[key]?.scheme === scheme);
    for (const good of [true, false]) {
      it(`${scheme}: ${good ? 'right ones verify' : 'others, in DER or in their numbers, do not'}`, () => {
        const [prefix, codePoint] = wired[scheme];
        const chosen = own.filter((one) => one.good === good);
        expect(chosen.length).to.be.greaterThan(12);
        const wrong = chosen.filter(({ key, message, signature }) => {
          const spki = fromHex(`${prefix}${keys[key]?.point}`);
          return verifySignature(codePoint, spki, fromHex(message), fromHex(signature)) !== good;
        });
        expect(wrong.map(({ name }) => name)).to.deep.equal([]);
      });
    }
  }
});

describe('published RSA-PSS signatures (NIST)', () => {
  const { keys, cases } = read<{
    keys: { n: string; e: string }[];
    cases: {
      key: number;
      hash: 'sha256' | 'sha384' | 'sha512';
      saltBytes: number;
      message: string;
      signature: string;
    }[];
  }>('rsa-pss.json');
  /** rsaEncryption with NULL, id-RSASSA-PSS without parameters: which of the two the key has names the scheme. */
  const kinds = { rsae: '06092a864886f70d0101010500', pss: '06092a864886f70d01010a' } as const;
  const schemes = {
    rsae: {
      sha256: SignatureScheme.rsaPssRsaeSha256,
      sha384: SignatureScheme.rsaPssRsaeSha384,
      sha512: SignatureScheme.rsaPssRsaeSha512,
    },
    pss: {
      sha256: SignatureScheme.rsaPssPssSha256,
      sha384: SignatureScheme.rsaPssPssSha384,
      sha512: SignatureScheme.rsaPssPssSha512,
    },
  } as const;
  const saltBytes = { sha256: 32, sha384: 48, sha512: 64 } as const;

  function spkiOf(key: number, kind: keyof typeof kinds): Uint8Array {
    const { n, e } = keys[key] as { n: string; e: string };
    const integer = (hex: string) => der(2, fromHex(hex >= '8' ? `00${hex}` : hex));
    const publicKey = der(0x30, integer(n), integer(e));
    return der(0x30, der(0x30, fromHex(kinds[kind])), der(3, Uint8Array.of(0), publicKey));
  }

  for (const kind of ['rsae', 'pss'] as const) {
    const own = testIdentity(kind === 'rsae' ? 'rsa' : 'rsa-pss');

    for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
      it(`rsa_pss_${kind}_${hash}: a salt as long as the hash, and no other`, () => {
        const lengths = new Set<number>();
        for (const { key, saltBytes: length, message, signature } of cases.filter((one) => one.hash === hash)) {
          lengths.add(length);
          const spki = spkiOf(key, kind);
          const verify = (bytes: Uint8Array) => verifySignature(schemes[kind][hash], spki, fromHex(message), bytes);
          const good = fromHex(signature);
          expect(verify(good), `${length} bytes of salt`).to.equal(length === saltBytes[hash]);
          for (const at of [0, 1, good.length >> 1, good.length - 1]) {
            expect(verify(good.map((byte, i) => (i === at ? byte ^ 1 : byte)))).to.equal(false);
          }
          // The other salts are refused for their length alone.
          const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
          const options = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: length };
          expect(nodeVerify(hash, fromHex(message), options, good), 'the vector itself').to.equal(true);
        }
        expect(lengths.size).to.be.greaterThan(2);
      });

      it(`rsa_pss_${kind}_${hash}: our signatures have that salt`, () => {
        const content = Uint8Array.of(1, 2, 3);
        const signature = own.sign(schemes[kind][hash], content);
        const key = createPublicKey({ key: Buffer.from(own.spki), format: 'der', type: 'spki' });
        const verifies = (saltLength: number) =>
          nodeVerify(hash, content, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
        expect([20, 32, 48, 64].filter(verifies)).to.deep.equal([saltBytes[hash]]);
      });
    }
  }
});

describe('published ML-DSA signatures (Wycheproof)', () => {
  const { cases } = read<{
    cases: {
      set: 'ml-dsa-44' | 'ml-dsa-65' | 'ml-dsa-87';
      publicKey: string;
      message: string;
      signature: string;
      changed: { name: string; at?: number; xor?: number; length?: number }[];
      others: { name: string; message: string; signature: string }[];
    }[];
  }>('ml-dsa.json');
  const wired = {
    'ml-dsa-44': [SignatureScheme.mlDsa44, '0609608648016503040311'],
    'ml-dsa-65': [SignatureScheme.mlDsa65, '0609608648016503040312'],
    'ml-dsa-87': [SignatureScheme.mlDsa87, '0609608648016503040313'],
  } as const;

  for (const { set, publicKey, message, signature, changed, others } of cases) {
    it(`${set}: the right one verifies, in this runtime and in JavaScript; ${changed.length + others.length} others do not`, () => {
      const [scheme, oid] = wired[set];
      const key = fromBase64(publicKey);
      const spki = der(0x30, der(0x30, fromHex(oid)), der(3, Uint8Array.of(0), key));
      const verify = (content: string, bytes: Uint8Array) => [
        verifySignature(scheme, spki, fromHex(content), bytes),
        mlDsaVerify(set, key, fromHex(content), bytes),
      ];
      const good = fromBase64(signature);
      expect(verify(message, good)).to.deep.equal([true, true]);
      expect(verify(`${message}00`, good)).to.deep.equal([false, false]);
      for (const { name, at = -1, xor = 0, length = good.length } of changed) {
        const bytes = new Uint8Array(length);
        bytes.set(good.subarray(0, length));
        if (at >= 0) bytes[at] = (bytes[at] as number) ^ xor;
        expect(verify(message, bytes), name).to.deep.equal([false, false]);
      }
      for (const other of others) {
        expect(verify(other.message, fromBase64(other.signature)), other.name).to.deep.equal([false, false]);
      }
    });
  }
});
