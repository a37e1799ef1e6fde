import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { BulkBufferPool } from '../../proxy/data-path/index.ts';
import type { Requirement } from '../../proxy/policy.ts';
import { startClientTunnel } from '../../proxy/tunnel/client-tunnel.ts';
import { DEFAULT_REKEY_AFTER } from '../../proxy/tunnel/key-budget.ts';
import { startServerTunnel } from '../../proxy/tunnel/server-tunnel.ts';
import {
  type ClientKeys,
  DEFAULT_LIMITS,
  type KeyOffer,
  type ServerKeys,
  type Tunnel,
  type TunnelPorts,
  type TunnelSettings,
} from '../../proxy/tunnel/settings.ts';
import {
  type QkdKeyReference,
  type QkdPsk,
  SecretBytes,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../../tls-ext/index.ts';
import { identityOf, siteCredential, testPki } from './pki.ts';
import { CapturedLog, collect, TestApplication } from './sites.ts';
import { tlsPeer } from './tls-peer.ts';

/** A key as both ends would know it; `index` tells keys apart. */
class TestKey {
  readonly reference: QkdKeyReference;
  readonly context: QkdPsk['context'];
  readonly #secret = randomBytes(32);

  constructor(index: number, drawer = 'siteA', answerer = 'siteB') {
    this.reference = { api: 'etsi004', drawer, ksid: new Uint8Array(16).fill(7), index, slice: 0 };
    this.context = { purpose: 'handshake', drawer, answerer };
  }

  get psk(): QkdPsk {
    const { reference, context } = this;
    return { kind: 'qkd', reference, context, secret: SecretBytes.copyOf(this.#secret) };
  }

  get keyId(): string {
    return this.reference.api === 'etsi004' ? `key ${this.reference.index}` : '';
  }
}

/** A server that has these keys, each good for one handshake. */
class TestServerKeys implements ServerKeys {
  readonly burnt: string[] = [];
  readonly #keys: readonly TestKey[];

  constructor(...keys: TestKey[]) {
    this.#keys = keys;
  }

  lookUpForRekey(): undefined {}

  lookUp(event: Parameters<ServerKeys['lookUp']>[0]): ReturnType<ServerKeys['lookUp']> {
    const index = event.offered[0]?.reference?.api === 'etsi004' ? event.offered[0].reference.index : -1;
    const key = this.#keys.find(({ reference }) => reference.api === 'etsi004' && reference.index === index);
    if (key === undefined) return { why: 'unavailable', reason: 'reference_unavailable' };
    return {
      decision: { action: 'use', psk: key.psk },
      reference: key.reference,
      keyId: key.keyId,
      burn: () => {
        if (this.burnt.includes(key.keyId)) return false;
        this.burnt.push(key.keyId);
        return true;
      },
    };
  }
}

/** A client that offers these, one after the other. */
class TestClientKeys implements ClientKeys {
  readonly peerRequirement = undefined;
  readonly settled: string[] = [];
  readonly #keys: TestKey[];

  constructor(...keys: TestKey[]) {
    this.#keys = keys;
  }

  takeForRekey(): undefined {}

  take(): KeyOffer {
    const key = this.#keys.shift();
    if (key === undefined) return { reason: 'pool_empty' };
    return {
      lease: {
        psk: key.psk,
        keyId: key.keyId,
        commit: () => this.settled.push(`${key.keyId} used`),
        release: (why) => this.settled.push(`${key.keyId} ${why}`),
      },
    };
  }

  async takeWithin(): Promise<KeyOffer> {
    return this.take();
  }
}

describe('the use of one key', () => {
  let application: TestApplication;
  let log: CapturedLog;
  const tunnels: Tunnel[] = [];

  beforeEach(async () => {
    application = await TestApplication.echo();
    log = new CapturedLog();
  });
  afterEach(async () => {
    for (const tunnel of tunnels.splice(0).reverse()) await tunnel.close();
    await application.close();
  });

  async function settingsFor(
    ownSae: string,
    peerSae: string,
    connectTo: TunnelSettings['connect'],
    require: Requirement,
  ) {
    const { trust } = await testPki();
    const identity = identityOf(await siteCredential(ownSae));
    const settings: TunnelSettings = {
      service: ownSae,
      accept: { host: '127.0.0.1', port: 0 },
      connect: connectTo,
      ownSae,
      auth: 'certificate',
      peer: { trust, peerSae: [peerSae] },
      policy: { require, unsafeAllowClassical: false, keyWaitMs: 20 },
      limits: DEFAULT_LIMITS,
      rekeyAfter: DEFAULT_REKEY_AFTER,
      tickets: 0,
      groups: [0x11ec],
      cipherSuites: [0x1302, 0x1301],
      signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
    };
    const ports: TunnelPorts = {
      log: log.log,
      identity: { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) },
      bufferPool: new BulkBufferPool(),
      random: randomBytes,
    };
    return { settings, ...ports };
  }

  async function startServer(keys: ServerKeys, require: Requirement = 'qkd-or-pqc') {
    const options = await settingsFor('siteB', 'siteA', application.address, require);
    const tunnel = await startServerTunnel({ ...options, keys });
    tunnels.push(tunnel);
    return tunnel.address as { host: string; port: number };
  }

  async function startClient(keys: ClientKeys, server: { host: string; port: number }, require: Requirement) {
    const options = await settingsFor('siteA', 'siteB', server, require);
    const tunnel = await startClientTunnel({ ...options, keys });
    tunnels.push(tunnel);
    return tunnel.address as { host: string; port: number };
  }

  it('a key that a handshake has burnt serves no other: the second one is cut before any byte passes', async () => {
    const key = new TestKey(1);
    const keys = new TestServerKeys(key);
    const address = await startServer(keys);
    const credential = await siteCredential('siteA');
    const offer = () => ({ qkdOffer: { offer: 'key' }, psk: key.psk }) as const;
    const first = await tlsPeer(address, { credential, engine: offer(), request: Buffer.from('first') });
    expect(first.summary).to.include({ psk: 'qkd', qkdResult: 'used' });
    expect(first.received.toString()).to.equal('first');
    const second = await tlsPeer(address, { credential, engine: offer(), request: Buffer.from('second') });
    expect(second.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 71 });
    expect(second.received.length).to.equal(0);
    expect(keys.burnt).to.deep.equal(['key 1']);
    const line = await log.next('connection', ({ code }) => code === 'ERR_PROXY_KEY_ALREADY_USED');
    expect(line).to.include({ mode: 'refused', bytesFromPeer: 0 });
  });

  it('an abandoned handshake burns nothing', async () => {
    const key = new TestKey(1);
    const keys = new TestServerKeys(key);
    const address = await startServer(keys);
    const withoutCertificate = { qkdOffer: { offer: 'key' }, psk: key.psk } as const;
    const outcome = await tlsPeer(address, { engine: withoutCertificate });
    expect(outcome.failure).to.have.property('code', 'ERR_TLS_PEER_ALERT');
    expect(keys.burnt).to.deep.equal([]);
  });

  it('a certificate that does not name the drawer of the key: bad_certificate, nothing burnt', async () => {
    const key = new TestKey(1, 'siteC');
    const keys = new TestServerKeys(key);
    const address = await startServer(keys);
    const outcome = await tlsPeer(address, {
      credential: await siteCredential('siteA'),
      engine: { qkdOffer: { offer: 'key' }, psk: key.psk },
      request: Buffer.from('x'),
    });
    expect(outcome.failure).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: 42 });
    expect(await log.next('connection')).to.include({ code: 'ERR_PROXY_PEER_SAE', alert: 'bad_certificate' });
    expect(keys.burnt).to.deep.equal([]);
  });

  it('require qkd, and the server does not have the key: one retry with another key', async () => {
    const [lost, good] = [new TestKey(1), new TestKey(2)];
    const server = await startServer(new TestServerKeys(good));
    const keys = new TestClientKeys(lost, good);
    const socket = connect({ ...(await startClient(keys, server, 'qkd')), allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    const line = await log.next('connection', ({ role }) => role === 'client');
    expect(line).to.include({ mode: 'qkd-and-pqc', keyId: 'key 2' });
    expect(keys.settled).to.deep.equal(['key 1 unavailable', 'key 2 used']);
  });

  it('… and not a second retry: refused, with the reason', async () => {
    const server = await startServer(new TestServerKeys());
    const keys = new TestClientKeys(new TestKey(1), new TestKey(2), new TestKey(3));
    const socket = connect(await startClient(keys, server, 'qkd'));
    await once(socket, 'error');
    const line = await log.next('connection', ({ role }) => role === 'client');
    expect(line).to.include({ mode: 'refused', reason: 'reference_unavailable', code: 'ERR_PROXY_POLICY' });
    expect(keys.settled).to.deep.equal(['key 1 unavailable', 'key 2 unavailable']);
  });

  it('without a requirement the same connection goes on without the key, and says why', async () => {
    const server = await startServer(new TestServerKeys());
    const keys = new TestClientKeys(new TestKey(1));
    const socket = connect({ ...(await startClient(keys, server, 'qkd-or-pqc')), allowHalfOpen: true });
    socket.end('ping');
    expect((await collect(socket)).toString()).to.equal('ping');
    expect(await log.next('fallback', ({ role }) => role === 'client')).to.include({
      mode: 'pqc',
      reason: 'reference_unavailable',
    });
  });

  it('a key whose handshake does not complete is given back', async () => {
    const dead = await TestApplication.echo();
    const { address } = dead;
    await dead.close();
    const keys = new TestClientKeys(new TestKey(1));
    const socket = connect(await startClient(keys, address, 'qkd-or-pqc'));
    await once(socket, 'error');
    expect(keys.settled).to.deep.equal(['key 1 unfinished']);
  });
});
