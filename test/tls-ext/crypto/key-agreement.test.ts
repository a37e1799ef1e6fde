import { expect } from 'chai';
import { Alert } from '../../../tls-ext/alert.ts';
import { bytesEqual, concatBytes, fromHex } from '../../../tls-ext/bytes/index.ts';
import {
  defaultKeyAgreements,
  deterministicKeyAgreements,
  type KeyAgreement,
  type KeyAgreementProvider,
  keyAgreements,
  NamedGroup,
  namedGroupInfo,
  namedGroupName,
  namedGroups,
} from '../../../tls-ext/crypto/groups.ts';
import { hasNativeMlKem, nativeMlKem, nobleMlKem } from '../../../tls-ext/crypto/ml-kem.ts';
import { TlsError, TlsMisuseError } from '../../../tls-ext/tls-error.ts';

function agreementOf(provider: KeyAgreementProvider, group: number): KeyAgreement {
  const agreement = provider(group);
  if (agreement === undefined) throw new Error(`no agreement for ${group}`);
  return agreement;
}

function expectIllegal(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    expect(error).to.be.instanceOf(TlsError);
    expect((error as TlsError).alert).to.equal(Alert.illegalParameter);
    return;
  }
  throw new Error('accepted');
}

/** Client, server and secret lengths: RFC 8446, 4.2.8.2, and RFC 10024. */
const lengths: Readonly<Record<number, readonly [number, number, number]>> = {
  [NamedGroup.x25519]: [32, 32, 32],
  [NamedGroup.secp256r1]: [65, 65, 32],
  [NamedGroup.secp384r1]: [97, 97, 48],
  [NamedGroup.x25519MlKem768]: [1216, 1120, 64],
  [NamedGroup.secP256r1MlKem768]: [1249, 1153, 64],
  [NamedGroup.secP384r1MlKem1024]: [1665, 1665, 80],
};

const native = hasNativeMlKem ? keyAgreements(nativeMlKem) : undefined;
const noble = keyAgreements((parameters) => nobleMlKem(parameters));

describe('key agreements', () => {
  for (const { codePoint, name } of namedGroups) {
    describe(name, () => {
      const agreement = agreementOf(defaultKeyAgreements, codePoint);

      it('has the lengths of its RFC, and both ends agree', () => {
        const client = agreement.generateKeyShare();
        const server = agreement.respond(client.share);
        const secret = client.finish(server.share);
        expect([client.share.length, server.share.length, secret.length]).to.deep.equal(lengths[codePoint]);
        expect([agreement.clientShareBytes, agreement.serverShareBytes, agreement.secretBytes]).to.deep.equal(
          lengths[codePoint],
        );
        expect(secret.expose()).to.deep.equal(server.secret.expose());
      });

      it('is fresh every time', () => {
        const first = agreement.generateKeyShare();
        const second = agreement.generateKeyShare();
        expect(bytesEqual(first.share, second.share)).to.equal(false);
        const answers = [agreement.respond(first.share), agreement.respond(first.share)] as const;
        expect(bytesEqual(answers[0].secret.expose(), answers[1].secret.expose())).to.equal(false);
      });

      it('refuses shares of any other length, on both sides', () => {
        const client = agreement.generateKeyShare();
        const server = agreement.respond(client.share);
        for (const wrong of [0, 1, client.share.length - 1, client.share.length + 1]) {
          const share = new Uint8Array(wrong);
          share.set(client.share.subarray(0, wrong));
          expectIllegal(() => agreement.respond(share));
        }
        for (const wrong of [0, 1, server.share.length - 1, server.share.length + 1]) {
          const share = new Uint8Array(wrong);
          share.set(server.share.subarray(0, wrong));
          expectIllegal(() => agreement.generateKeyShare().finish(share));
        }
      });

      it('uses a key share once, and not after wipe', () => {
        const client = agreement.generateKeyShare();
        const { share } = agreement.respond(client.share);
        client.finish(share);
        expect(() => client.finish(share)).to.throw(TlsMisuseError);
        const wiped = agreement.generateKeyShare();
        wiped.wipe();
        wiped.wipe();
        expect(() => wiped.finish(share)).to.throw(TlsMisuseError);
      });

      it('is the same in native and JavaScript ML-KEM, either way round', function () {
        if (native === undefined) {
          this.test!.title += ' (skipped: this runtime has no native ML-KEM)';
          this.skip();
        }
        for (const [left, right] of [
          [native, noble],
          [noble, native],
        ] as const) {
          const client = agreementOf(left, codePoint).generateKeyShare();
          const server = agreementOf(right, codePoint).respond(client.share);
          expect(client.finish(server.share).expose()).to.deep.equal(server.secret.expose());
        }
      });

      it('is repeatable with given coins', () => {
        const run = () => {
          let counter = 0;
          const draws: number[] = [];
          const provider = deterministicKeyAgreements((length) => {
            draws.push(length);
            return Uint8Array.from({ length }, () => (counter++ % 251) + 1);
          });
          const client = agreementOf(provider, codePoint).generateKeyShare();
          const server = agreementOf(provider, codePoint).respond(client.share);
          return {
            draws,
            shares: concatBytes(client.share, server.share),
            secret: client.finish(server.share).expose(),
          };
        };
        const first = run();
        expect(run()).to.deep.equal(first);
        const expected: Readonly<Record<number, readonly number[]>> = {
          [NamedGroup.x25519]: [32, 32],
          [NamedGroup.secp256r1]: [32, 32],
          [NamedGroup.secp384r1]: [48, 48],
          [NamedGroup.x25519MlKem768]: [64, 32, 32, 32],
          [NamedGroup.secP256r1MlKem768]: [32, 64, 32, 32],
          [NamedGroup.secP384r1MlKem1024]: [48, 64, 48, 32],
        };
        expect(first.draws).to.deep.equal(expected[codePoint]);
      });
    });
  }

  it('knows no other group', () => {
    expect(defaultKeyAgreements(0x0100)).to.equal(undefined);
    expect(namedGroupInfo(0x0100)).to.equal(undefined);
    expect(namedGroupName(0x0100)).to.equal('0x0100');
    expect(namedGroupName(0x11ec)).to.equal('X25519MLKEM768');
  });
});

/** Runs both sides of a group with given private keys. */
function exchange(group: number, clientKey: string, serverKey: string) {
  const client = agreementOf(
    deterministicKeyAgreements(() => fromHex(clientKey)),
    group,
  ).generateKeyShare();
  const server = agreementOf(
    deterministicKeyAgreements(() => fromHex(serverKey)),
    group,
  ).respond(client.share);
  return { client: client.share, server: server.share, secret: client.finish(server.share).expose() };
}

describe('known answers of the curves as wired', () => {
  it('X25519: RFC 7748, 6.1', () => {
    expect(
      exchange(
        NamedGroup.x25519,
        '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a',
        '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb',
      ),
    ).to.deep.equal({
      client: fromHex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a'),
      server: fromHex('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f'),
      secret: fromHex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742'),
    });
  });

  it('P-256: RFC 5903, 8.1', () => {
    expect(
      exchange(
        NamedGroup.secp256r1,
        'C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433',
        'C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53',
      ),
    ).to.deep.equal({
      client: fromHex(
        '04DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180' +
          '5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3',
      ),
      server: fromHex(
        '04D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63' +
          '56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB',
      ),
      secret: fromHex('D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE'),
    });
  });

  it('P-384: RFC 5903, 8.2', () => {
    expect(
      exchange(
        NamedGroup.secp384r1,
        '099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194',
        '41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC',
      ),
    ).to.deep.equal({
      client: fromHex(
        '04667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA' +
          '9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C',
      ),
      server: fromHex(
        '04E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571' +
          'DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C',
      ),
      secret: fromHex(
        '11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746',
      ),
    });
  });
});

describe('hostile shares', () => {
  const x25519 = agreementOf(defaultKeyAgreements, NamedGroup.x25519);
  /** Points of small order on Curve25519 and its twist: every one makes an all-zero secret. */
  const smallOrder = [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ].map(fromHex);

  it('X25519 points of small order, on both sides and inside the hybrid group', () => {
    const hybrid = agreementOf(defaultKeyAgreements, NamedGroup.x25519MlKem768);
    const client = hybrid.generateKeyShare();
    const server = hybrid.respond(client.share);
    for (const point of smallOrder) {
      expectIllegal(() => x25519.respond(point));
      expectIllegal(() => x25519.generateKeyShare().finish(point));
      expectIllegal(() => hybrid.respond(concatBytes(client.share.subarray(0, 1184), point)));
      expectIllegal(() => hybrid.generateKeyShare().finish(concatBytes(server.share.subarray(0, 1088), point)));
    }
  });

  for (const [name, group] of [
    ['P-256', NamedGroup.secp256r1],
    ['P-384', NamedGroup.secp384r1],
  ] as const) {
    const curve = agreementOf(defaultKeyAgreements, group);

    it(`${name}: off the curve, coordinates out of range, infinity, other encodings`, () => {
      const { share } = curve.generateKeyShare();
      const offCurve = share.slice();
      offCurve[share.length - 1] = (offCurve[share.length - 1] as number) ^ 1;
      const outOfRange = share.slice().fill(0xff, 1);
      const infinity = new Uint8Array(share.length);
      const hybridEncoding = share.slice();
      hybridEncoding[0] = 6 + ((share[share.length - 1] as number) & 1);
      const compressed = share.slice(0, (share.length + 1) / 2);
      compressed[0] = 2 + ((share[share.length - 1] as number) & 1);
      for (const bad of [offCurve, outOfRange, infinity, hybridEncoding, compressed]) {
        expectIllegal(() => curve.respond(bad));
        expectIllegal(() => curve.generateKeyShare().finish(bad));
      }
    });
  }

  for (const provider of [
    ['native or default', defaultKeyAgreements],
    ['JavaScript', noble],
  ] as const) {
    it(`ML-KEM encapsulation keys with any coefficient of q or more (FIPS 203, 7.2): ${provider[0]}`, () => {
      const agreement = agreementOf(provider[1], NamedGroup.x25519MlKem768);
      const client = agreement.generateKeyShare();
      agreement.respond(client.share);
      // Each of the 768 coefficients in turn, at q exactly and at its largest.
      for (let coefficient = 0; coefficient < 768; coefficient += 7) {
        for (const value of [3329, 4095]) {
          const share = client.share.slice();
          const at = Math.floor(coefficient / 2) * 3;
          if (coefficient % 2 === 0) {
            share[at] = value & 0xff;
            share[at + 1] = ((share[at + 1] as number) & 0xf0) | (value >> 8);
          } else {
            share[at + 1] = ((share[at + 1] as number) & 0x0f) | ((value & 0x0f) << 4);
            share[at + 2] = value >> 4;
          }
          expectIllegal(() => agreement.respond(share));
        }
      }
    });
  }

  it('a changed ML-KEM ciphertext gives the client another secret, and no error', () => {
    const agreement = agreementOf(defaultKeyAgreements, NamedGroup.x25519MlKem768);
    const client = agreement.generateKeyShare();
    const server = agreement.respond(client.share);
    const share = server.share.slice();
    share[0] = (share[0] as number) ^ 1;
    const secret = client.finish(share).expose();
    expect(bytesEqual(secret.subarray(0, 32), server.secret.expose().subarray(0, 32))).to.equal(false);
    expect(secret.slice(32)).to.deep.equal(server.secret.expose().slice(32));
  });
});
