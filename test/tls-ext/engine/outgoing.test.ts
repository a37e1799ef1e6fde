/** What one end sends: the order and versions of its records, writes, and what stops when it has ended. */
import { expect } from 'chai';
import type { BufferPool } from '../../../tls-ext/engine-types.ts';
import { Alert, NamedGroup, TlsMisuseError } from '../../../tls-ext/index.ts';
import { Outgoing } from '../../../tls-ext/outgoing.ts';
import { BULK_BUFFER_BYTES } from '../../../tls-ext/record/index.ts';
import { bytesOf, innerOf, keysOf, patterned, plaintextRecord, sealRaw } from '../record/record-fixtures.ts';
import { enginePair, random } from './engine-pair.ts';

const changeCipherSpec = plaintextRecord(20, Uint8Array.of(1));
const message = Uint8Array.of(1, 0, 0, 1, 7);
const taken = (outgoing: Outgoing) => bytesOf(outgoing.takeWrites());

describe('outgoing records', () => {
  it("a client's first flight alone has the version of old middleboxes", () => {
    const client = new Outgoing('client', {} as never);
    client.message(message);
    expect(taken(client)).to.deep.equal(plaintextRecord(22, message, 0x0301));
    client.message(message);
    expect(taken(client)).to.deep.equal(plaintextRecord(22, message, 0x0303));
    const server = new Outgoing('server', {} as never);
    server.message(message);
    expect(taken(server)).to.deep.equal(plaintextRecord(22, message, 0x0303));
  });

  it("a server's change_cipher_spec follows its first message at once, a HelloRetryRequest too", () => {
    const server = new Outgoing('server', {} as never);
    server.message(message);
    server.changeCipherSpec();
    expect(taken(server)).to.deep.equal(Uint8Array.of(...plaintextRecord(22, message), ...changeCipherSpec));
    server.message(message);
    server.changeCipherSpec();
    expect(taken(server)).to.deep.equal(plaintextRecord(22, message));
    const pair = enginePair({ server: { groups: [NamedGroup.x25519] } }).run();
    const [first] = pair.wire.filter(({ from }) => from === 'server');
    expect(first?.bytes.slice(-changeCipherSpec.length)).to.deep.equal(changeCipherSpec);
  });

  it("a client's stands in front of its second flight", () => {
    const client = new Outgoing('client', {} as never);
    client.message(message);
    taken(client);
    client.changeCipherSpec();
    expect(taken(client)).to.have.length(0);
    client.message(message);
    expect(taken(client)).to.deep.equal(Uint8Array.of(...changeCipherSpec, ...plaintextRecord(22, message)));
  });

  it('what was written before the keys ended is still to be taken, and nothing is sealed after', () => {
    const outgoing = new Outgoing('client', {} as never);
    outgoing.protect(keysOf(0));
    outgoing.message(message);
    outgoing.wipe();
    expect(taken(outgoing)).to.deep.equal(sealRaw(0, 0, innerOf(message, 22)));
    expect(() => outgoing.applicationData(message)).to.throw(TlsMisuseError);
  });

  it('pooled buffers keep their release, whatever stands before or behind them', () => {
    const outgoing = new Outgoing('client', {} as never);
    outgoing.protect(keysOf(0));
    outgoing.applicationData(patterned(BULK_BUFFER_BYTES));
    outgoing.lastMessage(message);
    const writes = outgoing.takeWrites();
    expect(writes.map(({ release }) => release !== undefined)).to.deep.equal([true, true, false]);
    for (const { release } of writes) release?.();
  });

  it('small writes of one call are one write', () => {
    const outgoing = new Outgoing('client', {} as never);
    outgoing.protect(keysOf(0));
    outgoing.lastMessage(message);
    outgoing.lastMessage(message);
    expect(outgoing.takeWrites()).to.have.length(1);
  });
});

describe('a connection', () => {
  it("seals into its owner's buffers, and in place, in the order of the calls", () => {
    let acquired = 0;
    const bufferPool: BufferPool = {
      acquire: () => {
        acquired++;
        return new Uint8Array(BULK_BUFFER_BYTES);
      },
      release: () => {},
    };
    const pair = enginePair({ client: { bufferPool } }).run();
    const { client, server } = pair;
    const data = random(20_001);
    acquired = 0;
    client.take(client.engine.sendInPlace(data, 1, 20_000));
    client.take(client.engine.send(Uint8Array.of(1, 2, 3)));
    pair.deliver();
    expect(server.received).to.deep.equal([...data.subarray(1, 20_000), 1, 2, 3]);
    expect(acquired).to.equal(1);
  });

  it('says nothing after close_notify, even of a fault', () => {
    const { client } = enginePair().run();
    expect(client.engine.closeWrite().map(({ type }) => type)).to.deep.equal(['write']);
    const events = client.engine.receive(plaintextRecord(24, Uint8Array.of(1)));
    expect(events.map(({ type }) => type)).to.deep.equal(['failed']);
    expect(client.engine.abort(Alert.internalError)).to.deep.equal([]);
  });
});
