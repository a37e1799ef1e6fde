/** A rekey and the end of its connection: what waits for what, and what comes to nothing. */
import { expect } from 'chai';
import { Alert, type EngineEvent, TlsMisuseError } from '../../../tls-ext/index.ts';
import type { EnginePair, RekeyKeyRequired } from './engine-pair.ts';
import { askedPair, expectEpoch, referenceOf, rekey, rekeyEvents, rekeyKey, rekeyPair } from './rekey-pair.ts';

describe('a rekey and the end of the connection', () => {
  const closedKinds = (pair: EnginePair) =>
    [pair.client, pair.server].map((side) => side.event('closed') !== undefined && side.error === undefined);

  it('the client says close_notify when its request has been answered', () => {
    const pair = askedPair();
    expect(pair.client.engine.closeWrite()).to.deep.equal([]);
    expect(pair.client.engine.closeWrite()).to.deep.equal([]);
    expect(() => pair.client.engine.send(Uint8Array.of(1))).to.throw(TlsMisuseError);
    expect(pair.server.event('closed')).to.equal(undefined);
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    pair.deliver();
    expect(pair.server.event('closed')).not.to.equal(undefined);
    expectEpoch(pair, 1);
    pair.server.take(pair.server.engine.send(Uint8Array.of(1, 2)));
    pair.server.take(pair.server.engine.closeWrite());
    pair.deliver();
    expect(pair.client.received).to.deep.equal([1, 2]);
    expect(closedKinds(pair)).to.deep.equal([true, true]);
  });

  it('or refused', () => {
    const pair = askedPair();
    pair.client.take(pair.client.engine.closeWrite());
    pair.server.take(pair.server.engine.provideRekeyKey(undefined));
    pair.deliver();
    expect(pair.server.event('closed')).not.to.equal(undefined);
    expectEpoch(pair, 0);
  });

  it('no answer keeps close_notify waiting, until the owner has waited long enough and aborts', () => {
    const pair = askedPair();
    pair.client.take(pair.client.engine.closeWrite());
    pair.server.take(pair.server.engine.send(Uint8Array.of(1, 2)));
    pair.deliver();
    expect(pair.client.received, 'data goes on').to.deep.equal([1, 2]);
    expect(pair.server.event('closed')).to.equal(undefined);
    const [alert, ...more] = pair.client.engine.abort(Alert.internalError);
    expect(more).to.deep.equal([]);
    pair.client.take([alert as EngineEvent]);
    pair.deliver();
    expect(pair.server.error).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: Alert.internalError });
    expect(pair.server.event('closed'), 'no close_notify stands in front of it').to.equal(undefined);
    expect(pair.client.engine.closeWrite()).to.deep.equal([]);
    const late = rekeyKey(1);
    pair.server.take(pair.server.engine.provideRekeyKey(late));
    expect(late.secret.wiped).to.equal(true);
    expect(rekeyEvents(pair.client)).to.deep.equal([]);
  });

  it('a server that closes while it looks for the key does not answer; both stay, and the key is not used', () => {
    const pair = askedPair();
    pair.client.take(pair.client.engine.closeWrite());
    pair.server.take(pair.server.engine.closeWrite());
    pair.deliver();
    const refused = { type: 'rekey-refused', reference: referenceOf(1), why: 'closed' };
    expect(rekeyEvents(pair.client).at(-1)).to.deep.equal(refused);
    expect(rekeyEvents(pair.server).at(-1)).to.deep.equal(refused);
    expectEpoch(pair, 0);
    expect(closedKinds(pair)).to.deep.equal([true, true]);
    const late = rekeyKey(1);
    expect(pair.server.engine.provideRekeyKey(late)).to.deep.equal([]);
    expect(late.secret.wiped).to.equal(true);
  });

  it('a request that crosses close_notify of the server is not answered', () => {
    const pair = rekeyPair().run();
    pair.server.take(pair.server.engine.closeWrite());
    rekey(pair, rekeyKey(1));
    expect(rekeyEvents(pair.server)).to.deep.equal([]);
    expect(rekeyEvents(pair.client).map(({ type }) => type)).to.deep.equal(['rekey-refused']);
    expect(pair.client.engine.rekeyPossible).to.equal(false);
    pair.client.take(pair.client.engine.send(Uint8Array.of(5)));
    pair.client.take(pair.client.engine.closeWrite());
    pair.deliver();
    expect(pair.server.received).to.deep.equal([5]);
    expect(closedKinds(pair)).to.deep.equal([true, true]);
  });

  it('rekey_wanted that crosses close_notify of the client comes to nothing, once', () => {
    const pair = rekeyPair().run();
    pair.client.take(pair.client.engine.closeWrite());
    pair.server.take(pair.server.engine.wantRekey());
    pair.deliver();
    expect(rekeyEvents(pair.client)).to.deep.equal([]);
    pair.server.take(pair.server.engine.send(Uint8Array.of(7)));
    pair.server.take(pair.server.engine.closeWrite());
    pair.deliver();
    expect(pair.client.received).to.deep.equal([7]);
    expect(closedKinds(pair)).to.deep.equal([true, true]);
  });

  it('a server that closes behind its answer still takes the finish', () => {
    const pair = askedPair();
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    pair.server.take(pair.server.engine.closeWrite());
    pair.deliver();
    expectEpoch(pair, 1);
    pair.client.take(pair.client.engine.send(Uint8Array.of(6)));
    pair.client.take(pair.client.engine.closeWrite());
    pair.deliver();
    expect(pair.server.received).to.deep.equal([6]);
    expect(closedKinds(pair)).to.deep.equal([true, true]);
  });

  it('after either close_notify there is none any more', () => {
    for (const first of ['client', 'server'] as const) {
      const pair = rekeyPair().run();
      pair[first].take(pair[first].engine.closeWrite());
      pair.deliver();
      expect([pair.client.engine.rekeyPossible, pair.server.engine.rekeyPossible]).to.deep.equal([false, false]);
      expect(pair.server.engine.wantRekey()).to.deep.equal([]);
      expect(() => pair.client.engine.rekey()).to.throw(TlsMisuseError);
    }
  });

  it('an alert in the middle ends it, and what comes too late is nothing', () => {
    const pair = askedPair();
    pair.client.take(pair.client.engine.abort(Alert.internalError));
    pair.deliver();
    expect(pair.server.error?.code).to.equal('ERR_TLS_PEER_ALERT');
    const late = rekeyKey(1);
    expect(pair.server.engine.provideRekeyKey(late)).to.deep.equal([]);
    expect(late.secret.wiped).to.equal(true);
    const key = rekeyKey(2);
    expect(pair.client.engine.rekey(key)).to.deep.equal([]);
    expect(key.secret.wiped).to.equal(true);
    expect(pair.client.engine.rekeyPossible).to.equal(false);
  });

  it('a key that something else has taken is refused, and the connection lives on', () => {
    const held = new Set([1]);
    const take = (index: number) => (held.delete(index) ? rekeyKey(index) : undefined);
    const serverAnswers = {
      rekeyKey: ({ reference }: RekeyKeyRequired) => take(reference.api === 'etsi004' ? reference.index : 0),
    };
    const [first, second] = [rekeyPair({ serverAnswers }).run(), rekeyPair({ serverAnswers }).run()];
    expectEpoch(rekey(first, rekeyKey(1)), 1);
    expectEpoch(rekey(second, rekeyKey(1)), 0);
    expect(rekeyEvents(second.server).at(-1)).to.include({ type: 'rekey-refused', why: 'unavailable' });
    expectEpoch(rekey(second), 1);
  });
});
