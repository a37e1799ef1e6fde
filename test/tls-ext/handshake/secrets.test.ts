/** No secret that was ever used outlives its use: every `SecretBytes` that gave its bytes away is watched. */
import { expect } from 'chai';
import { Alert, type PskDecision, type ResumptionPsk, SecretBytes } from '../../../tls-ext/index.ts';
import {
  clientIdentity,
  type EnginePair,
  enginePair,
  expectConnected,
  type PairOptions,
  qkdPsk,
} from '../engine/engine-pair.ts';
import { rekey, rekeyKey, rekeyPair, serverThatWaits } from '../engine/rekey-pair.ts';

const use = (psk = qkdPsk()): PskDecision => ({ action: 'use', psk });
const ticket = (): ResumptionPsk => ({
  kind: 'resumption',
  identity: new Uint8Array(16).fill(7),
  secret: new SecretBytes(new Uint8Array(48).fill(9)),
  cipherSuite: 0x1302,
});

const withKey = { client: { psk: qkdPsk, qkdOffer: { offer: 'key' } }, server: { qkd: true } } as const;

/** Made anew for each handshake: engines wipe the keys that they get. */
const handshakes: Readonly<Record<string, () => PairOptions>> = {
  'with certificates both ways': () => ({
    client: { identity: clientIdentity },
    server: { requestClientCertificate: true },
  }),
  'with HelloRetryRequest': () => ({ client: { groups: [29, 23] }, server: { groups: [23] } }),
  'with a QKD key': () => ({
    ...withKey,
    client: { ...withKey.client, psk: qkdPsk() },
    serverAnswers: { psk: () => use() },
  }),
  'with a QKD key and HelloRetryRequest for a suite of one of its hashes': () => ({
    client: { ...withKey.client, psk: qkdPsk(), groups: [29, 23] },
    server: { qkd: true, groups: [23] },
    serverAnswers: { psk: () => use() },
  }),
  'with a QKD key that the server does not have': () => ({
    ...withKey,
    client: { ...withKey.client, psk: qkdPsk() },
    serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
  }),
  'with a QKD key of which the server has another': () => ({
    ...withKey,
    client: { ...withKey.client, psk: qkdPsk() },
    serverAnswers: { psk: () => use(qkdPsk({}, 0x52)) },
  }),
  'with a QKD key that the server refuses': () => ({
    ...withKey,
    client: { ...withKey.client, psk: qkdPsk() },
    serverAnswers: { psk: () => ({ action: 'refuse', result: 'policy' }) },
  }),
  'with a ticket': () => ({
    client: { psk: ticket() },
    server: { acceptTickets: true },
    serverAnswers: { psk: () => use(ticket() as never) },
  }),
  'that the client does not admit': () => ({ client: { admit: () => false } }),
};

/** Secrets that have been used, here or there, since the watch began. */
const used = new Set<SecretBytes>();
const alive = () => [...used].filter(({ wiped }) => !wiped);
const { expose } = SecretBytes.prototype;

/** The connection works; what is exported meanwhile is the test's own. */
function expectUsable(pair: EnginePair): void {
  const before = new Set(used);
  expectConnected(pair);
  for (const secret of used) if (!before.has(secret)) used.delete(secret);
}

describe('the secrets', () => {
  beforeEach(() => {
    used.clear();
    SecretBytes.prototype.expose = function (this: SecretBytes) {
      used.add(this);
      return expose.call(this);
    };
  });
  afterEach(() => {
    SecretBytes.prototype.expose = expose;
  });

  const destroyBoth = ({ client, server }: EnginePair) => {
    client.engine.destroy();
    server.engine.destroy();
  };

  for (const [name, options] of Object.entries(handshakes)) {
    it(`of a handshake ${name} are wiped at its end, but for those that the connection goes on with`, () => {
      const pair = enginePair(options()).run();
      const ends = [pair.client, pair.server].filter(({ summary }) => summary !== undefined);
      // Of each end: the main secret, and a traffic secret for each direction; the exporter's has not been used.
      expect(alive()).to.have.length(3 * ends.length);
      expect(used.size).to.be.greaterThan(10);
      if (ends.length > 0) expectUsable(pair);
      destroyBoth(pair);
      expect(alive()).to.deep.equal([]);
    });

    it(`of a handshake ${name} are wiped wherever it is given up`, () => {
      for (let moves = 0; moves < 8; moves++) {
        const { client, server, ...answers } = options();
        const pair = enginePair({
          client: { groups: [29, 23], ...client },
          server: { groups: [29], ...server },
          ...answers,
        });
        pair.client.take(pair.client.engine.start());
        pair.server.take(pair.server.engine.start());
        for (let i = 0; i < moves; i++) {
          const [from, to] = i % 2 === 0 ? [pair.client, pair.server] : [pair.server, pair.client];
          for (const bytes of from.outbox.splice(0, 1)) to.take(to.engine.receive(bytes));
        }
        if (moves % 2 === 0) destroyBoth(pair);
        else for (const { engine } of [pair.client, pair.server]) engine.abort(Alert.internalError);
        expect(alive(), `after ${moves} moves`).to.deep.equal([]);
      }
    });
  }

  it('of keys that came to nothing are wiped when that is known, not at the end of the handshake', () => {
    const waiting = (options: PairOptions) => {
      used.clear();
      const pair = enginePair({ ...options, clientAnswers: { verdict: () => undefined } }).run();
      const count = alive().length;
      destroyBoth(pair);
      return count;
    };
    const without = waiting({});
    expect(without).to.be.greaterThan(0);
    for (const name of [
      'with a QKD key that the server does not have',
      'with a QKD key and HelloRetryRequest for a suite of one of its hashes',
    ]) {
      const options = handshakes[name]?.() ?? {};
      const answer: PskDecision = { action: 'continue', result: 'unavailable' };
      expect(waiting({ ...options, serverAnswers: { psk: () => answer } }), name).to.equal(without);
    }
  });

  for (const [name, key, answer] of [
    ['with a key', () => rekeyKey(1), () => rekeyKey(1)],
    ['without a key', undefined, undefined],
    ['that is refused for want of the key', () => rekeyKey(1), undefined],
    ['that is refused for another key', () => rekeyKey(1), () => rekeyKey(1, 9)],
  ] as const) {
    it(`of a rekey ${name} are wiped at its end, and those of the connection at its own`, () => {
      const pair = rekeyPair(serverThatWaits).run();
      rekey(pair, key?.());
      if (key !== undefined) pair.server.take(pair.server.engine.provideRekeyKey(answer?.()));
      pair.deliver();
      expect(pair.client.error ?? pair.server.error).to.equal(undefined);
      expect(alive()).to.have.length(6);
      expectUsable(pair);
      destroyBoth(pair);
      expect(alive()).to.deep.equal([]);
    });
  }

  it('of a rekey are wiped where the connection ends in the middle of it', () => {
    for (let moves = 0; moves < 5; moves++) {
      const pair = rekeyPair().run();
      pair.client.take(pair.client.engine.rekey(rekeyKey(1)));
      for (let i = 0; i < moves; i++) {
        const [from, to] = i % 2 === 0 ? [pair.client, pair.server] : [pair.server, pair.client];
        for (const bytes of from.outbox.splice(0)) to.take(to.engine.receive(bytes));
      }
      destroyBoth(pair);
      expect(alive(), `after ${moves} moves`).to.deep.equal([]);
    }
  });
});
