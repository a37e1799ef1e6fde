import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';
import { expect } from 'chai';
import { concatBytes, SecretBytes, utf8 } from '../../../tls-ext/bytes/index.ts';
import {
  type CipherSuiteInfo,
  cipherSuiteInfo,
  type HashName,
  hash,
  hashLengthBytes,
} from '../../../tls-ext/crypto/index.ts';
import {
  deriveTrafficKeys,
  EarlySecret,
  exportKeyingMaterial,
  type MainSecret,
  nextTrafficSecret,
  rekeyConfirmation,
  verifyRekeyConfirmation,
} from '../../../tls-ext/key-schedule/index.ts';

const filled = (length: number, value: number) => new SecretBytes(new Uint8Array(length).fill(value));
const th = (name: HashName, value: number) => new Uint8Array(hashLengthBytes[name]).fill(value);

/** The formulas of RFC 8446, 7.1, written a second time, with nothing of ours in them. */
function mac(name: HashName, key: Uint8Array, ...data: Uint8Array[]): Uint8Array {
  const h = createHmac(name, key);
  for (const part of data) h.update(part);
  return Uint8Array.from(h.digest());
}
function expandLabel(name: HashName, key: Uint8Array, label: string, context: Uint8Array, length: number): Uint8Array {
  const full = utf8(`tls13 ${label}`);
  const info = concatBytes(
    Uint8Array.of(length >> 8, length & 0xff, full.length),
    full,
    Uint8Array.of(context.length),
    context,
  );
  let output: Uint8Array = new Uint8Array(0);
  let block: Uint8Array = new Uint8Array(0);
  for (let i = 1; output.length < length; i++) {
    block = mac(name, key, block, info, Uint8Array.of(i));
    output = concatBytes(output, block);
  }
  return output.slice(0, length);
}
function derive(name: HashName, key: Uint8Array, label: string, context: Uint8Array): Uint8Array {
  return expandLabel(name, key, label, context, hashLengthBytes[name]);
}

function mainSecret(name: HashName, psk = 0x11, shared = 0x22): MainSecret {
  return EarlySecret.of(name, filled(hashLengthBytes[name], psk)).toHandshakeSecret(filled(64, shared)).toMainSecret();
}

for (const name of ['sha256', 'sha384'] as const) {
  const zeros = new Uint8Array(hashLengthBytes[name]);
  const nothing = hash(name, new Uint8Array(0));

  describe(`key schedule with ${name}`, () => {
    it('is the formulas of RFC 8446, 7.1, stage by stage', () => {
      const psk = filled(hashLengthBytes[name], 0x11);
      const early = EarlySecret.of(name, psk);
      const earlyBytes = mac(name, zeros, psk.expose());
      expect(early.binderKey('imported').expose()).to.deep.equal(derive(name, earlyBytes, 'imp binder', nothing));
      expect(early.binderKey('external').expose()).to.deep.equal(derive(name, earlyBytes, 'ext binder', nothing));
      expect(early.binderKey('resumption').expose()).to.deep.equal(derive(name, earlyBytes, 'res binder', nothing));
      const handshake = early.toHandshakeSecret(filled(64, 0x22));
      const handshakeBytes = mac(name, derive(name, earlyBytes, 'derived', nothing), new Uint8Array(64).fill(0x22));
      expect(handshake.clientHandshakeTrafficSecret(th(name, 1)).expose()).to.deep.equal(
        derive(name, handshakeBytes, 'c hs traffic', th(name, 1)),
      );
      expect(handshake.serverHandshakeTrafficSecret(th(name, 1)).expose()).to.deep.equal(
        derive(name, handshakeBytes, 's hs traffic', th(name, 1)),
      );
      const main = handshake.toMainSecret();
      const mainBytes = mac(name, derive(name, handshakeBytes, 'derived', nothing), zeros);
      expect(main.clientApplicationTrafficSecret(th(name, 2)).expose()).to.deep.equal(
        derive(name, mainBytes, 'c ap traffic', th(name, 2)),
      );
      expect(main.resumptionSecret(th(name, 3)).expose()).to.deep.equal(
        derive(name, mainBytes, 'res master', th(name, 3)),
      );
      const server = main.serverApplicationTrafficSecret(th(name, 2));
      const serverBytes = server.expose().slice();
      expect(nextTrafficSecret(name, server).expose()).to.deep.equal(
        expandLabel(name, serverBytes, 'traffic upd', new Uint8Array(0), hashLengthBytes[name]),
      );
      expect(server.wiped).to.equal(true);

      const exporter = main.exporterSecret(th(name, 2));
      const exporterBytes = derive(name, mainBytes, 'exp master', th(name, 2));
      const exported = (label: string, context: Uint8Array, length: number) =>
        expandLabel(name, derive(name, exporterBytes, label, nothing), 'exporter', hash(name, context), length);
      expect(exportKeyingMaterial(name, exporter, 'EXPORTER-x', utf8('ctx'), 100)).to.deep.equal(
        exported('EXPORTER-x', utf8('ctx'), 100),
      );
    });

    it('without a PSK, zeros stand for it', () => {
      expect(EarlySecret.of(name, undefined).binderKey('external').expose()).to.deep.equal(
        derive(name, mac(name, zeros, zeros), 'ext binder', nothing),
      );
    });

    it('rekey: both new secrets enter main_{N+1}; without a key, zeros stand for it', () => {
      const main = mainSecret(name);
      const handshakeBytes = mac(
        name,
        derive(name, mac(name, zeros, new Uint8Array(hashLengthBytes[name]).fill(0x11)), 'derived', nothing),
        new Uint8Array(64).fill(0x22),
      );
      const mainBytes = mac(name, derive(name, handshakeBytes, 'derived', nothing), zeros);
      const s = mac(name, derive(name, mainBytes, 'derived', nothing), new Uint8Array(64).fill(0x33));
      for (const key of [undefined, 0x44]) {
        const length = hashLengthBytes[name];
        const next = main.nextEpoch(filled(64, 0x33), key === undefined ? undefined : filled(length, key));
        const nextBytes = mac(name, derive(name, s, 'derived', nothing), new Uint8Array(length).fill(key ?? 0));
        expect(next.clientApplicationTrafficSecret(th(name, 5)).expose()).to.deep.equal(
          derive(name, nextBytes, 'c ap traffic', th(name, 5)),
        );
        const confirmation = rekeyConfirmation(next, 'server', th(name, 5));
        expect(confirmation).to.deep.equal(
          mac(name, derive(name, nextBytes, 'rekey s confirm', th(name, 5)), th(name, 5)),
        );
        expect(verifyRekeyConfirmation(next, 'server', th(name, 5), confirmation)).to.equal(true);
        expect(verifyRekeyConfirmation(next, 'client', th(name, 5), confirmation)).to.equal(false);
        expect(verifyRekeyConfirmation(main, 'server', th(name, 5), confirmation)).to.equal(false);
        expect(verifyRekeyConfirmation(next, 'server', th(name, 6), confirmation)).to.equal(false);
      }
    });
  });
}

describe('what the key schedule leaves behind', () => {
  it('a stage that has been left is wiped, with what went into it', () => {
    const psk = filled(48, 1);
    const shared = filled(64, 2);
    const sharedBytes = shared.expose();
    const early = EarlySecret.of('sha384', psk);
    const handshake = early.toHandshakeSecret(shared);
    expect(sharedBytes.every((byte) => byte === 0)).to.equal(true);
    expect(shared.wiped).to.equal(true);
    expect(psk.wiped).to.equal(false);
    expect(() => early.binderKey('imported')).to.throw('wipe');
    expect(() => early.toHandshakeSecret(filled(64, 2))).to.throw('wipe');
    const main = handshake.toMainSecret();
    expect(() => handshake.toMainSecret()).to.throw('wipe');
    expect(() => handshake.clientHandshakeTrafficSecret(new Uint8Array(48))).to.throw('wipe');
    main.wipe();
    main.wipe();
    expect(() => main.exporterSecret(new Uint8Array(48))).to.throw('wipe');
  });

  it('a rekey wipes what it took, and leaves the old epoch until it is confirmed', () => {
    const main = mainSecret('sha384');
    const shared = filled(64, 3);
    const key = filled(48, 4);
    const views = [shared.expose(), key.expose()];
    const next = main.nextEpoch(shared, key);
    for (const view of views) expect(view.every((byte) => byte === 0)).to.equal(true);
    expect(main.exporterSecret(th('sha384', 1)).length).to.equal(48);
    main.wipe();
    expect(next.exporterSecret(th('sha384', 1)).length).to.equal(48);
  });

  it('nothing of it is printed', () => {
    const main = mainSecret('sha384');
    const keys = deriveTrafficKeys(
      cipherSuiteInfo(0x1302) as CipherSuiteInfo,
      main.clientApplicationTrafficSecret(th('sha384', 1)),
    );
    for (const text of [inspect({ main, keys }, { depth: 9, showHidden: true }), JSON.stringify({ main, keys })]) {
      expect(text).to.not.match(/[0-9a-f]{16}|(\d+,\s*){8}/);
    }
  });
});
