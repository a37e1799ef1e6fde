import { expect } from 'chai';
import {
  DrawerPool,
  type DrawerPoolEvent,
  type DrawerPoolOptions,
  type KeyLease,
  type KeySource,
  type QkdKeyReference,
  referenceText,
  type StreamAnnouncement,
  type TakeResult,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { FakeSource, keyOf } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

export const INSTANCE = new Uint8Array(16).fill(1);
export const OTHER_INSTANCE = new Uint8Array(16).fill(2);

type SourceOf = (source: FakeSource, clock: VirtualClock) => KeySource;

/** A pool with a peer that opens streams and acknowledges keys at once, unless told otherwise. */
export class Bench {
  readonly clock = new VirtualClock();
  readonly source = new FakeSource(this.clock);
  readonly streams: StreamAnnouncement[] = [];
  readonly closedStreams: string[] = [];
  readonly announced: QkdKeyReference[] = [];
  readonly dropped: string[] = [];
  readonly events: DrawerPoolEvent[] = [];
  peerOpens = true;
  answer: 'ready' | 'mismatch' | 'unavailable' | 'nothing' = 'ready';
  readonly pool: DrawerPool;

  /** `sourceOf`: what the pool draws from, with `source` among it or not. */
  constructor({ sourceOf, ...options }: Partial<DrawerPoolOptions> & { readonly sourceOf?: SourceOf } = {}) {
    this.pool = new DrawerPool({
      source: sourceOf?.(this.source, this.clock) ?? this.source,
      peerSaeId: 'siteB',
      clock: this.clock,
      random: () => 0.5,
      hooks: {
        announceStream: (announcement) => {
          this.streams.push(announcement);
          if (this.peerOpens) queueMicrotask(() => this.pool.streamOpened(announcement.ksid));
        },
        announceKeys: (keys) => {
          for (const { reference, secret } of keys) {
            // The secret is there to compute a check value from.
            expect(hexOf(secret.expose())).to.equal(hexOf(keyOf(reference).expose()));
            this.announced.push(reference);
            if (this.answer === 'ready') queueMicrotask(() => this.pool.markReady(reference));
            if (this.answer === 'unavailable') queueMicrotask(() => this.pool.markUnavailable(reference));
            if (this.answer === 'mismatch') queueMicrotask(() => this.pool.markMismatch(reference));
          }
        },
        dropKeys: (references) => this.dropped.push(...references.map(referenceText)),
        closeStream: (ksid) => this.closedStreams.push(hexOf(ksid)),
        onEvent: (event) => this.events.push(event),
      },
      ...options,
    });
    benches.push(this);
  }

  async up(instance = INSTANCE, quota = 1_000): Promise<this> {
    this.pool.channelUp(instance, quota);
    await settle();
    return this;
  }
}

let benches: Bench[] = [];

export function leaseOf(result: TakeResult): KeyLease {
  if (!result.ok) throw new Error(`no key: ${result.reason}`);
  return result.lease;
}
export function reasonOf(result: TakeResult): string {
  return result.ok ? 'a key' : result.reason;
}

/** Closes every pool of a test, and finds nothing left of any. */
export async function closeBenches(): Promise<void> {
  for (const { pool, clock, source } of benches) {
    source.letGo();
    await pool.close();
    await settle();
    expect(clock.pending, 'timers left').to.equal(0);
    expect(source.streamsOpen, 'streams left open').to.equal(0);
    expect(
      source.handedOut.filter((secret) => !secret.wiped),
      'secrets not wiped',
    ).to.have.length(0);
  }
  benches = [];
}
