/**
 * Two sites over two faulty key managers: real clients and sockets, a pool, an
 * answerer and ledgers, a key channel that passes everything on at once, and a
 * clock that moves only when nothing else does. It watches what no fault may bring about.
 */
import { expect } from 'chai';
import {
  Answerer,
  AnswererStore,
  type CallOptions,
  createKeySource,
  DrawerPool,
  type DrawerPoolEvent,
  type KdiError,
  type KeyLease,
  type KeySource,
  type KeySourceSettings,
  type KeyToAnnounce,
  MemoryLedger,
  type QkdKeyReference,
  referenceText,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { type TestPki, testPki } from '../support/test-pki.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';
import { FaultyKme } from './faulty-kme.ts';
import { LinkModel } from './link-model.ts';

export type Api = 'etsi004' | 'etsi014' | 'skip';
export const HIGH_WATERMARK = 4;
/** Longest that a call at a key manager may take: connecting, and the reply. */
export const CONNECT_TIMEOUT_MS = 1_000;
export const CALL_TIMEOUT_MS = 4_000;

export interface TwoSitesOptions {
  readonly api: Api;
  readonly query?: string;
  readonly more?: Partial<KeySourceSettings>;
}

export class TwoSites {
  readonly clock = new VirtualClock();
  readonly model = new LinkModel();
  readonly pki: TestPki;
  readonly kmeA: FaultyKme;
  readonly kmeB: FaultyKme;
  readonly sourceA: KeySource;
  readonly sourceB: KeySource;
  readonly pool: DrawerPool;
  readonly store: AnswererStore;
  readonly answerer: Answerer;
  readonly events: DrawerPoolEvent[] = [];
  /** What the two clients reported, drawer's and answerer's. */
  readonly errors: { readonly a: KdiError[]; readonly b: KdiError[] } = { a: [], b: [] };
  readonly #used = new Set<string>();
  readonly #announced = new Set<string>();
  readonly #checks = new Map<string, string>();
  readonly #pendingCalls = { siteA: 0, siteB: 0 };

  static async start(options: TwoSitesOptions): Promise<TwoSites> {
    const pki = await testPki();
    const clock = new VirtualClock();
    const model = new LinkModel();
    const kme = { api: options.api, pki, model, clock };
    return new TwoSites(
      options,
      { pki, clock, model },
      await FaultyKme.start({ ...kme, side: 'drawer' }),
      await FaultyKme.start({ ...kme, side: 'answerer' }),
    );
  }

  private constructor(
    options: TwoSitesOptions,
    made: { readonly pki: TestPki; readonly clock: VirtualClock; readonly model: LinkModel },
    kmeA: FaultyKme,
    kmeB: FaultyKme,
  ) {
    this.pki = made.pki;
    this.clock = made.clock;
    this.model = made.model;
    this.kmeA = kmeA;
    this.kmeB = kmeB;
    this.sourceA = this.#source(options, kmeA, 'siteA');
    this.sourceB = this.#source(options, kmeB, 'siteB');
    const { clock } = this;
    const ledger = () => new MemoryLedger({ nowMs: () => clock.now() });
    this.store = new AnswererStore({ clock, ledger: ledger() });
    this.answerer = new Answerer({
      source: this.sourceB,
      drawerSaeId: 'siteA',
      store: this.store,
      clock,
      random: () => 0.5,
      hooks: {
        streamOpened: (ksid) => queueMicrotask(() => this.pool.streamOpened(ksid)),
        streamFailed: (ksid, error) => {
          this.errors.b.push(error);
          queueMicrotask(() => this.pool.streamFailed(ksid));
        },
        streamLost: (ksid, error) => {
          this.errors.b.push(error);
          queueMicrotask(() => this.pool.streamLost(ksid));
        },
        keyFetched: (reference, secret) => {
          const agrees = this.#checks.get(referenceText(reference)) === hexOf(secret.expose());
          queueMicrotask(() => (agrees ? this.pool.markReady(reference) : this.pool.markMismatch(reference)));
          return agrees;
        },
        keyUnavailable: (reference, error, final) => {
          this.errors.b.push(error);
          if (final) queueMicrotask(() => this.pool.markUnavailable(reference));
        },
        kmeUnfit: () => queueMicrotask(() => this.pool.setPeerKmeReachable(false)),
      },
    });
    this.pool = new DrawerPool({
      source: this.sourceA,
      peerSaeId: 'siteB',
      clock,
      random: () => 0.5,
      highWatermark: HIGH_WATERMARK,
      ledger: ledger(),
      hooks: {
        announceStream: (announcement) => queueMicrotask(() => this.answerer.announceStream(announcement)),
        announceKeys: (keys) => this.#announce(keys),
        dropKeys: (references) => queueMicrotask(() => this.answerer.dropKeys(references)),
        closeStream: (ksid) => queueMicrotask(() => this.answerer.closeStream(ksid)),
        onEvent: (event) => {
          this.events.push(event);
          if (event.type === 'failure') this.errors.a.push(event.error);
        },
      },
    });
  }

  /** The channel comes up, and keys are drawn. */
  begin(): void {
    this.pool.channelUp(new Uint8Array(16), 100);
  }

  get used(): number {
    return this.#used.size;
  }

  kme(side: 'a' | 'b'): FaultyKme {
    return side === 'a' ? this.kmeA : this.kmeB;
  }

  /**
   * Lets things happen until `done`. Time moves only while every call that is
   * under way is one that a key manager sits on. Throws after `withinMs` of it.
   */
  async until(done: () => boolean, withinMs: number, what: string): Promise<void> {
    const endMs = this.clock.now() + withinMs;
    while (!done()) {
      await settle();
      if (done()) return;
      const { siteA, siteB } = this.#pendingCalls;
      const [stalledA, stalledB] = [this.kmeA.stalled, this.kmeB.stalled];
      if ((siteA > 0 && stalledA === 0) || (siteB > 0 && stalledB === 0)) {
        // What is due now is not waiting for time.
        await this.clock.advance(0);
        continue;
      }
      // Calls may wait for one another, or for what is stalled: give the others a chance.
      if (siteA > stalledA || siteB > stalledB) for (let i = 0; i < 10 && !done(); i++) await settle();
      if (this.clock.now() >= endMs) {
        throw new Error(`${what}: not within ${withinMs} ms; ${JSON.stringify(this.pool.status())}`);
      }
      await this.clock.advance(50);
    }
  }

  /** Takes a key within `waitMs`, or learns why there is none; in no case later. */
  async take(waitMs: number): Promise<KeyLease | undefined> {
    const startMs = this.clock.now();
    let settled = false;
    const result = this.pool.takeWithin(waitMs).finally(() => {
      settled = true;
    });
    await this.until(() => settled, waitMs + 100, 'an answer to a handshake');
    expect(this.clock.now() - startMs, 'a handshake waited').to.be.at.most(waitMs + 50);
    const answer = await result;
    return answer.ok ? answer.lease : undefined;
  }

  /** A handshake with it, on both sides: the binders agree, both burn it, and neither ever had it before. */
  async complete(lease: KeyLease): Promise<void> {
    const text = referenceText(lease.reference);
    const found = this.store.find(lease.reference);
    expect(found !== undefined, `${text} is not at the answerer`).to.equal(true);
    expect(hexOf(found!.secret.expose()), 'an acknowledged key differs').to.equal(hexOf(lease.secret.expose()));
    found!.secret.wipe();
    lease.secret.wipe();
    expect(this.store.burn(lease.reference), `${text} was burnt before`).to.equal(true);
    expect(lease.commit()).to.equal(true);
    expect(this.#used.has(text), `${text} used twice`).to.equal(false);
    this.#used.add(text);
  }

  /** The pool is full, and every key in it is good. */
  async healthy(withinMs: number): Promise<void> {
    const full = (): boolean => {
      const { ready, drawn, announced } = this.pool.status();
      return ready >= HIGH_WATERMARK && drawn + announced === 0;
    };
    await this.until(full, withinMs, 'a full pool');
  }

  /** Keys that the answerer's key manager still holds, though the drawer's handed them out and nobody destroyed them. */
  get leftBehind(): readonly string[] {
    return this.model.held.filter((name) => !this.model.lost.has(name));
  }

  /** Ends everything, and finds nothing left. */
  async end(): Promise<void> {
    await this.pool.close();
    await this.answerer.close();
    this.store.close();
    await Promise.all([this.sourceA.close(), this.sourceB.close()]);
    for (let turn = 0; this.kmeA.open + this.kmeB.open > 0 && turn < 2_000; turn++) await settle();
    const left = [this.kmeA.open, this.kmeB.open];
    await Promise.all([this.kmeA.close(), this.kmeB.close()]);
    expect(left, 'sockets left').to.deep.equal([0, 0]);
    expect(this.clock.pending, 'timers left').to.equal(0);
    expect(this.#pendingCalls, 'calls left').to.deep.equal({ siteA: 0, siteB: 0 });
  }

  #announce(keys: readonly KeyToAnnounce[]): void {
    for (const { reference, secret } of keys) {
      const text = referenceText(reference);
      expect(this.#announced.has(text), `${text} announced twice`).to.equal(false);
      this.#announced.add(text);
      this.#checks.set(text, hexOf(secret.expose()));
    }
    const references: QkdKeyReference[] = keys.map(({ reference }) => reference);
    queueMicrotask(() => this.answerer.announceKeys(references));
  }

  #source({ api, query = '', more = {} }: TwoSitesOptions, kme: FaultyKme, saeId: 'siteA' | 'siteB'): KeySource {
    const { clock, pki } = this;
    const timeouts = { callTimeoutMs: CALL_TIMEOUT_MS };
    return this.#watched(
      createKeySource({
        url: `${api}://127.0.0.1:${kme.port}${query}`,
        saeId,
        tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca },
        clock,
        connectTimeoutMs: CONNECT_TIMEOUT_MS,
        etsi004: { qos: { timeoutMs: CALL_TIMEOUT_MS / 2 }, replyGraceMs: CALL_TIMEOUT_MS / 2 },
        etsi014: timeouts,
        skip: timeouts,
        ...more,
      }),
      saeId,
    );
  }

  /** Counts the calls under way. */
  #watched(source: KeySource, saeId: 'siteA' | 'siteB'): KeySource {
    const watch = async <T>(call: Promise<T>): Promise<T> => {
      this.#pendingCalls[saeId]++;
      try {
        return await call;
      } finally {
        this.#pendingCalls[saeId]--;
      }
    };
    return {
      api: source.api,
      kme: source.kme,
      needsStream: source.needsStream,
      oneBatchAtATime: source.oneBatchAtATime ?? false,
      status: (peer, options) => watch(source.status(peer, options)),
      close: () => source.close(),
      openDraw: async (peer, options) => {
        const stream = await watch(source.openDraw(peer, options));
        return {
          ...(stream.announcement === undefined ? {} : { announcement: stream.announcement }),
          get ended() {
            return stream.ended;
          },
          draw: (count: number, callOptions?: CallOptions) => watch(stream.draw(count, callOptions)),
          close: () => watch(stream.close()),
        };
      },
      openLookup: async (drawer, options) => {
        const stream = await watch(source.openLookup(drawer, options));
        return {
          lookup: (reference, callOptions) => watch(stream.lookup(reference, callOptions)),
          close: () => watch(stream.close()),
        };
      },
    };
  }
}
