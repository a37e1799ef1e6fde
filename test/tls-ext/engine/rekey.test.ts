/** The rekey of a live connection, between two engines of ours (draft-qstunnel-tls-qkd-psk, "Rekeying a live connection"). */
import { expect } from 'chai';
import { type EngineEvent, type QkdPsk, SecretBytes } from '../../../tls-ext/index.ts';
import {
  type Answers,
  type EnginePair,
  enginePair,
  expectConnected,
  type PairOptions,
  qkdReference,
  random,
  type Side,
} from './engine-pair.ts';

export const rekeyContext = { purpose: 'rekey', drawer: 'siteA', answerer: 'siteB' } as const;

/** A key for the rekey to this epoch, the same at both ends unless told otherwise. */
export function rekeyKey(index: number, fill = index): QkdPsk {
  return {
    kind: 'qkd',
    reference: { ...qkdReference, index },
    context: rekeyContext,
    secret: new SecretBytes(new Uint8Array(32).fill(fill)),
  };
}

const serverHasKey: Answers = {
  rekeyKey: ({ reference }) => rekeyKey(reference.api === 'etsi004' ? reference.index : 0),
};

/** A pair that negotiated rekeying; the server has every key unless told otherwise. */
export function rekeyPair(options: PairOptions = {}): EnginePair {
  return enginePair({
    ...options,
    client: { offerRekey: true, qkdOffer: { offer: 'none', reason: 'pool_empty' }, ...options.client },
    server: { offerRekey: true, qkd: true, ...options.server },
    serverAnswers: {
      psk: () => ({ action: 'continue', result: 'unavailable' }),
      ...serverHasKey,
      ...options.serverAnswers,
    },
  });
}

const _kinds = (side: Side) =>
  side.events.map(({ type }) => type).filter((type) => type !== 'write' && type !== 'plaintext');
const rekeyEvents = (side: Side) => side.events.filter(({ type }) => type.startsWith('rekey'));
const _events = <T extends EngineEvent['type']>(side: Side, type: T) =>
  side.events.filter((event): event is Extract<EngineEvent, { type: T }> => event.type === type);

function rekey(pair: EnginePair, key?: QkdPsk): EnginePair {
  pair.client.take(pair.client.engine.rekey(key));
  return pair.deliver();
}

/** Both are in this epoch, have the same exporter of it, and that of the handshake as ever. */
function expectEpoch(pair: EnginePair, epoch: number): void {
  const ends = [pair.client.engine, pair.server.engine];
  expect(ends.map((engine) => engine.epoch)).to.deep.equal([epoch, epoch]);
  const [client, server] = ends.map((engine) => engine.exportEpochKeyingMaterial('EXPORTER-x', random(0), 32));
  expect(client).to.deep.equal(server);
  const handshake = ends[0]?.exportKeyingMaterial('EXPORTER-x', random(0), 32);
  if (epoch === 0) expect(client).to.deep.equal(handshake);
  else expect(client).not.to.deep.equal(handshake);
}

describe('rekeying', () => {
  it('with a QKD key changes both directions, and says so at both ends', () => {
    const pair = rekeyPair().run();
    expect(pair.client.summary?.rekey).to.equal(true);
    expectEpoch(pair, 0);
    rekey(pair, rekeyKey(1));
    expectEpoch(pair, 1);
    const rekeyed = { type: 'rekeyed', epoch: 1, status: 'used', reference: { ...qkdReference, index: 1 } };
    expect(rekeyEvents(pair.client)).to.deep.equal([rekeyed]);
    expect(rekeyEvents(pair.server)).to.deep.equal([
      { type: 'rekey-key-required', reference: rekeyed.reference },
      rekeyed,
    ]);
    expectConnected(pair);
  });
});
