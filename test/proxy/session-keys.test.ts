/** Rekeys and tickets with keys that the test makes up: what two honest ends with key managers do not get into. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { BulkBufferPool, type KeyEvent } from '../../proxy/data-path/index.ts';
import { InProcessStore } from '../../proxy/state-store.ts';
import { startClientTunnel } from '../../proxy/tunnel/client-tunnel.ts';
import { DEFAULT_REKEY_AFTER, KeyDescent } from '../../proxy/tunnel/key-budget.ts';
import type { TicketRecord } from '../../proxy/tunnel/server-tickets.ts';
import { startServerTunnel } from '../../proxy/tunnel/server-tunnel.ts';
import {
  type ClientKeys,
  DEFAULT_LIMITS,
  type RekeyLease,
  type ServerKeys,
  type Tunnel,
  type TunnelPorts,
  type TunnelSettings,
} from '../../proxy/tunnel/settings.ts';
import {
  type QkdKeyReference,
  type QkdPsk,
  type ResumptionPsk,
  SecretBytes,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../../tls-ext/index.ts';
import { identityOf, siteCredential, testPki } from './pki.ts';
import { CapturedLog, TestApplication } from './sites.ts';
import { tlsPeer } from './tls-peer.ts';

const reference = (index: number): QkdKeyReference => ({
  ...{ api: 'etsi004', drawer: 'siteA', ksid: new Uint8Array(16).fill(7) },
  ...{ index, slice: 0 },
});

function psk(index: number, purpose: QkdPsk['context']['purpose'], fill: number): QkdPsk {
  const context = { purpose, drawer: 'siteA', answerer: 'siteB' } as const;
  return { kind: 'qkd', reference: reference(index), context, secret: new SecretBytes(new Uint8Array(32).fill(fill)) };
}

/** Keys of which the drawer's and the answerer's differ, until the third. */
class DisagreeingKeys {
  readonly settled: string[] = [];
  #next = 1;

  readonly client: ClientKeys = {
    peerRequirement: undefined,
    take: () => ({ reason: 'pool_empty' }),
    takeWithin: async () => ({ reason: 'pool_empty' }),
    onKeys: () => () => {},
    takeForRekey: (): RekeyLease => {
      const index = this.#next++;
      return {
        psk: psk(index, 'rekey', index),
        keyId: `key ${index}`,
        commit: () => this.settled.push(`key ${index} used`),
        release: (why) => this.settled.push(`key ${index} ${why}`),
      };
    },
  };

  readonly server: ServerKeys = {
    lookUp: () => ({ why: 'not-offered', reason: 'pool_empty' }),
    lookUpForRekey: (named) => {
      const index = named.api === 'etsi004' ? named.index : 0;
      return { psk: psk(index, 'rekey', index < 2 ? 99 : index), keyId: `key ${index}` };
    },
  };
}

/** A server that has one key, for one handshake, and what a client offers of it. */
const oneKey: ServerKeys = {
  lookUp: ({ offered }) =>
    offered[0]?.reference === undefined
      ? { why: 'not-offered', reason: 'pool_empty' }
      : {
          decision: { action: 'use', psk: psk(1, 'handshake', 5) },
          reference: reference(1),
          keyId: 'key 1',
          burn: () => true,
        },
  lookUpForRekey: () => undefined,
};
const offeringKey = () => ({ qkdOffer: { offer: 'key' }, psk: psk(1, 'handshake', 5) }) as const;

describe('the keys of a session', () => {
  let application: TestApplication;
  let log: CapturedLog;
  let store: InProcessStore<TicketRecord>;
  const tunnels: Tunnel[] = [];

  beforeEach(async () => {
    application = await TestApplication.echo();
    log = new CapturedLog();
    store = new InProcessStore({ maxEntries: 100, onRemoved: ({ psk: { secret } }) => secret.wipe() });
  });
  afterEach(async () => {
    for (const tunnel of tunnels.splice(0).reverse()) await tunnel.close();
    store.close();
    await application.close();
  });

  async function options(ownSae: 'siteA' | 'siteB', target: TunnelSettings['connect'], more: Partial<TunnelSettings>) {
    const { trust } = await testPki();
    const identity = identityOf(await siteCredential(ownSae));
    const settings: TunnelSettings = {
      ...{ service: ownSae, accept: { host: '127.0.0.1', port: 0 }, connect: target, ownSae, auth: 'certificate' },
      peer: { trust, peerSae: [ownSae === 'siteA' ? 'siteB' : 'siteA'] },
      policy: { require: 'qkd-or-pqc', unsafeAllowClassical: false, keyWaitMs: 20 },
      ...{ limits: DEFAULT_LIMITS, rekeyAfter: DEFAULT_REKEY_AFTER, tickets: 0 },
      ...{ groups: [0x11ec], cipherSuites: [0x1302] },
      signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
      ...more,
    };
    const ports: TunnelPorts = {
      log: log.log,
      identity: { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) },
      bufferPool: new BulkBufferPool(),
      random: randomBytes,
    };
    return { settings, ...ports };
  }

  async function startServer(keys: ServerKeys, more: Partial<TunnelSettings> = {}) {
    const server = await options('siteB', application.address, more);
    const tunnel = await startServerTunnel({ ...server, keys, ticketStore: store });
    tunnels.push(tunnel);
    return tunnel.address as { host: string; port: number };
  }

  describe('different keys at the two ends', () => {
    it('are refused, the connection lives on, and another key is tried after a pause', async () => {
      const keys = new DisagreeingKeys();
      const address = await startServer(keys.server);
      const client = await options('siteA', address, {});
      const tunnel = await startClientTunnel({ ...client, keys: keys.client });
      tunnels.push(tunnel);
      const socket = connect({ ...(tunnel.address as { host: string; port: number }), allowHalfOpen: true });
      socket.write('one');
      expect(String((await once(socket, 'data'))[0])).to.equal('one');
      const refused = await log.next('rekey-refused', ({ role }) => role === 'server');
      expect(refused).to.include({ why: 'binder', keyId: 'key 1', mode: 'pqc', peer: 'siteA' });
      expect(await log.next('rekey-refused', ({ role }) => role === 'client')).to.include({ keyId: 'key 1' });
      socket.write('two');
      expect(String((await once(socket, 'data'))[0])).to.equal('two');
      expect(await log.next('rekeyed', ({ role }) => role === 'client')).to.include({ keyId: 'key 2', epoch: 1 });
      socket.end();
      const line = await log.next('connection', ({ role }) => role === 'client');
      expect(line).to.include({ mode: 'qkd-and-pqc', keyId: 'key 2', rekeys: 1 }).and.not.have.property('code');
      expect(keys.settled).to.deep.equal(['key 1 unavailable', 'key 2 used']);
    });
  });

  it('a close while a rekey is under way waits for its end, and is an orderly one at both', async () => {
    const address = await startServer(oneKey);
    const outcome = await tlsPeer(address, {
      credential: await siteCredential('siteA'),
      engine: { ...offeringKey(), offerRekey: true },
      established: (connection) => {
        connection.rekey();
        connection.close();
      },
    });
    expect(outcome.failure).to.equal(undefined);
    const line = await log.next('connection');
    expect(line).to.include({ mode: 'qkd-and-pqc', rekeys: 1 }).and.not.have.any.keys('code', 'alert');
  });

  describe('a ticket', () => {
    const ticketRequest = { newSessionCount: 1, resumptionCount: 0 };
    const request = Buffer.from('x');

    /** A connection with the key that yields a ticket, as whoever holds it could use it more than once. */
    async function ticketFrom(address: { host: string; port: number }) {
      const tickets: Extract<KeyEvent, { type: 'ticket' }>[] = [];
      const outcome = await tlsPeer(address, {
        credential: await siteCredential('siteA'),
        engine: { ...offeringKey(), ticketRequest },
        request,
        keyEvent: (event) => event.type === 'ticket' && tickets.push(event),
      });
      expect(outcome.received.toString()).to.equal('x');
      const [ticket] = tickets;
      if (ticket === undefined) throw new Error('no ticket came');
      const { identity, secret, cipherSuite } = ticket.psk;
      return (wrong = false): { qkdOffer: { offer: 'ticket' }; psk: ResumptionPsk } => ({
        qkdOffer: { offer: 'ticket' },
        psk: {
          ...{ kind: 'resumption', identity, cipherSuite },
          secret: wrong ? new SecretBytes(new Uint8Array(48)) : secret.clone(),
        },
      });
    }

    it('is good for one connection: the second one gets certificates and no QKD key', async () => {
      const address = await startServer(oneKey, { tickets: 1 });
      const offer = await ticketFrom(address);
      const credential = await siteCredential('siteA');
      const first = await tlsPeer(address, { credential, engine: offer(), request });
      expect(first.summary).to.include({ psk: 'resumption', qkdResult: 'resumed', peerCertificate: false });
      const second = await tlsPeer(address, { credential, engine: offer(), request });
      expect(second.summary).to.include({ psk: 'none', qkdResult: 'unavailable', peerCertificate: true });
      expect(await log.next('connection', ({ reason }) => reason !== undefined)).to.include({
        ...{ mode: 'pqc', reason: 'ticket_refused' },
      });
    });

    it('copied by a stranger is used up, and opens nothing to who does not have its secret', async () => {
      const address = await startServer(oneKey, { tickets: 1 });
      const offer = await ticketFrom(address);
      const stranger = await tlsPeer(address, { engine: offer(true), request });
      expect(stranger.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 51 });
      expect(await log.next('bad-binder')).to.include({ service: 'siteB' });
      expect(store.size).to.equal(0);
    });

    const changes: readonly (readonly [string, (record: TicketRecord) => Partial<TicketRecord>])[] = [
      ['whose peer is not admitted any more', () => ({ peerSae: 'siteC' })],
      ['whose certificate has expired', () => ({ notAfterMs: Date.now() - 1 })],
      ['of another service', () => ({ service: 'other' })],
      ['whose QKD key is too old', () => ({ descent: new KeyDescent('key 0', performance.now() - 3_600_000) })],
    ];
    for (const [what, change] of changes) {
      it(`${what} is worth nothing`, async () => {
        const address = await startServer(oneKey, { tickets: 1 });
        const offer = await ticketFrom(address);
        const handle = Buffer.from(offer().psk.identity).toString('hex');
        const record = (await store.take(handle)) as TicketRecord;
        await store.put(handle, { ...record, ...change(record) }, 60_000);
        const outcome = await tlsPeer(address, { credential: await siteCredential('siteA'), engine: offer(), request });
        expect(outcome.summary).to.include({ psk: 'none', qkdResult: 'unavailable' });
        expect(store.size, 'wiped').to.equal(0);
      });
    }

    it('is not given out by a session without a QKD key, nor beyond what was asked for', async () => {
      const address = await startServer(oneKey, { tickets: 8 });
      const credential = await siteCredential('siteA');
      const none = { offer: 'none', reason: 'pool_empty' } as const;
      await tlsPeer(address, { credential, engine: { qkdOffer: none, ticketRequest }, request });
      expect(store.size).to.equal(0);
      const wanted = { newSessionCount: 3, resumptionCount: 0 };
      await tlsPeer(address, { credential, engine: { ...offeringKey(), ticketRequest: wanted }, request });
      expect(store.size).to.equal(3);
      const many = { newSessionCount: 200, resumptionCount: 0 };
      await tlsPeer(address, { credential, engine: { ...offeringKey(), ticketRequest: many }, request });
      expect(store.size).to.equal(3 + 8);
    });
  });
});
