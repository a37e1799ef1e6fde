/**
 * Two proxies' key services, whole but for sockets and TLS: supply, channel,
 * link and pool here, link, fetcher and store there, the key channel's state
 * machines between them, ledgers that outlive the processes. Both may crash at
 * any moment. Every step is checked against what must never happen.
 */
import { mock } from 'node:test';
import { expect } from 'chai';
import {
  type Cancel,
  type Clock,
  type KeyLease,
  type QkdKeyReference,
  referenceText,
  type SpentLedger,
} from '../../../kdi-client/index.ts';
import type { TlsConnection } from '../../../proxy/data-path/index.ts';
import { AnswererKeys } from '../../../proxy/key-service/answerer-keys.ts';
import { AnswererLink } from '../../../proxy/key-service/answerer-link.ts';
import { DrawerChannel } from '../../../proxy/key-service/drawer-channel.ts';
import { DrawerLink } from '../../../proxy/key-service/drawer-link.ts';
import { DrawerSupply } from '../../../proxy/key-service/drawer-supply.ts';
import { createLineLog } from '../../../proxy/log.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { DrawerGreeting, KeyChannelAnswerer, KeyChannelDrawer, StreamFailure } from '../../../tls-ext/index.ts';
import { settle, VirtualClock } from '../../kdi-client/support/virtual-clock.ts';
import { type Life, MemoryKmes } from './memory-kmes.ts';
import type { LedgerPlace } from './torn-ledger.ts';

const QUOTA = 8;
const KEYS_AHEAD = 3;
const KEY_TTL_MS = 300_000;
const STEP_MS = 250;

/** The clock of one process: with it its timers die. */
class ProcessClock implements Clock {
  readonly #base: Clock;
  readonly #timers = new Set<Cancel>();
  #dead = false;

  constructor(base: Clock) {
    this.#base = base;
  }

  now(): number {
    return this.#base.now();
  }

  schedule(callback: () => void, delayMs: number): Cancel {
    if (this.#dead) return () => {};
    const cancel = this.#base.schedule(() => {
      this.#timers.delete(cancelOnce);
      callback();
    }, delayMs);
    const cancelOnce = (): void => {
      this.#timers.delete(cancelOnce);
      cancel();
    };
    this.#timers.add(cancelOnce);
    return cancelOnce;
  }

  die(): void {
    this.#dead = true;
    for (const cancel of [...this.#timers]) cancel();
  }
}

interface Process {
  readonly life: Life;
  readonly clock: ProcessClock;
  readonly ledger: SpentLedger;
}

interface Drawer extends Process {
  readonly supply: DrawerSupply;
  readonly channel: DrawerChannel;
}

interface Answerer extends Process {
  readonly keys: AnswererKeys;
}

interface Lent {
  readonly lease: KeyLease;
  readonly by: Drawer;
}

/** One TCP connection between the two: bytes in order, until it's cut. */
interface Wire {
  open: boolean;
  cut(): void;
}

export interface Places {
  readonly a: LedgerPlace;
  readonly b: LedgerPlace;
}

export class World {
  readonly clock = new VirtualClock();
  readonly kmes = new MemoryKmes();
  readonly #places: Places;
  #processes = 0;
  #drawer: Drawer | undefined;
  #answerer: Answerer | undefined;
  #wire: Wire | undefined;
  #lent: Lent[] = [];
  /** References with which application data was let through, by the answerer, who decides that. */
  readonly #used = new Set<string>();
  readonly #committed = new Set<string>();
  readonly #bugs: unknown[] = [];

  private constructor(places: Places) {
    this.#places = places;
  }

  static async start(places: Places): Promise<World> {
    mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
    const world = new World(places);
    await world.#startDrawer();
    await world.#startAnswerer();
    return world;
  }

  // Steps.

  async take(): Promise<void> {
    const drawer = this.#drawer as Drawer;
    const result = drawer.channel.keys?.take();
    if (result?.ok) {
      const text = referenceText(result.lease.reference);
      expect(this.#committed.has(text), `${text} lent after it was used`).to.equal(false);
      const lentNow = this.#lent.some(({ lease }) => referenceText(lease.reference) === text);
      expect(lentNow, `${text} lent to two`).to.equal(false);
      this.#lent.push({ lease: result.lease, by: drawer });
    }
    await this.#settle();
  }

  /** `unfinished`: reset before the server's answer; `lost-finish`: the server is done, and the client never hears of it. */
  async finish(which: number, how: 'complete' | 'unfinished' | 'lost-finish'): Promise<void> {
    const [lent] = this.#lent.splice(which % Math.max(1, this.#lent.length), 1);
    if (lent !== undefined) this.#finish(lent, how);
    await this.#settle();
  }

  async cut(): Promise<void> {
    this.#wire?.cut();
    await this.#settle();
  }

  async dial(): Promise<void> {
    if (this.#wire?.open !== true) this.#connect();
    await this.#settle();
  }

  async crash(side: 'a' | 'b', luck: number): Promise<void> {
    this.#wire?.cut();
    await this.#kill(side, luck);
    if (side === 'a') await this.#startDrawer();
    else await this.#startAnswerer();
    await this.#settle();
  }

  async restart(side: 'a' | 'b'): Promise<void> {
    await this.#stop(side);
    if (side === 'a') await this.#startDrawer();
    else await this.#startAnswerer();
    await this.#settle();
  }

  /** A handshake from its first byte to its last. */
  async handshake(): Promise<void> {
    await this.take();
    const lent = this.#lent.pop();
    if (lent !== undefined) this.#finish(lent, 'complete');
    await this.#settle();
  }

  /** Time; after half a second of it a lost channel has been dialled again. */
  async pass(ms: number): Promise<void> {
    if (ms >= 500 && this.#wire?.open !== true) this.#connect();
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      mock.timers.tick(Math.min(STEP_MS, ms - passed));
      await this.clock.advance(Math.min(STEP_MS, ms - passed));
      await this.#settle();
    }
  }

  /** Everything works again: a key must come, and be usable. */
  async heal(): Promise<void> {
    this.kmes.fault.a = {};
    this.kmes.fault.b = {};
    this.kmes.disagree = false;
    for (const lent of this.#lent.splice(0)) this.#finish(lent, 'unfinished');
    await this.dial();
    // Longest back-off, and the deadline of a look-up.
    for (let waited = 0; waited < 400_000; waited += 5_000) {
      await this.pass(5_000);
      await this.take();
      const [lent] = this.#lent.splice(0);
      if (lent === undefined) continue;
      const before = this.#used.size;
      this.#finish(lent, 'complete');
      if (this.#used.size > before) return;
    }
    throw new Error(`no key after everything healed: ${JSON.stringify(this.#drawer?.supply.status())}`);
  }

  /** Handshakes that were completed at the answerer. */
  get used(): number {
    return this.#used.size;
  }

  async end(): Promise<void> {
    try {
      for (const { lease } of this.#lent.splice(0)) lease.secret.wipe();
      const lives = [this.#drawer?.life, this.#answerer?.life];
      await this.#stop('a');
      await this.#stop('b');
      expect(this.clock.pending, 'timers left').to.equal(0);
      expect(this.kmes.streamsOpen, 'streams left').to.be.at.most(this.#abandonedStreams);
      for (const life of lives) {
        const left = life?.secrets.filter(({ wiped }) => !wiped) ?? [];
        expect(left, 'secrets not wiped').to.have.length(0);
      }
    } finally {
      mock.timers.reset();
    }
  }

  // Processes.

  /** Streams that dead processes, or key managers without memory, left open on one side. */
  #abandonedStreams = 0;

  async #startDrawer(): Promise<void> {
    const life: Life = { alive: true, secrets: [] };
    const clock = new ProcessClock(this.clock);
    const ledger = await this.#places.a.open();
    const source = this.kmes.source('a', life);
    const instance = new Uint8Array(16).fill(++this.#processes);
    const supply = new DrawerSupply({
      ownSae: 'siteA',
      log: createLineLog(() => {}),
      clock,
      keyTtlMs: KEY_TTL_MS,
      quota: QUOTA,
      source,
      ledger,
      createLink: (peerSae) =>
        new DrawerLink({
          machine: new KeyChannelDrawer({
            ownSae: 'siteA',
            peerSae,
            instance,
            quota: QUOTA,
            kmeName: source.kme,
            services: [],
          }),
          nowMs: () => clock.now(),
          referenceText,
          stateReason: () => undefined,
          onMismatch: () => {},
          onNotFound: () => {},
          onQuarantine: () => {},
          onBug: (error) => this.#bugs.push(error),
        }),
    });
    const service = {
      name: 'service',
      keysAhead: KEYS_AHEAD,
      keysAheadMax: KEYS_AHEAD,
      reserve: 0,
      horizonMs: 60_000,
      share: { share: 1, priority: 0 },
    } as never;
    const channel = new DrawerChannel({
      ownSae: 'siteA',
      address: '192.0.2.1:1',
      services: [service],
      log: createLineLog(() => {}),
      createGreeting: () => new DrawerGreeting({ instance, quota: QUOTA, services: [] }),
      keysOf: (own, peerSae, peerInstance) => supply.keysOf(own, peerSae, peerInstance),
    });
    this.#drawer = { life, clock, ledger, supply, channel };
  }

  async #startAnswerer(): Promise<void> {
    const life: Life = { alive: true, secrets: [] };
    const clock = new ProcessClock(this.clock);
    const ledger = await this.#places.b.open();
    const source = this.kmes.source('b', life);
    const instance = new Uint8Array(16).fill(++this.#processes);
    const keys = new AnswererKeys({
      ownSae: 'siteB',
      log: createLineLog(() => {}),
      clock,
      keyTtlMs: KEY_TTL_MS,
      quota: QUOTA,
      source,
      ledger,
      createLink: (peerSae, onKeys) =>
        new AnswererLink({
          machine: new KeyChannelAnswerer({ ownSae: 'siteB', peerSae, instance, quota: QUOTA, kmeName: source.kme }),
          nowMs: () => clock.now(),
          streamFailure: () => StreamFailure.other,
          onMismatch: () => {},
          onBug: (error) => this.#bugs.push(error),
          onKeys,
        }),
    });
    this.#answerer = { life, clock, ledger, keys };
  }

  /** A crash: no word to anybody, nothing written any more. */
  async #kill(side: 'a' | 'b', luck: number): Promise<void> {
    const process = (side === 'a' ? this.#drawer : this.#answerer) as Process;
    process.life.alive = false;
    process.clock.die();
    if (side === 'a') for (const { lease } of this.#lent.splice(0)) lease.secret.wipe();
    this.#abandonedStreams += this.kmes.streamsOpen;
    await this.#places[side].crash(luck);
  }

  async #stop(side: 'a' | 'b'): Promise<void> {
    if (side === 'a') {
      for (const { lease } of this.#lent.splice(0)) lease.secret.wipe();
      await this.#drawer?.supply.close();
      this.#wire?.cut();
      await this.#settle();
      await this.#drawer?.ledger.close();
    } else {
      this.#wire?.cut();
      await this.#answerer?.keys.close();
      await this.#settle();
      await this.#answerer?.ledger.close();
    }
  }

  // The channel.

  #connect(): void {
    const { channel } = this.#drawer as Drawer;
    const { keys } = this.#answerer as Answerer;
    let handler: Parameters<TlsConnection['setDataHandler']>[0] | undefined;
    const deliver = (to: (bytes: Uint8Array) => void) => (bytes: Uint8Array) => {
      const copy = Uint8Array.from(bytes);
      setImmediate(() => {
        if (wire.open) to(copy);
      });
    };
    const wire: Wire = {
      open: true,
      cut: () => {
        if (!wire.open) return;
        wire.open = false;
        channel.disconnected();
        accepted.ended();
      },
    };
    this.#wire = wire;
    const toDrawer = deliver((bytes) => channel.receive(bytes));
    const connection = {
      keepAlive: () => {},
      setDataHandler: (given: typeof handler) => {
        handler = given;
      },
      send: toDrawer,
      close: () => setImmediate(() => wire.cut()),
    } as unknown as TlsConnection;
    const accepted = keys.accept(connection, 'siteA', { service: 'service', require: 'qkd' });
    channel.connected({
      peerSae: 'siteB',
      send: deliver((bytes) => handler?.plaintext(bytes, undefined)),
      hangUp: () => setImmediate(() => wire.cut()),
      greeted: () => {},
    });
  }

  // Handshakes.

  #finish({ lease, by }: Lent, how: 'complete' | 'unfinished' | 'lost-finish'): void {
    const { reference } = lease;
    const text = referenceText(reference);
    const secret = hexOf(lease.secret.expose());
    lease.secret.wipe();
    const answer = this.#lookUp(reference);
    if (answer !== undefined) {
      expect(answer.secret, `${text}: an agreed key differs`).to.equal(secret);
    }
    if (how === 'unfinished') {
      lease.release();
      return;
    }
    if (answer === undefined) {
      lease.discard();
      return;
    }
    expect(answer.burn(), `${text} found and not burnt`).to.equal(true);
    expect(this.#lookUp(reference), `${text} found after it was burnt`).to.equal(undefined);
    expect(this.#used.has(text), `${text} used twice`).to.equal(false);
    this.#used.add(text);
    if (how === 'complete') {
      this.#committed.add(text);
      by.channel.keys?.commit(lease, 'service');
    } else lease.release();
  }

  #lookUp(reference: QkdKeyReference): { readonly secret: string; burn(): boolean } | undefined {
    const { keys } = this.#answerer as Answerer;
    const event = { offered: [{ reference }], certWithExternPsk: true } as never;
    const rules = {
      service: 'service',
      peerSae: ['siteA'],
      provenance: () => ({ simulatedAllowed: true, unknown: 'allow' }) as never,
    };
    const answer = keys.lookUp(event, rules, '192.0.2.2');
    if (!('decision' in answer) || answer.decision.action !== 'use') return undefined;
    const { secret } = answer.decision.psk;
    const found = hexOf(secret.expose());
    secret.wipe();
    return { secret: found, burn: () => answer.burn() };
  }

  /** Until nothing moves but time. */
  async #settle(): Promise<void> {
    for (let turn = 0; turn < 4; turn++) {
      do await settle();
      while (this.#places.a.busy + this.#places.b.busy > 0);
    }
    expect(this.#bugs, 'bugs').to.deep.equal([]);
    const status = this.#drawer?.supply.status() ?? [];
    for (const { pool } of status) {
      const { drawn, announced, ready, leased } = pool;
      expect(drawn + announced + ready + leased).to.be.at.most(QUOTA);
    }
    expect(this.#answerer?.keys.status().store.keys ?? 0).to.be.at.most(QUOTA);
  }
}
