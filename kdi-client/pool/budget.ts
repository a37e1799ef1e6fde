/**
 * Who gets the keys of one peer when there are too few. While there are enough,
 * everyone does. When the stock is about to run out: rekeys of live connections
 * first; then, where services have priorities or weights, services by priority,
 * each up to its share of what the KME delivers; where none has, whoever comes
 * first.
 */

import { exhaustionMs, RateEstimate } from './depth.ts';
import type { KeyPurpose } from './drawer-pool-types.ts';

export type KeyPriority = 'high' | 'normal' | 'low';

export interface BudgetedService {
  readonly priority?: KeyPriority;
  /** Relative to the other services' (default 1). */
  readonly weight?: number;
}

export interface BudgetOptions {
  /** Ready keys that only rekeys may take. */
  readonly reserveFloor: number;
  /** Keys are scarce when they would run out within this (default 60 s). */
  readonly horizonMs?: number;
  readonly services?: Readonly<Record<string, BudgetedService>>;
  /** Use counts this far back (default 60 s). */
  readonly memoryMs?: number;
}

/** The stock at the moment of a question. */
export interface KeyStock {
  readonly nowMs: number;
  readonly ready: number;
  readonly highWatermark: number;
  readonly demandPerSecond: number;
  readonly supplyPerSecond: number;
}

export interface AdmissionRequest {
  readonly service: string;
  readonly purpose: KeyPurpose;
  /** A ticket that descends from a QKD key is at hand. */
  readonly hasTicket: boolean;
  /** The policy admits no connection without QKD. */
  readonly keyRequired: boolean;
}

/** What a new connection gets. `fallback`'s reason is `budget`. */
export type Admission = 'key' | 'ticket' | 'wait' | 'fallback';

/** Plain numbers for status, metrics and logs. */
export interface BudgetNumbers {
  readonly ready: number;
  readonly reserveFloor: number;
  readonly scarce: boolean;
  readonly demandPerSecond: number;
  readonly supplyPerSecond: number;
  /** Absent: the stock doesn't shrink. */
  readonly exhaustedInMs?: number;
  readonly services: Readonly<
    Record<string, { readonly usedPerSecond: number; readonly sharePerSecond: number; readonly priority: KeyPriority }>
  >;
}

/** Part of the depth above the floor that a priority leaves to those before it. */
const LEFT_TO_OTHERS: Readonly<Record<KeyPriority, number>> = { high: 0, normal: 0.25, low: 0.5 };

export class KeyBudget {
  readonly #memoryMs: number;
  readonly #use = new Map<string, RateEstimate>();
  #services: Readonly<Record<string, BudgetedService>>;
  #reserveFloor: number;
  #horizonMs: number;

  constructor({ reserveFloor, horizonMs = 60_000, services = {}, memoryMs = 60_000 }: BudgetOptions) {
    this.#memoryMs = memoryMs;
    this.#services = services;
    this.#reserveFloor = reserveFloor;
    this.#horizonMs = horizonMs;
  }

  /** Other services, or another reserve; what was used stays known. */
  configure({ reserveFloor, horizonMs = 60_000, services = {} }: Omit<BudgetOptions, 'memoryMs'>): void {
    this.#services = services;
    this.#reserveFloor = reserveFloor;
    this.#horizonMs = horizonMs;
  }

  admit(request: AdmissionRequest, stock: KeyStock): Admission {
    const { ready } = stock;
    if (request.purpose === 'rekey') return ready > 0 ? 'key' : 'wait';
    if (!this.#scarce(stock)) return 'key';
    if (request.hasTicket) return 'ticket';
    const { priority = 'normal' } = this.#services[request.service] ?? {};
    const inTurn =
      !this.#hasShares() || (ready > this.#floorOf(priority, stock) && this.#withinShare(request.service, stock));
    if (ready > this.#reserveFloor && inTurn) return 'key';
    return request.keyRequired ? 'wait' : 'fallback';
  }

  /** A key was given to a service. */
  recordUse(service: string, nowMs: number): void {
    let use = this.#use.get(service);
    if (use === undefined) {
      use = new RateEstimate(this.#memoryMs);
      this.#use.set(service, use);
    }
    use.record(nowMs);
  }

  numbers(stock: KeyStock): BudgetNumbers {
    const exhaustedInMs = this.#exhaustedInMs(stock);
    return {
      ready: stock.ready,
      reserveFloor: this.#reserveFloor,
      scarce: this.#scarce(stock),
      demandPerSecond: stock.demandPerSecond,
      supplyPerSecond: stock.supplyPerSecond,
      ...(exhaustedInMs === undefined ? {} : { exhaustedInMs }),
      services: Object.fromEntries(
        Object.entries(this.#services).map(([name, { priority = 'normal' }]) => [
          name,
          {
            usedPerSecond: this.#usedPerSecond(name, stock.nowMs),
            sharePerSecond: this.#sharePerSecond(name, stock),
            priority,
          },
        ]),
      ),
    };
  }

  #exhaustedInMs({ ready, demandPerSecond, supplyPerSecond }: KeyStock): number | undefined {
    return exhaustionMs(Math.max(0, ready - this.#reserveFloor), demandPerSecond, supplyPerSecond);
  }

  #scarce(stock: KeyStock): boolean {
    if (stock.ready <= this.#reserveFloor) return true;
    const exhaustedInMs = this.#exhaustedInMs(stock);
    // A pool is a buffer: while it is half full, a burst may use it.
    return exhaustedInMs !== undefined && exhaustedInMs < this.#horizonMs && stock.ready * 2 <= stock.highWatermark;
  }

  #floorOf(priority: KeyPriority, { highWatermark }: KeyStock): number {
    const reserveFloor = this.#reserveFloor;
    return reserveFloor + LEFT_TO_OTHERS[priority] * Math.max(0, highWatermark / 2 - reserveFloor);
  }

  #hasShares(): boolean {
    return Object.values(this.#services).some(({ priority, weight }) => priority !== undefined || weight !== undefined);
  }

  #withinShare(service: string, stock: KeyStock): boolean {
    return this.#usedPerSecond(service, stock.nowMs) <= this.#sharePerSecond(service, stock);
  }

  #usedPerSecond(service: string, nowMs: number): number {
    return this.#use.get(service)?.perSecond(nowMs) ?? 0;
  }

  /** Shares are among the services that use keys now: an idle one's is the others'. */
  #sharePerSecond(service: string, { nowMs, supplyPerSecond }: KeyStock): number {
    const weightOf = (name: string): number => this.#services[name]?.weight ?? 1;
    const active = new Set([service]);
    // What is left of one use after twice the memory counts as none.
    const idlePerSecond = 1_000 / this.#memoryMs / Math.E ** 2;
    for (const [name, use] of this.#use) if (use.perSecond(nowMs) > idlePerSecond) active.add(name);
    const total = [...active].reduce((sum, name) => sum + weightOf(name), 0);
    return (supplyPerSecond * weightOf(service)) / total;
  }
}
