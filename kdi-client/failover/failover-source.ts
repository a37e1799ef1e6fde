/**
 * Several KMEs as one `KeySource`: in order of preference, or by weight. A
 * stream stays with the KME it was opened at, and ends when that one fails;
 * the pool then opens a fresh one, which goes to the best KME of the moment.
 *
 * What can't be failed over: a key's ID is known to the two KMEs of its link
 * only. Keys that were agreed stay usable, for both ends hold them; keys that
 * were announced and not yet fetched are lost with their KME, and dropped.
 */
import type { Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode, KdiMisuseError } from '../errors.ts';
import type {
  CallOptions,
  DeliveredKey,
  DrawStream,
  KdiApi,
  KeySource,
  KmeStatus,
  LookupStream,
  OpenDrawOptions,
  OpenLookupOptions,
} from '../key-source.ts';
import { type BreakerState, CircuitBreaker, isKmeFault } from './circuit-breaker.ts';

export interface FailoverMember {
  readonly source: KeySource;
  /** For `choose: weighted` (default 1). */
  readonly weight?: number;
}

export interface FailoverSourceOptions {
  /** In order of preference. All of one API. */
  readonly members: readonly FailoverMember[];
  /** `ordered` (default): the first that works. `weighted`: by chance, among those that work. */
  readonly choose?: 'ordered' | 'weighted';
  /** With `ordered`: a stream at another than the first ends after this, so that the first is tried again (default 60 s). */
  readonly failBackAfterMs?: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onEvent?: (event: FailoverEvent) => void;
}

export type FailoverEvent =
  | { readonly type: 'kme-failed'; readonly kme: string; readonly error: KdiError; readonly state: BreakerState }
  | { readonly type: 'kme-chosen'; readonly kme: string };

/** Health of one KME, as plain values. */
export interface KmeHealth {
  readonly kme: string;
  readonly state: BreakerState;
  readonly failuresInARow: number;
}

interface Member {
  readonly source: KeySource;
  readonly weight: number;
  readonly breaker: CircuitBreaker;
}

export class FailoverSource implements KeySource {
  readonly api: KdiApi;
  readonly needsStream: boolean;
  readonly oneBatchAtATime: boolean;
  readonly #options: FailoverSourceOptions;
  readonly #members: readonly Member[];
  #current: Member;

  constructor(options: FailoverSourceOptions) {
    const { members, clock, random } = options;
    const first = members[0]?.source;
    if (first === undefined) throw new KdiMisuseError('a failover source needs a KME');
    if (members.some(({ source }) => source.api !== first.api)) {
      throw new KdiError(KdiErrorCode.config, 'KMEs that stand in for each other must speak the same API');
    }
    this.#options = options;
    this.#members = members.map(({ source, weight = 1 }) => ({
      source,
      weight,
      breaker: new CircuitBreaker({ clock, random }),
    }));
    this.#current = this.#members[0] as Member;
    this.api = first.api;
    this.needsStream = first.needsStream;
    this.oneBatchAtATime = members.some(({ source }) => source.oneBatchAtATime === true);
  }

  /** The KME that was chosen last. */
  get kme(): string {
    return this.#current.source.kme;
  }

  health(): readonly KmeHealth[] {
    return this.#members.map(({ source, breaker }) => ({
      kme: source.kme,
      state: breaker.state,
      failuresInARow: breaker.failuresInARow,
    }));
  }

  async openDraw(peerSaeId: string, options: OpenDrawOptions = {}): Promise<DrawStream> {
    const [member, stream] = await this.#first((source) => source.openDraw(peerSaeId, options));
    this.#choose(member);
    const { clock, choose = 'ordered', failBackAfterMs = 60_000 } = this.#options;
    const preferred = this.#members[0] as Member;
    const standIn = choose === 'ordered' && member !== preferred;
    const failBackAtMs = standIn ? clock.now() + failBackAfterMs : Number.POSITIVE_INFINITY;
    const mayFailBack = (): boolean => clock.now() >= failBackAtMs && preferred.breaker.state !== 'open';
    return {
      ...(stream.announcement === undefined ? {} : { announcement: stream.announcement }),
      get ended() {
        return stream.ended || member.breaker.state === 'open' || mayFailBack();
      },
      draw: (count, callOptions) => this.#through(member, () => stream.draw(count, callOptions)),
      close: () => stream.close(),
    };
  }

  /**
   * 004: at the first KME that opens the stream. 014 and SKIP: nothing is asked
   * yet; each look-up goes to the KMEs in turn until one knows the key, the one
   * that knew the last key first.
   */
  async openLookup(drawerSaeId: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
    if (this.needsStream) {
      const [member, stream] = await this.#first((source) => source.openLookup(drawerSaeId, options));
      this.#choose(member);
      return {
        ...(stream.announcement === undefined ? {} : { announcement: stream.announcement }),
        lookup: (reference, callOptions) => this.#through(member, () => stream.lookup(reference, callOptions)),
        close: () => stream.close(),
      };
    }
    const streams = await Promise.all(
      this.#members.map(async (member) => ({ member, stream: await member.source.openLookup(drawerSaeId, options) })),
    );
    return {
      lookup: async (reference, callOptions) => {
        let notFound: unknown;
        let failure: unknown;
        for (const [at, { member, stream }] of [...streams.entries()]) {
          if (!member.breaker.admit()) continue;
          try {
            const key: DeliveredKey = await this.#recorded(member, () => stream.lookup(reference, callOptions));
            streams.unshift(...streams.splice(at, 1));
            return key;
          } catch (error) {
            if (callOptions?.signal?.aborted) throw error;
            if (isKdiError(error, KdiErrorCode.keyNotFound)) notFound = error;
            else failure = error;
          }
        }
        // A KME that failed may be the one that has it: that is worth another try, and a bare not-found is not.
        throw failure ?? notFound ?? this.#allResting();
      },
      close: async () => {
        await Promise.all(streams.map(({ stream }) => stream.close()));
      },
    };
  }

  async status(peerSaeId: string, options: CallOptions = {}): Promise<KmeStatus> {
    const [, status] = await this.#first((source) => source.status(peerSaeId, options));
    return status;
  }

  async close(): Promise<void> {
    await Promise.all(this.#members.map(({ source }) => source.close()));
  }

  /** The result of the first member that gives one, in the order of the moment. */
  async #first<T>(call: (source: KeySource) => Promise<T>): Promise<readonly [Member, T]> {
    let failure: unknown;
    for (const member of this.#order()) {
      if (!member.breaker.admit()) continue;
      try {
        return [member, await this.#recorded(member, () => call(member.source))];
      } catch (error) {
        if (isKdiError(error, KdiErrorCode.aborted)) throw error;
        failure = error;
      }
    }
    throw failure ?? this.#allResting();
  }

  async #through<T>(member: Member, call: () => Promise<T>): Promise<T> {
    if (!member.breaker.admit()) throw this.#allResting(member.source.kme);
    return this.#recorded(member, call);
  }

  async #recorded<T>({ source, breaker }: Member, call: () => Promise<T>): Promise<T> {
    try {
      const result = await call();
      breaker.record();
      return result;
    } catch (error) {
      breaker.record(error);
      if (isKdiError(error) && isKmeFault(error) && error.code !== KdiErrorCode.aborted) {
        this.#options.onEvent?.({ type: 'kme-failed', kme: source.kme, error, state: breaker.state });
      }
      throw error;
    }
  }

  #order(): readonly Member[] {
    if (this.#options.choose !== 'weighted') return this.#members;
    const left = [...this.#members];
    const order: Member[] = [];
    while (left.length > 0) {
      let at = this.#options.random() * left.reduce((sum, { weight }) => sum + weight, 0);
      const index = left.findIndex(({ weight }) => {
        at -= weight;
        return at < 0;
      });
      order.push(...left.splice(Math.max(0, index), 1));
    }
    return order;
  }

  #choose(member: Member): void {
    if (member === this.#current) return;
    this.#current = member;
    this.#options.onEvent?.({ type: 'kme-chosen', kme: member.source.kme });
  }

  #allResting(kme?: string): KdiError {
    return new KdiError(
      KdiErrorCode.circuitOpen,
      kme === undefined ? 'every KME failed and is being rested' : `KME ${kme} failed and is being rested`,
    );
  }
}
