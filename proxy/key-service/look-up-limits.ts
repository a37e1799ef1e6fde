/**
 * How often strangers may make us ask our key manager (`lookup: on-hello`):
 * each look-up takes a token of its source address and one of the service's,
 * and a completed handshake gives both back. Honest peers are never slowed
 * down, and a flood of made-up identities costs the key manager a bounded
 * number of requests.
 */

/** Tokens of one source address, and how fast they grow back. */
export const LOOK_UPS_PER_SOURCE = { burst: 256, perSecond: 4 } as const;
/** The same for all sources together. */
export const LOOK_UPS_IN_ALL = { burst: 1_024, perSecond: 32 } as const;
/** Source addresses that are told apart; of more, the one unseen for longest starts afresh. */
const MAX_SOURCES = 4_096;

interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #atMs: number;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#atMs = nowMs;
  }

  take(nowMs: number): boolean {
    const { burst, perSecond } = this.#rate;
    this.#tokens = Math.min(burst, this.#tokens + ((nowMs - this.#atMs) / 1_000) * perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  giveBack(): void {
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + 1);
  }
}

/** Gives a permit back, once: the look-up led to a completed handshake. */
export type GiveBack = () => void;

export class LookUpLimits {
  readonly #nowMs: () => number;
  readonly #inAll: TokenBucket;
  readonly #bySource = new Map<string, TokenBucket>();

  /** `nowMs`: monotonic. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#inAll = new TokenBucket(LOOK_UPS_IN_ALL, nowMs());
  }

  /** A permit for one look-up, or `undefined` if this source, or all of them together, had too many. */
  permit(remoteAddress: string): GiveBack | undefined {
    const nowMs = this.#nowMs();
    const bucket = this.#bucketOf(sourceOf(remoteAddress), nowMs);
    if (!bucket.take(nowMs)) return undefined;
    if (!this.#inAll.take(nowMs)) {
      bucket.giveBack();
      return undefined;
    }
    let given = false;
    return () => {
      if (given) return;
      given = true;
      bucket.giveBack();
      this.#inAll.giveBack();
    };
  }

  #bucketOf(source: string, nowMs: number): TokenBucket {
    const bucket = this.#bySource.get(source) ?? new TokenBucket(LOOK_UPS_PER_SOURCE, nowMs);
    this.#bySource.delete(source);
    this.#bySource.set(source, bucket);
    if (this.#bySource.size > MAX_SOURCES) {
      const [longestUnseen] = this.#bySource.keys();
      this.#bySource.delete(longestUnseen as string);
    }
    return bucket;
  }
}

/** The part of `host:port` that a stranger can't choose at will: of IPv6 the /64, which one host may have to itself. */
export function sourceOf(remoteAddress: string): string {
  const host = remoteAddress.slice(0, Math.max(0, remoteAddress.lastIndexOf(':'))) || remoteAddress;
  if (!host.startsWith('[')) return host;
  const [address = ''] = host.slice(1, -1).split('%');
  const [head = '', tail] = address.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  const groups = [...first, ...Array.from({ length: zeros }, () => '0'), ...last];
  return groups.slice(0, 4).join(':');
}
