import { expect } from 'chai';
import {
  Answerer,
  type AnswererOptions,
  AnswererStore,
  type AnswererStoreOptions,
  type QkdKeyReference,
  referenceText,
  type StreamAnnouncement,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { FakeSource, keyOf } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

export const KSID = new Uint8Array(16).fill(9);
export const STREAM: StreamAnnouncement = {
  ksid: KSID,
  qos: {
    keyChunkSizeBytes: 32,
    maxBps: 0,
    minBps: 0,
    jitterBps: 0,
    priority: 0,
    timeoutMs: 1,
    ttlSeconds: 0,
    metadataMimetype: '',
  },
};
export const reference = (index: number, drawer = 'siteA'): QkdKeyReference => ({
  api: 'etsi004',
  drawer,
  ksid: KSID,
  index,
  slice: 0,
});

export interface AnswererBenchOptions {
  readonly source?: (clock: VirtualClock) => FakeSource;
  readonly answerer?: Partial<AnswererOptions>;
  readonly store?: Partial<AnswererStoreOptions>;
}

/** An answerer with a KME in memory, and what it tells the key channel. */
export class AnswererBench {
  readonly clock = new VirtualClock();
  readonly source: FakeSource;
  readonly store: AnswererStore;
  readonly answerer: Answerer;
  readonly heard: string[] = [];
  /** Of what is heard of keys and streams that are not there. */
  readonly errors: Error[] = [];
  /** Whether check values agree. */
  agree = true;

  constructor({ source = (clock) => new FakeSource(clock), answerer, store }: AnswererBenchOptions = {}) {
    const { clock, heard } = this;
    this.source = source(clock);
    this.store = new AnswererStore({ clock, ...store });
    this.answerer = new Answerer({
      source: this.source,
      drawerSaeId: 'siteA',
      store: this.store,
      clock,
      random: () => 0.5,
      hooks: {
        streamOpened: () => heard.push('opened'),
        streamFailed: (_ksid, error) => this.#hear('failed', error),
        streamLost: (_ksid, error) => this.#hear('lost', error),
        keyFetched: (of, secret) => {
          expect(hexOf(secret.expose())).to.equal(hexOf(keyOf(of, this.source.seed).expose()));
          heard.push(`${this.agree ? 'acked' : 'mismatch'} ${referenceText(of).split(':').at(-2)}`);
          return this.agree;
        },
        keyUnavailable: (_of, error, final) => this.#hear(final ? 'never' : 'pending', error),
        kmeUnfit: (error) => this.#hear('unfit', error),
      },
      ...answerer,
    });
  }

  #hear(what: string, error: Error & { readonly code: string }): void {
    this.heard.push(`${what} ${error.code}`);
    this.errors.push(error);
  }

  /** Closes all, and finds nothing left. */
  async close(): Promise<void> {
    this.source.letGo();
    await this.answerer.close();
    this.store.close();
    await settle();
    expect(this.clock.pending, 'timers left').to.equal(0);
    expect(this.source.streamsOpen, 'streams left open').to.equal(0);
    expect(
      this.source.handedOut.filter((secret) => !secret.wiped),
      'secrets not wiped',
    ).to.have.length(0);
  }
}
