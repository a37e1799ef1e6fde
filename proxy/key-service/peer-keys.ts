/**
 * The keys agreed with one process of a peer. Every address that reached this
 * process shares them, and no other address is offered one: each process has
 * its own. One connection carries the key channel; those to other addresses
 * stand by for when it is lost.
 */
import {
  type BudgetedService,
  type BudgetNumbers,
  type Clock,
  DrawerPool,
  type DrawerPoolEvent,
  type DrawerPoolStatus,
  KeyBudget,
  type KeyLease,
  type KeySource,
  type SpentLedger,
  type TakeOptions,
  type TakeResult,
  type TakeWithinOptions,
} from '../../kdi-client/index.ts';
import type { DrawerLink, GreetedConnection } from './drawer-link.ts';
import { randomFraction } from './random-fraction.ts';

/** What a client service asks of the keys that it shares with others. */
export interface DrawingService {
  readonly name: string;
  /** Keys kept agreed ahead of need without any demand, and the most that demand can make of it; the most that a service asks for holds. */
  readonly keysAhead: number;
  readonly keysAheadMax: number;
  /** Keys that only rekeys may take; the most that a service asks for holds. */
  readonly reserve: number;
  readonly horizonMs: number;
  readonly share: BudgetedService;
}

/** One address that leads to the process. */
export interface PeerChannel {
  readonly address: string;
  readonly services: readonly DrawingService[];
  /** There are keys, or none are left. */
  keysChanged(count: number): void;
}

export interface PeerKeysOptions {
  readonly peerSae: string;
  readonly source: KeySource;
  readonly link: DrawerLink;
  readonly clock: Clock;
  readonly keyTtlMs: number;
  /** Most keys outstanding. */
  readonly quota: number;
  readonly ledger: SpentLedger;
  readonly onPoolEvent: (event: DrawerPoolEvent, status: () => DrawerPoolStatus) => void;
}

/** Plain numbers, for status and metrics. */
export interface PeerKeysStatus {
  readonly peer: string;
  /** The addresses whose connections may be given these keys. */
  readonly addresses: readonly string[];
  readonly pool: DrawerPoolStatus;
  readonly budget: BudgetNumbers;
}

export class PeerKeys {
  readonly peerSae: string;
  readonly #options: PeerKeysOptions;
  readonly #pool: DrawerPool;
  readonly #link: DrawerLink;
  readonly #budget = new KeyBudget({ reserveFloor: 0 });
  /** Channels that reached this process, with their connections where these are up. */
  readonly #channels = new Map<PeerChannel, GreetedConnection | undefined>();
  /** The channel that the keys are announced on. */
  #active: PeerChannel | undefined;
  /** What changed is said once for all events of one moment. */
  #changeNoted = false;
  #closed = false;

  constructor(options: PeerKeysOptions) {
    const { peerSae, source, link, clock, keyTtlMs, quota, ledger } = options;
    this.peerSae = peerSae;
    this.#options = options;
    this.#link = link;
    this.#pool = new DrawerPool({
      source,
      peerSaeId: peerSae,
      clock,
      random: randomFraction,
      maxOutstanding: quota,
      keyTtlMs,
      ledger,
      hooks: {
        announceStream: ({ ksid, qos }) => link.announceStream(ksid, qos),
        announceKeys: (keys) => link.announceKeys(keys),
        dropKeys: (references) => link.dropKeys(references),
        closeStream: (ksid) => link.closeStream(ksid),
        onEvent: (event) => this.#onPoolEvent(event),
      },
    });
    link.attachPool(this.#pool);
  }

  /** Whether no channel reaches the process any more, as far as is known. */
  get unreachable(): boolean {
    return this.#channels.size === 0;
  }

  /** `channel` reached this process, on this connection. */
  connected(channel: PeerChannel, connection: GreetedConnection): void {
    const isNew = !this.#channels.has(channel);
    this.#channels.set(channel, connection);
    if (isNew) this.#configure();
    if (this.#active === undefined) this.#activate(channel, connection);
    if (isNew && this.#pool.ready > 0) channel.keysChanged(this.#pool.ready);
  }

  receive(channel: PeerChannel, bytes: Uint8Array): void {
    if (channel === this.#active) {
      this.#link.receive(bytes);
      return;
    }
    const connection = this.#channels.get(channel);
    const failure = connection?.greeting.receive(bytes);
    if (connection === undefined || failure === undefined) return;
    if (failure.bytes !== undefined) connection.send(failure.bytes);
    connection.hangUp(failure.error);
  }

  /** The connection is lost. The channel may still be given keys: they are good until their TTL. */
  disconnected(channel: PeerChannel): void {
    if (!this.#channels.has(channel)) return;
    this.#channels.set(channel, undefined);
    this.#standDown(channel);
  }

  /** The channel leads to another process now. */
  left(channel: PeerChannel): void {
    if (!this.#channels.delete(channel)) return;
    this.#standDown(channel);
    this.#configure();
  }

  take(options: TakeOptions = {}): TakeResult {
    return this.#taken(this.#pool.take(options));
  }

  async takeWithin(waitMs: number, options: TakeWithinOptions): Promise<TakeResult> {
    return this.#taken(await this.#pool.takeWithin(waitMs, options));
  }

  /** What the budget has to say to a service that wants a key for a connection. */
  admission(service: string, ticketAtHand: boolean): Pick<Required<TakeOptions>, 'admits'> {
    const request = { service, purpose: 'handshake', hasTicket: ticketAtHand, keyRequired: false } as const;
    return { admits: (stock) => this.#budget.admit(request, stock) === 'key' };
  }

  /** A handshake or rekey was completed with it. */
  commit(lease: KeyLease, service: string): void {
    if (!lease.commit()) return;
    this.#link.keyUsed(lease.reference);
    this.#budget.recordUse(service, this.#options.clock.now());
  }

  status(): PeerKeysStatus {
    return {
      peer: this.peerSae,
      addresses: [...this.#channels.keys()].map(({ address }) => address),
      pool: this.#pool.status(),
      budget: this.#budget.numbers(this.#pool.stock()),
    };
  }

  /** Wipes every key, tells the peer, and closes the streams at the key manager. */
  async close(): Promise<void> {
    this.#closed = true;
    const closed = this.#pool.close();
    this.#link.stop();
    await closed;
  }

  #activate(channel: PeerChannel, connection: GreetedConnection): void {
    this.#active = channel;
    this.#link.connected(connection);
  }

  #standDown(channel: PeerChannel): void {
    if (channel !== this.#active) return;
    this.#active = undefined;
    this.#link.disconnected();
    if (this.#closed) return;
    for (const [other, connection] of this.#channels) {
      if (connection === undefined) continue;
      this.#activate(other, connection);
      return;
    }
  }

  /** Depth and budget follow the services that share the keys. */
  #configure(): void {
    const services = [...this.#channels.keys()].flatMap((channel) => channel.services);
    if (services.length === 0 || this.#closed) return;
    const most = (of: (service: DrawingService) => number): number => Math.max(...services.map(of));
    const ahead = most(({ keysAhead }) => keysAhead);
    const reserve = most((service) => service.reserve);
    this.#budget.configure({
      reserveFloor: reserve,
      horizonMs: most(({ horizonMs }) => horizonMs),
      services: Object.fromEntries(services.map(({ name, share }) => [name, share])),
    });
    this.#pool.setReserveFloor(reserve);
    const aheadMax = most(({ keysAheadMax }) => keysAheadMax);
    if (aheadMax > ahead) this.#pool.setAdaptiveDepth({ minAhead: ahead, maxAhead: aheadMax });
    else this.#pool.setWatermarks(ahead - 1, ahead);
  }

  #taken(result: TakeResult): TakeResult {
    if (result.ok && this.#pool.ready === 0) this.#tellChannels();
    return result;
  }

  #onPoolEvent(event: DrawerPoolEvent): void {
    this.#options.onPoolEvent(event, () => this.#pool.status());
    if (this.#changeNoted) return;
    this.#changeNoted = true;
    queueMicrotask(() => this.#tellChange());
  }

  #tellChange(): void {
    this.#changeNoted = false;
    const { ready, reason, kme } = this.#pool.status();
    this.#tellChannels();
    if (!this.#closed)
      this.#link.tellState({ kmeName: kme, poolKeys: ready, ...(reason === undefined ? {} : { reason }) });
  }

  #tellChannels(): void {
    for (const channel of this.#channels.keys()) channel.keysChanged(this.#pool.ready);
  }
}
