import { mock } from 'node:test';
import { expect } from 'chai';
import type { KeyEvent, TlsConnection } from '../../proxy/data-path/index.ts';
import { InProcessStore } from '../../proxy/state-store.ts';
import { ClientTickets } from '../../proxy/tunnel/client-tickets.ts';
import { admitsDescendant, KeyDescent } from '../../proxy/tunnel/key-budget.ts';
import { RekeyQueue } from '../../proxy/tunnel/rekey-queue.ts';
import { ServerTickets, type TicketRecord } from '../../proxy/tunnel/server-tickets.ts';
import { SecretBytes } from '../../tls-ext/index.ts';

const limits = { timeMs: 60_000, bytes: 1_000, connections: 3 };
const secrets: SecretBytes[] = [];
const secret = () => {
  const one = new SecretBytes(new Uint8Array(32).fill(1));
  secrets.push(one);
  return one;
};
const isWiped = (one: SecretBytes | undefined) => {
  try {
    return one?.expose().every((byte) => byte === 0) ?? false;
  } catch {
    return true;
  }
};
const ticket = (epoch = 0): Extract<KeyEvent, { type: 'ticket' }> => ({
  ...{ type: 'ticket', epoch, lifetimeSeconds: 60, ageAdd: 0xffff_ffff },
  psk: { kind: 'resumption', identity: new Uint8Array(32), secret: secret(), cipherSuite: 0x1302 },
});
const facts = (descent: KeyDescent) => ({
  ...{ peerSae: 'siteB', authentication: 'ECDSA P-256', notAfterMs: Date.now() + 3_600_000, descent },
});

describe('what one QKD key may protect', () => {
  beforeEach(() => secrets.splice(0));

  it('counts the connections and bytes of all that descend from it, those that go on included', () => {
    const descent = new KeyDescent('key', 1_000);
    const [first, second] = [{ dataBytes: 100 }, { dataBytes: 0 }];
    descent.enter(first);
    descent.enter(second);
    first.dataBytes = 400;
    second.dataBytes = 50;
    expect([descent.connections, descent.bytes, descent.ageMs(1_500)]).to.deep.equal([2, 350, 500]);
    descent.leave(first);
    descent.leave(first);
    first.dataBytes = 9_999;
    expect(descent.bytes).to.equal(350);
  });

  it('admits another connection until the first limit is reached', () => {
    const descent = new KeyDescent('key', 0);
    const counter = { dataBytes: 0 };
    descent.enter(counter);
    expect(admitsDescendant(limits, descent, 59_999)).to.equal(true);
    expect(admitsDescendant(limits, descent, 60_000), 'too old').to.equal(false);
    expect(admitsDescendant({ ...limits, timeMs: 0 }, descent, 1e9)).to.equal(true);
    counter.dataBytes = 1_000;
    expect(admitsDescendant(limits, descent, 1), 'too much data').to.equal(false);
    counter.dataBytes = 0;
    for (let more = 0; more < 2; more++) descent.enter({ dataBytes: 0 });
    expect(admitsDescendant(limits, descent, 1), 'too many connections').to.equal(false);
  });

  it('tickets of a client go with the rekey of their connection, and are wiped', () => {
    const tickets = new ClientTickets({ limits, count: 2, peerSae: ['siteB'] });
    const [session, other] = [{}, {}];
    const descent = new KeyDescent('key', performance.now());
    tickets.add(ticket(), session, facts(descent));
    tickets.add(ticket(), other, facts(descent));
    tickets.voidOf(session);
    expect(tickets.size).to.equal(1);
    expect(isWiped(secrets[0])).to.equal(true);
    const taken = tickets.take();
    const ageMs = ((taken?.psk.obfuscatedTicketAge ?? 0) - 0xffff_ffff + 2 ** 32) % 2 ** 32;
    expect(ageMs, 'modulo 2^32').to.be.lessThan(60_000);
    expect(isWiped(taken?.psk.secret)).to.equal(false);
    expect(tickets.take()).to.equal(undefined);
    tickets.add(ticket(), other, facts(descent));
    tickets.close();
    expect(isWiped(secrets[2])).to.equal(true);
  });

  it('tickets of a client are not used for a peer that is not admitted any more, or beyond the budget', () => {
    const tickets = new ClientTickets({ limits, count: 2, peerSae: ['siteB'] });
    const descent = new KeyDescent('key', performance.now());
    tickets.add(ticket(), {}, { ...facts(descent), peerSae: 'siteC' });
    expect(tickets.atHand).to.equal(false);
    tickets.add(ticket(), {}, facts(descent));
    expect(tickets.atHand).to.equal(true);
    for (let i = 0; i < 3; i++) descent.enter({ dataBytes: 0 });
    expect(tickets.atHand).to.equal(false);
    expect(secrets.map(isWiped)).to.deep.equal([true, true]);
    expect(tickets.size).to.equal(0);
  });

  it('tickets of a server go with the rekey of their connection, and are wiped', async () => {
    const store = new InProcessStore<TicketRecord>({ maxEntries: 10, onRemoved: ({ psk }) => psk.secret.wipe() });
    let handles = 0;
    const tickets = new ServerTickets({
      ...{ service: 's', store, count: 2, limits, peerSae: ['siteB'] },
      random: (lengthBytes) => new Uint8Array(lengthBytes).fill(++handles),
    });
    const connection = { issueTicket: () => ({ events: [], psk: ticket().psk, epoch: 0 }) } as unknown as TlsConnection;
    const summary = { psk: 'qkd', tickets: true, ticketRequest: { newSessionCount: 9, resumptionCount: 1 } } as never;
    const issued = tickets.forConnection(connection, summary);
    issued.issue(facts(new KeyDescent('key', performance.now())));
    expect(store.size).to.equal(2);
    issued.voidAll();
    await new Promise((resolve) => setImmediate(resolve));
    expect(store.size).to.equal(0);
    expect(secrets.map(isWiped)).to.deep.equal([true, true]);
    issued.issue(facts(new KeyDescent('key', performance.now() - 59_500)));
    expect(store.size, 'no ticket for less than a second').to.equal(0);
    store.close();
  });

  describe('connections that wait for a key', () => {
    let tell: () => void;
    let listening: boolean;
    const onKeys = (listener: () => void): (() => void) => {
      tell = listener;
      listening = true;
      return () => {
        listening = false;
      };
    };
    let keys: number;
    let asked: number;
    let served: string[];
    const seeker = (name: string, peerSae: string) => ({
      peerSae,
      trySeek: (): 'started' | 'no-key' => {
        asked++;
        if (peerSae === 'gone' || keys === 0) return 'no-key';
        keys--;
        served.push(name);
        return 'started';
      },
    });
    beforeEach(() => {
      mock.timers.enable({ apis: ['setTimeout'] });
      [keys, asked, served, listening] = [0, 0, [], false];
    });
    afterEach(() => mock.timers.reset());

    it('get one in order when keys come, and those of other peers are not kept waiting', () => {
      keys = 1;
      const queue = new RekeyQueue({ onKeys });
      const gone = seeker('none', 'gone');
      queue.add(gone);
      queue.add(seeker('first', 'siteB'));
      queue.add(seeker('second', 'siteB'));
      mock.timers.tick(1);
      expect(served).to.deep.equal(['first']);
      keys = 1;
      tell();
      tell();
      mock.timers.tick(1);
      expect(served).to.deep.equal(['first', 'second']);
      expect([queue.size, listening]).to.deep.equal([1, true]);
      queue.remove(gone);
      expect(listening).to.equal(false);
    });

    it('are not looked at while no keys come, and are where one had to wait for something else', () => {
      const queue = new RekeyQueue({ onKeys });
      queue.add(seeker('first', 'siteB'));
      let laterMs = 5_000;
      const busy = { peerSae: 'siteC', trySeek: () => (laterMs > 0 ? { laterMs } : 'started') };
      queue.add(busy);
      mock.timers.tick(1);
      expect(asked).to.equal(1);
      laterMs = 0;
      mock.timers.tick(4_998);
      expect([asked, queue.size]).to.deep.equal([1, 2]);
      mock.timers.tick(1_000);
      expect([asked, queue.size]).to.deep.equal([2, 1]);
      mock.timers.tick(3_600_000);
      expect(asked, 'in an hour without a key').to.equal(2);
    });

    it('do not wait at all where there is no key manager', () => {
      const queue = new RekeyQueue({});
      keys = 1;
      queue.add(seeker('first', 'siteB'));
      mock.timers.tick(3_600_000);
      expect([queue.size, asked]).to.deep.equal([0, 0]);
    });
  });
});
