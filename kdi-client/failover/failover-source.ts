/**
 * Several KMEs as one `KeySource`: in order of preference, or by weight. A
 * stream stays with the KME it was opened at, and ends when that one fails, or
 * when the peer can't use its keys; the pool then opens a fresh one, which goes
 * to the best KME of the moment.
 *
 * What can't be failed over: a key's ID is known to the two KMEs of its link
 * only. Keys that were agreed stay usable, for both ends hold them; keys that
 * were announced and not yet fetched are lost with their KME, and dropped.
 */
import type { Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode, KdiMisuseError } from '../errors.ts';
import type {
  CallOptions,
  DrawStream,
  KdiApi,
  KeySource,
  KmeStatus,
  LookupStream,
  OpenDrawOptions,
  OpenLookupOptions,
} from '../key-source.ts';
import type { BreakerState } from './circuit-breaker.ts';
import { FailoverLookup } from './failover-lookup.ts';
import { type FailoverEvent, Member, tellingError } from './member.ts';

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
  /**
   * With `ordered`: a stream at another than the first ends after this, so that
   * the first is tried again. A KME whose keys the peer can't use is avoided
   * for as long (default 60 s).
   */
  readonly failBackAfterMs?: number;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly onEvent?: (event: FailoverEvent) => void;
}

/** Health of one KME, as plain values. */
export interface KmeHealth {
  readonly kme: string;
  readonly state: BreakerState;
  readonly failuresInARow: number;
  /** Peers could not use its keys lately. */
  readonly blamed: boolean;
}

export class FailoverSource implements KeySource {
  readonly api: KdiApi;
  readonly needsStream: boolean;
  readonly oneBatchAtATime: boolean;
  readonly #options: FailoverSourceOptions;
  readonly #members: readonly Member[];
  readonly #failBackAfterMs: number;
  #current: Member;

  constructor(options: FailoverSourceOptions) {
    const { members, clock, random, onEvent = () => {}, failBackAfterMs = 60_000 } = options;
    const first = members[0]?.source;
    if (first === undefined) throw new KdiMisuseError('a failover source needs a KME');
    if (members.some(({ source }) => source.api !== first.api)) {
      throw new KdiError(KdiErrorCode.config, 'KMEs that stand in for each other must speak the same API');
    }
    this.#options = options;
    this.#failBackAfterMs = failBackAfterMs;
    this.#members = members.map(({ source, weight = 1 }) => new Member({ source, weight, clock, random, onEvent }));
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
    return this.#members.map(({ source, breaker, blamed }) => ({
      kme: source.kme,
      state: breaker.state,
      failuresInARow: breaker.failuresInARow,
      blamed,
    }));
  }

  async openDraw(peerSaeId: string, options: OpenDrawOptions = {}): Promise<DrawStream> {
    const [member, stream] = await this.#first((source) => source.openDraw(peerSaeId, options));
    this.#choose(member);
    const { clock, choose = 'ordered' } = this.#options;
    const preferred = this.#members[0] as Member;
    const standIn = choose === 'ordered' && member !== preferred;
    const failBackAtMs = standIn ? clock.now() + this.#failBackAfterMs : Number.POSITIVE_INFINITY;
    const mayFailBack = (): boolean =>
      clock.now() >= failBackAtMs && preferred.breaker.state !== 'open' && !preferred.blamed;
    const { timesBlamed } = member;
    return {
      kme: member.source.kme,
      ...(stream.announcement === undefined ? {} : { announcement: stream.announcement }),
      get ended() {
        // Where all are blamed, one of them serves all the same, until it is blamed again.
        const blamedSince = member.timesBlamed > timesBlamed;
        return stream.ended || member.breaker.state === 'open' || blamedSince || mayFailBack();
      },
      draw: (count, callOptions) => member.call(() => stream.draw(count, callOptions)),
      blame: () => member.blame(this.#failBackAfterMs),
      close: () => stream.close(),
    };
  }

  async openLookup(drawerSaeId: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
    const lookup = new FailoverLookup({
      members: this.#order(),
      drawerSaeId,
      open: options,
      onFound: (member) => this.#choose(member),
    });
    if (!this.needsStream) return lookup;
    try {
      await lookup.open();
      return lookup;
    } catch (error) {
      await lookup.close();
      throw error;
    }
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
    const errors: unknown[] = [];
    for (const member of this.#order()) {
      try {
        return [member, await member.call(() => call(member.source))];
      } catch (error) {
        if (isKdiError(error, KdiErrorCode.aborted)) throw error;
        errors.push(error);
      }
    }
    throw tellingError(errors);
  }

  /** Blamed ones come last, but they come: without any other, their keys may be good again. */
  #order(): readonly Member[] {
    const order = this.#options.choose === 'weighted' ? this.#byChance() : this.#members;
    return [...order.filter(({ blamed }) => !blamed), ...order.filter(({ blamed }) => blamed)];
  }

  #byChance(): readonly Member[] {
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
}
