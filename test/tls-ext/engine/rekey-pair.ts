/** Two engines that negotiated rekeying, and what tests of it ask of them. */
import { expect } from 'chai';
import { type EngineEvent, type QkdPsk, SecretBytes } from '../../../tls-ext/index.ts';
import { type EnginePair, enginePair, type PairOptions, qkdReference, type Side } from './engine-pair.ts';

/** A key for a rekey, the same at both ends unless told otherwise. */
export function rekeyKey(index: number, fill = index): QkdPsk {
  return {
    kind: 'qkd',
    reference: { ...qkdReference, index },
    context: { purpose: 'rekey', drawer: 'siteA', answerer: 'siteB' },
    secret: new SecretBytes(new Uint8Array(32).fill(fill)),
  };
}

/** The server has every key unless told otherwise. */
export function rekeyPair(options: PairOptions = {}): EnginePair {
  return enginePair({
    ...options,
    client: { offerRekey: true, qkdOffer: { offer: 'none', reason: 'pool_empty' }, ...options.client },
    server: { offerRekey: true, qkd: true, ...options.server },
    serverAnswers: {
      psk: () => ({ action: 'continue', result: 'unavailable' }),
      rekeyKey: ({ reference }) => rekeyKey(reference.api === 'etsi004' ? reference.index : 0),
      ...options.serverAnswers,
    },
  });
}

export const referenceOf = (index: number) => ({ ...qkdReference, index });

/** It answers when the test does. */
export const serverThatWaits = { serverAnswers: { rekeyKey: () => 'later' as const } };

/** A pair whose client has asked, and whose server has heard it and not yet answered. */
export const askedPair = (): EnginePair => rekey(rekeyPair(serverThatWaits).run(), rekeyKey(1));

type RekeyEvent = Extract<EngineEvent, { type: `rekey${string}` }>;

/** What a side said of rekeying, in its order. */
export const rekeyEvents = (side: Side): RekeyEvent[] =>
  side.events.filter((event): event is RekeyEvent => event.type.startsWith('rekey'));

/** The client rekeys, and both talk until there is nothing more to say. */
export function rekey(pair: EnginePair, key?: QkdPsk): EnginePair {
  pair.client.take(pair.client.engine.rekey(key));
  return pair.deliver();
}

const LABEL = 'EXPORTER-test';
const noContext = new Uint8Array(0);

/** Both are in this epoch and have the same exporter of it; that of the handshake stays. */
export function expectEpoch({ client, server }: EnginePair, epoch: number): void {
  expect([client.engine.epoch, server.engine.epoch]).to.deep.equal([epoch, epoch]);
  const [ours, theirs] = [client, server].map(({ engine }) => engine.exportEpochKeyingMaterial(LABEL, noContext, 32));
  expect(ours).to.deep.equal(theirs);
  const ofHandshake = client.engine.exportKeyingMaterial(LABEL, noContext, 32);
  expect(ofHandshake).to.deep.equal(server.engine.exportKeyingMaterial(LABEL, noContext, 32));
  if (epoch === 0) expect(ours).to.deep.equal(ofHandshake);
  else expect(ours).not.to.deep.equal(ofHandshake);
}
