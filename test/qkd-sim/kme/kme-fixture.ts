import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { type Credential, createCa, issueLeaf } from '../../../certs/index.ts';
import { type Etsi004Layer, Kme, type KmeEvent, type KmePeer, type KmeSettings } from '../../../qkd-sim/index.ts';
import { type Clock, systemClock } from '../../../qkd-sim/kernel/clock.ts';
import type { KeyPurpose } from '../../../qkd-sim/kme/index.ts';
import { createLinkStores, type KeySupply, type LinkStores } from '../../../qkd-sim/stores/index.ts';

/** Certificates of a small network: made once for all tests. */
export interface TestPki {
  readonly ca: Credential;
  readonly kmeA: Credential;
  readonly kmeB: Credential;
  readonly siteA: Credential;
  readonly siteB: Credential;
  /** Second SAEs of the two key managers. */
  readonly siteA2: Credential;
  readonly siteB2: Credential;
  /** Of the same CA, but of an SAE that no key manager serves. */
  readonly stranger: Credential;
  /** Of another CA. */
  readonly forged: Credential;
}

let pki: Promise<TestPki> | undefined;

export function testPki(): Promise<TestPki> {
  pki ??= makePki();
  return pki;
}

async function makePki(): Promise<TestPki> {
  const nowMs = Date.now();
  const ca = await createCa({ commonName: 'test CA', nowMs });
  const otherCa = await createCa({ commonName: 'other CA', nowMs });
  const kme = (commonName: string) =>
    issueLeaf(ca, 'kme', { commonName, nowMs, dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] });
  const sae = (saeId: string, issuer = ca) => issueLeaf(issuer, 'sae', { commonName: saeId, nowMs, saeIds: [saeId] });
  return {
    ca,
    kmeA: await kme('kme-a'),
    kmeB: await kme('kme-b'),
    siteA: await sae('siteA'),
    siteB: await sae('siteB'),
    siteA2: await sae('siteA2'),
    siteB2: await sae('siteB2'),
    stranger: await sae('stranger'),
    forged: await sae('siteA', otherCa),
  };
}

export interface KmePair {
  readonly a: Kme;
  readonly b: Kme;
  readonly stores: LinkStores<KeyPurpose>;
  readonly events: KmeEvent[];
  /** Ports of the 004 servers, if they were asked for. */
  readonly portA: number;
  readonly portB: number;
  /** Ports of the servers of 014 and SKIP. */
  readonly httpsA: number;
  readonly httpsB: number;
  /** Deposits the same fresh random-looking key at both ends. */
  fill(lengthBytes: number): void;
  close(): Promise<void>;
}

export interface KmePairOptions {
  readonly capacityBytes?: number;
  readonly clock?: Clock;
  readonly settings?: KmeSettings;
  /** Without servers a virtual clock can drive everything. */
  readonly listen?: boolean;
  readonly etsi004Layer?: Etsi004Layer;
  /** Stands between a key manager and its peer. */
  readonly wrapPeer?: (peer: KmePeer, ownKmeId: string) => KmePeer;
}

/** Two joined key managers, without a link: tests fill the stores. */
export async function kmePair(options: KmePairOptions = {}): Promise<KmePair> {
  const { clock = systemClock, settings = {}, wrapPeer = (peer: KmePeer) => peer } = options;
  const { ca, kmeA, kmeB } = await testPki();
  const events: KmeEvent[] = [];
  const make = (kmeId: string, saeIds: readonly string[], credential: Credential) =>
    new Kme({
      kmeId,
      saeIds,
      tls: { cert: credential.certPem, key: credential.keyPem, ca: ca.certPem },
      clock,
      settings,
      ...(options.etsi004Layer === undefined ? {} : { etsi004Layer: options.etsi004Layer }),
      onEvent: (event) => events.push(event),
    });
  const a = make('kme-a', ['siteA', 'siteA2'], kmeA);
  const b = make('kme-b', ['siteB', 'siteB2'], kmeB);
  const stores = createLinkStores<KeyPurpose>({ capacityBytesPerDirection: options.capacityBytes ?? 4096, clock });
  a.addPeer(wrapPeer({ kmeId: 'kme-b', saeIds: b.saeIds, supply: stores.a, port: b.portFor('kme-a') }, 'kme-a'));
  b.addPeer(wrapPeer({ kmeId: 'kme-a', saeIds: a.saeIds, supply: stores.b, port: a.portFor('kme-b') }, 'kme-b'));
  const listen = async (kme: Kme, api: 'listenEtsi004' | 'listenHttps') =>
    options.listen === false ? 0 : kme[api]('127.0.0.1', 0);
  const [portA, portB] = [await listen(a, 'listenEtsi004'), await listen(b, 'listenEtsi004')];
  const [httpsA, httpsB] = [await listen(a, 'listenHttps'), await listen(b, 'listenHttps')];
  let next = 1;
  return {
    a,
    b,
    stores,
    events,
    portA,
    portB,
    httpsA,
    httpsB,
    fill(lengthBytes) {
      const key = new Uint8Array(lengthBytes);
      const view = new DataView(key.buffer);
      for (let at = 0; at + 4 <= lengthBytes; at += 4) view.setUint32(at, Math.imul(next++, 0x9e3779b1));
      stores.deposit(key, Uint8Array.from(key));
    },
    async close() {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

/** A supply in which some methods are replaced. */
export function wrapSupply(
  supply: KeySupply<KeyPurpose>,
  replaced: Partial<KeySupply<KeyPurpose>>,
): KeySupply<KeyPurpose> {
  return {
    provenance: supply.provenance,
    level: () => supply.level(),
    inboundHeldBytes: () => supply.inboundHeldBytes(),
    reserve: (purpose, lengthBytes) => supply.reserve(purpose, lengthBytes),
    setReceiver: (receiver) => supply.setReceiver(receiver),
    onDeposit: (listener) => supply.onDeposit(listener),
    ...replaced,
  };
}

/** A TLS connection with the certificate of one SAE. */
export async function connectAs(
  port: number,
  sae: Exclude<keyof TestPki, 'ca' | 'kmeA' | 'kmeB'>,
  options: { readonly session?: Buffer } = {},
): Promise<TLSSocket> {
  const all = await testPki();
  const socket = connect({
    host: '127.0.0.1',
    port,
    cert: all[sae].certPem,
    key: all[sae].keyPem,
    ca: all.ca.certPem,
    ...options,
  });
  await once(socket, 'secureConnect');
  return socket;
}

/** Sends `bytes` and collects what comes until the server closes. */
export async function exchange(port: number, sae: 'siteA' | 'siteB' | 'stranger', bytes: Uint8Array): Promise<Buffer> {
  const socket = await connectAs(port, sae);
  socket.write(bytes);
  return untilClosed(socket);
}

/** What a connection still receives until it closes, cleanly or not. */
export async function untilClosed(socket: TLSSocket): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('error', () => {});
  if (!socket.closed) await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return Buffer.concat(parts);
}

/** The next `length` bytes of a connection. */
export async function take(socket: TLSSocket, length: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(length) as Buffer | null;
    if (bytes !== null) return bytes;
    await once(socket, 'readable');
  }
}

export function bytesOf(...parts: (string | number[])[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))),
  );
}

/** Big-endian u32. */
export function u32(value: number): number[] {
  return [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}
