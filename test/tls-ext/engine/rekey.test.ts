/** The rekey of a live connection, between two engines of ours (draft-qstunnel-tls-qkd-psk, "Rekeying a live connection"). */
import { expect } from 'chai';
import { MAX_IDLE_REKEY_REQUESTS } from '../../../tls-ext/handshake/message-allowance.ts';
import {
  defaultKeyAgreements,
  hexOf,
  type KeyAgreementProvider,
  NamedGroup,
  namedGroups,
  type SecretBytes,
  TlsMisuseError,
  tlsExporterChannelBinding,
} from '../../../tls-ext/index.ts';
import { type EnginePair, enginePair, expectConnected, qkdPsk, random } from './engine-pair.ts';
import {
  askedPair,
  expectEpoch,
  referenceOf,
  rekey,
  rekeyEvents,
  rekeyKey,
  rekeyPair,
  serverThatWaits,
} from './rekey-pair.ts';

/** Delivers only what one side has said so far. */
function deliverFrom(pair: EnginePair, from: 'client' | 'server'): void {
  const [sender, receiver] = from === 'client' ? [pair.client, pair.server] : [pair.server, pair.client];
  for (const bytes of sender.outbox.splice(0)) receiver.take(receiver.engine.receive(bytes));
}

describe('a rekey', () => {
  it('with a QKD key changes both directions, and both ends say so', () => {
    const pair = rekeyPair().run();
    expect(pair.client.summary?.rekey).to.equal(true);
    expectEpoch(pair, 0);
    rekey(pair, rekeyKey(1));
    expectEpoch(pair, 1);
    const rekeyed = { type: 'rekeyed', epoch: 1, status: 'used', reference: referenceOf(1) };
    expect(rekeyEvents(pair.client)).to.deep.equal([rekeyed]);
    expect(rekeyEvents(pair.server)).to.deep.equal([
      { type: 'rekey-key-required', reference: rekeyed.reference },
      rekeyed,
    ]);
    expectConnected(pair);
  });

  it('leaves the channel binding as it was (RFC 9266)', () => {
    const pair = rekeyPair().run();
    const bindings = () => [pair.client, pair.server].map(({ engine }) => hexOf(tlsExporterChannelBinding(engine)));
    const [binding] = bindings() as [string];
    expect(binding).to.equal(
      hexOf(pair.server.engine.exportKeyingMaterial('EXPORTER-Channel-Binding', new Uint8Array(0), 32)),
    );
    expect(bindings()).to.deep.equal([binding, binding]);
    rekey(pair, rekeyKey(1));
    expect(bindings()).to.deep.equal([binding, binding]);
  });

  it('without a key refreshes by the key exchange alone, and both ends say so', () => {
    const pair = rekey(rekeyPair().run());
    expectEpoch(pair, 1);
    const rekeyed = { type: 'rekeyed', epoch: 1, status: 'without_key' };
    expect(rekeyEvents(pair.client)).to.deep.equal([rekeyed]);
    expect(rekeyEvents(pair.server)).to.deep.equal([rekeyed]);
    expectConnected(pair);
  });

  it('follows rekey, each from the one before', () => {
    const pair = rekeyPair({
      client: { psk: qkdPsk(), qkdOffer: { offer: 'key' } },
      serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
    }).run();
    for (let epoch = 1; epoch <= 5; epoch++) {
      rekey(pair, epoch === 3 ? undefined : rekeyKey(epoch));
      expectEpoch(pair, epoch);
      expectConnected(pair);
    }
  });

  for (const { codePoint, name } of namedGroups) {
    it(`has a share of the negotiated group: ${name}`, () => {
      const pair = rekeyPair({ client: { groups: [codePoint] }, server: { groups: [codePoint] } }).run();
      expectConnected(rekey(pair, rekeyKey(9)));
      expectEpoch(pair, 1);
    });
  }

  for (const cipherSuite of [0x1301, 0x1302, 0x1303]) {
    it(`works with suite 0x${cipherSuite.toString(16)}`, () => {
      const pair = rekeyPair({ client: { cipherSuites: [cipherSuite] } }).run();
      expectConnected(rekey(pair, rekeyKey(9)));
      expectEpoch(pair, 1);
    });
  }

  it('is not there where one side does not set the feature bit, or has no qkd_psk', () => {
    for (const options of [
      { client: { offerRekey: false } },
      { server: { offerRekey: false } },
      { server: { qkd: false } },
    ]) {
      const pair = rekeyPair(options).run();
      expect([pair.client.summary?.rekey, pair.server.summary?.rekey]).to.deep.equal([false, false]);
      expect(pair.client.engine.rekeyPossible).to.equal(false);
      expect(() => pair.client.engine.rekey()).to.throw(TlsMisuseError);
      expect(() => pair.server.engine.wantRekey()).to.throw(TlsMisuseError);
      expect(() => pair.server.engine.provideRekeyKey(undefined)).to.throw(TlsMisuseError);
    }
  });

  it('belongs to roles: a client asks, a server wants', () => {
    const pair = rekeyPair().run();
    expect(() => pair.server.engine.rekey()).to.throw(TlsMisuseError);
    expect(() => pair.client.engine.wantRekey()).to.throw(TlsMisuseError);
    expect(() => pair.client.engine.provideRekeyKey(undefined)).to.throw(TlsMisuseError);
    expect(() => pair.server.engine.provideRekeyKey(undefined)).to.throw(TlsMisuseError);
    expect(() => enginePair().client.engine.rekey()).to.throw(TlsMisuseError);
  });

  it('takes a key for rekeying only, and wipes it', () => {
    const pair = rekeyPair().run();
    const forHandshake = qkdPsk();
    expect(() => pair.client.engine.rekey(forHandshake)).to.throw(TlsMisuseError);
    expect(forHandshake.secret.wiped).to.equal(true);
    const key = rekeyKey(1);
    rekey(pair, key);
    expect(key.secret.wiped).to.equal(true);
    expectConnected(pair);
  });

  it('is one at a time', () => {
    const pair = askedPair();
    expect(pair.client.engine.rekeyPossible).to.equal(false);
    const second = rekeyKey(2);
    expect(() => pair.client.engine.rekey(second)).to.throw(TlsMisuseError);
    expect(second.secret.wiped).to.equal(true);
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    expectConnected(pair.deliver());
    expectEpoch(pair, 1);
    expect(pair.client.engine.rekeyPossible).to.equal(true);
  });
});

describe('a rekey that is refused', () => {
  const refused = (why?: string, index?: number) => ({
    type: 'rekey-refused',
    ...(index === undefined ? {} : { reference: referenceOf(index) }),
    ...(why === undefined ? {} : { why }),
  });

  it('because the server does not have the key leaves the connection in its epoch, and another key works', () => {
    let have = false;
    const pair = rekeyPair({ serverAnswers: { rekeyKey: () => (have ? rekeyKey(2) : undefined) } }).run();
    rekey(pair, rekeyKey(1));
    expect(rekeyEvents(pair.client)).to.deep.equal([refused(undefined, 1)]);
    expect(rekeyEvents(pair.server).at(-1)).to.deep.equal(refused('unavailable', 1));
    expectEpoch(pair, 0);
    expectConnected(pair);
    have = true;
    rekey(pair, rekeyKey(2));
    expectEpoch(pair, 1);
    expectConnected(pair);
  });

  it('because the ends hold different keys leaves it too, and only the server knows why', () => {
    const theirs = rekeyKey(1, 99);
    const pair = rekeyPair({ serverAnswers: { rekeyKey: () => theirs } }).run();
    rekey(pair, rekeyKey(1));
    expect(rekeyEvents(pair.client)).to.deep.equal([refused(undefined, 1)]);
    expect(rekeyEvents(pair.server).at(-1)).to.deep.equal(refused('binder', 1));
    expect(theirs.secret.wiped).to.equal(true);
    expectEpoch(pair, 0);
    expectConnected(pair);
  });

  it('because the server has another context for it', () => {
    const context = { purpose: 'rekey', drawer: 'siteA', answerer: 'siteC' } as const;
    const pair = rekeyPair({ serverAnswers: { rekeyKey: () => ({ ...rekeyKey(1), context }) } }).run();
    rekey(pair, rekeyKey(1));
    expect(rekeyEvents(pair.server).at(-1)).to.deep.equal(refused('unavailable', 1));
    expectConnected(pair);
  });

  it('because the server wants none without a key', () => {
    const pair = rekey(rekeyPair({ server: { rekeyWithoutKey: 'refuse' } }).run());
    expect(rekeyEvents(pair.client)).to.deep.equal([refused()]);
    expect(rekeyEvents(pair.server)).to.deep.equal([refused('policy')]);
    expectEpoch(pair, 0);
    rekey(pair, rekeyKey(1));
    expectEpoch(pair, 1);
    expectConnected(pair);
  });
});

describe('a rekey and what crosses it', () => {
  it('data goes on in both directions while the server looks for the key, and behind each message', () => {
    const pair = askedPair();
    expectConnected(pair);
    const { client, server } = pair;
    // The answer and data behind it under new keys; data of the client under the old ones, then Finish and data behind it.
    server.take(server.engine.provideRekeyKey(rekeyKey(1)));
    server.take(server.engine.send(Uint8Array.of(1)));
    // In between the server's epoch is the old one, whole.
    expect(server.engine.exportEpochKeyingMaterial('EXPORTER-x', random(0), 32)).to.deep.equal(
      client.engine.exportEpochKeyingMaterial('EXPORTER-x', random(0), 32),
    );
    client.received = [];
    server.received = [];
    client.take(client.engine.send(Uint8Array.of(2)));
    deliverFrom(pair, 'client');
    expect(server.received).to.deep.equal([2]);
    deliverFrom(pair, 'server');
    client.take(client.engine.send(Uint8Array.of(3)));
    expect([client.engine.epoch, server.engine.epoch]).to.deep.equal([1, 0]);
    pair.deliver();
    expect([client.received, server.received]).to.deep.equal([[1], [2, 3]]);
    expectEpoch(pair, 1);
  });

  it('a wish of the server is told once in an epoch', () => {
    const pair = rekeyPair().run();
    const wanted = { type: 'rekey-wanted', by: 'peer' };
    for (let i = 0; i < 3; i++) pair.server.take(pair.server.engine.wantRekey());
    pair.deliver();
    expect(rekeyEvents(pair.client)).to.deep.equal([wanted]);
    rekey(pair, rekeyKey(1));
    pair.server.take(pair.server.engine.wantRekey());
    pair.deliver();
    expect(rekeyEvents(pair.client).filter(({ type }) => type === 'rekey-wanted')).to.deep.equal([wanted, wanted]);
    expectConnected(pair);
  });

  it('a wish that crosses the request is dropped: the request answers it', () => {
    const pair = rekeyPair().run();
    pair.server.take(pair.server.engine.wantRekey());
    rekey(pair, rekeyKey(1));
    expect(rekeyEvents(pair.client).map(({ type }) => type)).to.deep.equal(['rekeyed']);
    expectEpoch(pair, 1);
    expectConnected(pair);
  });

  it('the server has no wish between request and finish', () => {
    const pair = askedPair();
    expect(pair.server.engine.wantRekey()).to.deep.equal([]);
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    expect(pair.server.engine.wantRekey()).to.deep.equal([]);
    expectConnected(pair.deliver());
  });

  it('requests are bounded by the data that the connection carries, and the client knows the bound', () => {
    const pair = rekeyPair({ serverAnswers: { rekeyKey: () => undefined } }).run();
    for (let i = 0; i < MAX_IDLE_REKEY_REQUESTS; i++) {
      expect(pair.client.engine.rekeyPossible).to.equal(true);
      rekey(pair, rekeyKey(1));
    }
    expect(pair.client.engine.rekeyPossible).to.equal(false);
    expect(() => pair.client.engine.rekey()).to.throw(TlsMisuseError);
    // Both directions count, each at both ends.
    pair.client.take(pair.client.engine.send(random(8_192)));
    pair.server.take(pair.server.engine.send(random(8_192)));
    pair.deliver();
    expect(pair.client.engine.rekeyPossible).to.equal(true);
    expectConnected(rekey(pair));
  });

  it('rekeys with a key are bounded by the keys alone', () => {
    const pair = rekeyPair().run();
    for (let i = 1; i <= 3 * MAX_IDLE_REKEY_REQUESTS; i++) rekey(pair, rekeyKey(i));
    expectEpoch(pair, 3 * MAX_IDLE_REKEY_REQUESTS);
    expectConnected(pair);
  });
});

describe('secrets of a rekey', () => {
  /** Key agreements that show what they gave away. */
  function watchedAgreements(secrets: SecretBytes[], live: { keys: number }): KeyAgreementProvider {
    return (group) => {
      const agreement = defaultKeyAgreements(group);
      if (agreement === undefined) return undefined;
      const watch = (secret: SecretBytes) => {
        secrets.push(secret);
        return secret;
      };
      return {
        ...agreement,
        generateKeyShare() {
          const keyShare = agreement.generateKeyShare();
          live.keys++;
          return {
            share: keyShare.share,
            finish: (serverShare) => watch(keyShare.finish(serverShare)),
            wipe() {
              live.keys--;
              keyShare.wipe();
            },
          };
        },
        respond(clientShare) {
          const answer = agreement.respond(clientShare);
          watch(answer.secret);
          return answer;
        },
      };
    };
  }

  it('are wiped: shares, shared secrets, and keys', () => {
    const secrets: SecretBytes[] = [];
    const live = { keys: 0 };
    const keyAgreements = watchedAgreements(secrets, live);
    const pair = rekeyPair({ client: { keyAgreements }, server: { keyAgreements }, ...serverThatWaits }).run();
    rekey(pair, rekeyKey(1));
    expect(live.keys).to.equal(1);
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    expectConnected(pair.deliver());
    expect(live.keys).to.equal(0);
    expect(secrets.map(({ wiped }) => wiped)).to.deep.equal([true, true, true, true]);
    // Given up in the middle, too.
    rekey(pair, rekeyKey(2));
    expect(live.keys).to.equal(1);
    pair.client.engine.destroy();
    expect(live.keys).to.equal(0);
  });

  it('go to the key log under their epoch, if there is one', () => {
    const lines: string[] = [];
    const pair = rekeyPair({ client: { unsafeKeyLog: (line) => lines.push(line) } }).run();
    rekey(pair, rekeyKey(1));
    const labels = lines.map((line) => line.split(' ')[0]);
    expect(labels.slice(-2)).to.deep.equal(['SERVER_TRAFFIC_SECRET_1', 'CLIENT_TRAFFIC_SECRET_1']);
  });

  it('export only while the connection lives', () => {
    const pair = rekeyPair();
    expect(() => pair.client.engine.exportEpochKeyingMaterial('EXPORTER-x', random(0), 32)).to.throw(TlsMisuseError);
    pair.run();
    pair.client.engine.destroy();
    expect(() => pair.client.engine.exportEpochKeyingMaterial('EXPORTER-x', random(0), 32)).to.throw(TlsMisuseError);
    expect(pair.client.engine.rekeyPossible).to.equal(false);
    expect(NamedGroup.x25519MlKem768).to.equal(pair.server.summary?.group);
  });
});
