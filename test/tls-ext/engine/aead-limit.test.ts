/** The usage limit of an AEAD, made small: new keys come in time, and where none come the connection ends before it. */
import { expect } from 'chai';
import { Alert, CipherSuite, cipherSuiteInfo } from '../../../tls-ext/index.ts';
import { type EnginePair, enginePair, type Side } from './engine-pair.ts';
import { expectEpoch, rekey, rekeyEvents, rekeyKey, rekeyPair } from './rekey-pair.ts';

const LIMIT_RECORDS = 64;
/** Where new keys are due, a client takes them by itself, and application data ends. */
const DUE_RECORDS = 48;
const OWN_REKEY_RECORDS = 56;
const DATA_RECORDS = 60;

const aead = cipherSuiteInfo(CipherSuite.aes256GcmSha384)?.aead as { sealLimitRecords: number };
const { sealLimitRecords } = aead;

/** One record after the other. */
function send(pair: EnginePair, from: Side, records: number): void {
  for (let i = 0; i < records && from.error === undefined; i++) {
    from.take(from.engine.send(Uint8Array.of(i)));
    pair.deliver();
  }
}

const wanted = (side: Side) => rekeyEvents(side).flatMap((event) => (event.type === 'rekey-wanted' ? [event.by] : []));

/** Records that a side has sent since the last time. */
function recordsOf(pair: EnginePair, from: 'client' | 'server'): number {
  const bytes = Buffer.concat(pair.wire.splice(0).flatMap((sent) => (sent.from === from ? [sent.bytes] : [])));
  let records = 0;
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) records++;
  return records;
}

describe('the usage limit of an AEAD', () => {
  beforeEach(() => {
    aead.sealLimitRecords = LIMIT_RECORDS;
  });
  afterEach(() => {
    aead.sealLimitRecords = sealLimitRecords;
  });

  it('makes a client ask its owner for a rekey, once in an epoch', () => {
    const pair = rekeyPair().run();
    send(pair, pair.client, DUE_RECORDS - 1);
    expect(wanted(pair.client)).to.deep.equal([]);
    send(pair, pair.client, 1);
    expect(wanted(pair.client)).to.deep.equal(['limit']);
    send(pair, pair.client, 2);
    expect(wanted(pair.client)).to.deep.equal(['limit']);
    pair.client.take(pair.client.engine.rekey(rekeyKey(1)));
    pair.deliver();
    expectEpoch(pair, 1);
    send(pair, pair.client, DUE_RECORDS + 1);
    expect(wanted(pair.client)).to.deep.equal(['limit', 'limit']);
  });

  it('makes a client rekey by itself where its owner does not, without a key', () => {
    const pair = rekeyPair().run();
    send(pair, pair.client, OWN_REKEY_RECORDS - 1);
    expectEpoch(pair, 0);
    send(pair, pair.client, 1);
    expectEpoch(pair, 1);
    send(pair, pair.client, 10 * LIMIT_RECORDS);
    expect(pair.client.error ?? pair.server.error).to.equal(undefined);
    expect(pair.server.received).to.have.length(OWN_REKEY_RECORDS + 10 * LIMIT_RECORDS);
    expect(
      rekeyEvents(pair.client).every((event) => event.type !== 'rekeyed' || event.status === 'without_key'),
    ).to.equal(true);
  });

  it('of what the server sends makes it wish for a rekey, and the client count as well', () => {
    const pair = rekeyPair().run();
    send(pair, pair.server, DUE_RECORDS);
    expect(wanted(pair.client)).to.have.members(['peer', 'limit']);
    expectEpoch(pair, 0);
    send(pair, pair.server, 10 * LIMIT_RECORDS);
    expect(pair.client.error ?? pair.server.error).to.equal(undefined);
    expect(pair.client.received).to.have.length(DUE_RECORDS + 10 * LIMIT_RECORDS);
    expect(pair.client.engine.epoch).to.be.greaterThan(9);
  });

  for (const from of ['client', 'server'] as const) {
    it(`makes a server answer a rekey without a key that it would refuse, when it comes near to what the ${from} sends`, () => {
      const pair = rekeyPair({ server: { rekeyWithoutKey: 'refuse' } }).run();
      rekey(pair);
      expectEpoch(pair, 0);
      send(pair, pair[from], 10 * LIMIT_RECORDS);
      expect(pair.client.error ?? pair.server.error).to.equal(undefined);
      expect(pair[from === 'client' ? 'server' : 'client'].received).to.have.length(10 * LIMIT_RECORDS);
      // In a fresh epoch its policy holds again.
      const epoch = pair.client.engine.epoch;
      expect(epoch).to.be.greaterThan(9);
      rekey(pair);
      expectEpoch(pair, epoch);
    });

    it(`is near for a server at the very record of the ${from} where new keys are due`, () => {
      const pair = rekeyPair({ server: { rekeyWithoutKey: 'refuse' } }).run();
      // The request and its refusal are records as well.
      send(pair, pair[from], DUE_RECORDS - 2);
      rekey(pair);
      expectEpoch(pair, 0);
      send(pair, pair[from], 1);
      rekey(pair);
      expectEpoch(pair, 1);
    });

    it(`is never passed by a ${from} whose peer does not answer: it ends the connection, and says so`, () => {
      const pair = rekeyPair().run();
      const [sender, other] = from === 'client' ? [pair.client, pair.server] : [pair.server, pair.client];
      for (let i = 0; i < LIMIT_RECORDS && sender.error === undefined; i++) {
        sender.take(sender.engine.send(Uint8Array.of(i)));
        for (const bytes of sender.outbox.splice(0)) other.take(other.engine.receive(bytes));
        other.outbox.length = 0;
      }
      expect(sender.error?.code).to.equal('ERR_TLS_LIMIT');
      expect(other.error?.code).to.equal('ERR_TLS_PEER_ALERT');
      expect(other.error?.alert).to.equal(Alert.internalError);
      expect(other.received.length).to.be.within(DATA_RECORDS - 2, DATA_RECORDS);
    });

    const other = from === 'client' ? 'server' : 'client';
    for (const [name, makePair] of Object.entries({ 'rekeying is on': rekeyPair, 'it is off': enginePair })) {
      it(`is met by KeyUpdate after close_notify of the ${other}, where ${name}`, () => {
        const pair = makePair().run();
        pair[other].take(pair[other].engine.closeWrite());
        pair.deliver();
        send(pair, pair[from], 10 * LIMIT_RECORDS);
        expect(pair.client.error ?? pair.server.error).to.equal(undefined);
        expect(pair[other].received).to.have.length(10 * LIMIT_RECORDS);
        pair[from].take(pair[from].engine.closeWrite());
        pair.deliver();
        expect(pair[other].event('closed')).not.to.equal(undefined);
      });
    }
  }

  it('is met by KeyUpdate at the very record where new keys are due, where rekeying is off', () => {
    const pair = enginePair().run();
    recordsOf(pair, 'client');
    send(pair, pair.client, DUE_RECORDS - 1);
    expect(recordsOf(pair, 'client')).to.equal(DUE_RECORDS - 1);
    send(pair, pair.client, 1);
    expect(recordsOf(pair, 'client'), 'the data, and KeyUpdate').to.equal(2);
    send(pair, pair.client, 1);
    expect(recordsOf(pair, 'client')).to.equal(1);
  });

  it('is met after a rekey and close_notify, from the secrets of the new epoch', () => {
    const pair = rekeyPair().run();
    pair.client.take(pair.client.engine.rekey(rekeyKey(1)));
    pair.deliver();
    pair.client.take(pair.client.engine.closeWrite());
    pair.deliver();
    send(pair, pair.server, 3 * LIMIT_RECORDS);
    expect(pair.client.received).to.have.length(3 * LIMIT_RECORDS);
  });
});
