/** Two ends, keys and messages that the key channel's tests share. */
import { hexOf, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import type { QkdKeyReference } from '../../../tls-ext/engine-types.ts';
import {
  type AnswererEvent,
  type DrawerEvent,
  KeyChannelAnswerer,
  KeyChannelDrawer,
  type KeyChannelMessage,
  type KeyStreamQos,
  MessageFramer,
} from '../../../tls-ext/key-channel/index.ts';

export const DRAWER = 'siteA';
export const ANSWERER = 'siteB';

export const qos: KeyStreamQos = {
  keyChunkSizeBytes: 32,
  maxBps: 40_000,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 5_000,
  ttlSeconds: 600,
  metadataMimetype: 'application/json',
};

export const bytesOf = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);
export const ksidOf = (fill: number): Uint8Array => bytesOf(16, fill);
export const keyOf = (fill: number): SecretBytes => new SecretBytes(bytesOf(32, fill));

export function reference004(ksid: Uint8Array, index: number, slice = 0): QkdKeyReference {
  return { api: 'etsi004', drawer: DRAWER, ksid, index, slice };
}

export function reference014(fill: number): QkdKeyReference {
  return { api: 'etsi014', drawer: DRAWER, keyId: bytesOf(16, fill) };
}

export function newDrawer(options: { instance?: number; quota?: number; ttlMarginMs?: number } = {}): KeyChannelDrawer {
  return new KeyChannelDrawer({
    ownSae: DRAWER,
    peerSae: ANSWERER,
    instance: bytesOf(16, options.instance ?? 0xd1),
    quota: options.quota ?? 100,
    kmeName: 'kme-a',
    services: [{ service: 'db', require: 'qkd-or-pqc' }],
    ...(options.ttlMarginMs === undefined ? {} : { ttlMarginMs: options.ttlMarginMs }),
  });
}

export function newAnswerer(options: { instance?: number; quota?: number } = {}): KeyChannelAnswerer {
  return new KeyChannelAnswerer({
    ownSae: ANSWERER,
    peerSae: DRAWER,
    instance: bytesOf(16, options.instance ?? 0xa1),
    quota: options.quota ?? 100,
    kmeName: 'kme-b',
  });
}

/** The messages in bytes written by one end. */
export function messagesIn(chunks: Iterable<Uint8Array>): KeyChannelMessage[] {
  const framer = new MessageFramer();
  return [...chunks].flatMap((chunk) => [...framer.push(chunk)]);
}

/** Both ends on one perfect connection; everything that they say is delivered before a call returns. */
export class Link {
  drawer: KeyChannelDrawer;
  answerer: KeyChannelAnswerer;
  nowMs = 0;
  /** Events other than `write`, in order, not yet taken by a test. */
  drawerEvents: Exclude<DrawerEvent, { type: 'write' }>[] = [];
  answererEvents: Exclude<AnswererEvent, { type: 'write' }>[] = [];
  connection = 0;
  up = false;
  #toAnswerer: Uint8Array[] = [];
  #toDrawer: Uint8Array[] = [];

  constructor(drawer = newDrawer(), answerer = newAnswerer()) {
    this.drawer = drawer;
    this.answerer = answerer;
  }

  connect(): this {
    this.connection++;
    this.up = true;
    this.#toAnswerer = [];
    this.#toDrawer = [];
    this.#take(this.drawer.connected(), this.drawerEvents, this.#toAnswerer);
    this.fromAnswerer(this.answerer.connected(this.connection, [{ service: 'db', require: 'qkd' }]));
    return this;
  }

  disconnect(): this {
    this.up = false;
    this.drawer.disconnected();
    this.answerer.disconnected(this.connection, this.nowMs);
    return this;
  }

  fromDrawer(events: readonly DrawerEvent[]): void {
    this.#take(events, this.drawerEvents, this.#toAnswerer);
    this.#deliver();
  }

  fromAnswerer(events: readonly AnswererEvent[]): void {
    this.#take(events, this.answererEvents, this.#toDrawer);
    this.#deliver();
  }

  #take(events: readonly (DrawerEvent | AnswererEvent)[], others: unknown[], written: Uint8Array[]): void {
    for (const event of events) {
      if (event.type !== 'write') others.push(event);
      else if (this.up) written.push(event.bytes);
    }
  }

  /** Delivers in order, until both ends are silent. */
  #deliver(): void {
    while (this.up && this.#toAnswerer.length + this.#toDrawer.length > 0) {
      const toAnswerer = this.#toAnswerer.shift();
      if (toAnswerer !== undefined) {
        this.#take(this.answerer.receive(this.connection, toAnswerer, this.nowMs), this.answererEvents, this.#toDrawer);
        continue;
      }
      const toDrawer = this.#toDrawer.shift() as Uint8Array;
      this.#take(this.drawer.receive(toDrawer, this.nowMs), this.drawerEvents, this.#toAnswerer);
    }
  }

  takeDrawer(): Exclude<DrawerEvent, { type: 'write' }>[] {
    return this.drawerEvents.splice(0);
  }

  takeAnswerer(): Exclude<AnswererEvent, { type: 'write' }>[] {
    return this.answererEvents.splice(0);
  }

  /** Opens a stream at both ends and forgets the events of it. */
  openStream(ksid: Uint8Array): this {
    this.fromDrawer(this.drawer.openStream(ksid, qos));
    this.fromAnswerer(this.answerer.streamOpened(ksid, qos.keyChunkSizeBytes));
    this.takeDrawer();
    this.takeAnswerer();
    return this;
  }

  announce(references: readonly QkdKeyReference[], fill = 1, ttlMs = 600_000): void {
    const keys = references.map((reference) => ({ reference, secret: keyOf(fill) }));
    this.fromDrawer(this.drawer.announce(keys, ttlMs, this.nowMs));
  }

  provide(reference: QkdKeyReference, fill = 1): void {
    this.fromAnswerer(this.answerer.provideKey(reference, keyOf(fill)));
  }
}

/** Events as short text: `type` and what tells two of a type apart. */
export function brief(events: readonly (DrawerEvent | AnswererEvent)[]): string[] {
  return events.map((event) => {
    const parts: string[] = [event.type];
    if ('reference' in event) parts.push(briefReference(event.reference));
    if ('ksid' in event) parts.push(hexOf(event.ksid.subarray(0, 1)));
    if ('reason' in event) parts.push(event.reason);
    if ('peerInstance' in event) parts.push(event.peerInstance);
    if ('accepted' in event) parts.push(event.accepted ? 'accepted' : 'not-accepted');
    if ('delayMs' in event) parts.push(String(event.delayMs));
    if ('references' in event) parts.push(...event.references.map(briefReference));
    if ('error' in event) parts.push(event.error.code);
    return parts.join(' ');
  });
}

function briefReference(reference: QkdKeyReference): string {
  return reference.api === 'etsi004'
    ? `${hexOf(reference.ksid.subarray(0, 1))}/${reference.index}/${reference.slice}`
    : hexOf(reference.keyId.subarray(0, 1));
}
