/** The report of a program that stands alone: each key manager is asked for its status, and no key is drawn. */
import {
  type Clock,
  DepthPolicy,
  exhaustionMs,
  isKdiError,
  type KdiApi,
  KdiErrorCode,
  type KeySource,
  type KmeStatus,
} from '../../kdi-client/index.ts';
import type { KeyReport, KeyReportSource, PoolFault, PoolReport, PoolState } from './key-report.ts';

/** One key manager, and a peer that it is asked about. */
export interface AskedPool {
  readonly service: string;
  readonly sae: string;
  readonly peerSae: string;
  readonly source: KeySource;
  /** Agreed keys that the service keeps ready. */
  readonly keysAhead: number;
}

export interface KmeReportOptions {
  readonly pools: readonly AskedPool[];
  readonly clock: Clock;
  /** The present, in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** For one answer. Default 5 s. */
  readonly timeoutMs?: number;
}

/** Faults that are kept of each pool. */
const MAX_FAULTS = 5;
const DEFAULT_TIMEOUT_MS = 5_000;
/** Between readings that are nearer than this, a rate would be noise. */
const MIN_RATE_SPAN_MS = 200;
/** Readings that are older than this count no more. */
const RATE_WINDOW_MS = 60_000;

const NOTES: Readonly<Record<KdiApi, string | null>> = {
  etsi004:
    'GS QKD 004 has no status call, and a connection without a request stops some servers; "qstunnel doctor kme" draws a key',
  etsi014: null,
  skip: 'SKIP tells that keys are given, not how many',
};

/** The sources are the report's from here on: it closes them. */
export function kmeKeyReports(options: KmeReportOptions): KeyReportSource {
  const pools = options.pools.map((pool) => new PoolWatch(pool, options));
  return {
    async read(signal): Promise<KeyReport> {
      const reports = await Promise.all(pools.map((pool) => pool.read(signal)));
      signal.throwIfAborted();
      return {
        ok: reports.every(({ state }) => state === 'ok' || state === 'low' || state === 'unknown'),
        source: 'kme',
        at: new Date(options.nowMs()).toISOString(),
        pools: reports,
      };
    },
    async close() {
      await Promise.all(options.pools.map(({ source }) => source.close()));
    },
  };
}

class PoolWatch {
  readonly #pool: AskedPool;
  readonly #options: KmeReportOptions;
  readonly #faults: PoolFault[] = [];
  /** Of the last minute, oldest first. */
  #readings: { readonly atMs: number; readonly keys: number }[] = [];

  constructor(pool: AskedPool, options: KmeReportOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  async read(signal: AbortSignal): Promise<PoolReport> {
    const { service, sae, peerSae, source, keysAhead } = this.#pool;
    const answer = await this.#ask(signal);
    const keys = answer?.storedKeyCount ?? null;
    const ratePerSecond = this.#rate(keys);
    const { low, high } = new DepthPolicy({ minAhead: keysAhead }).depth(0);
    const left = keys === null || ratePerSecond === null ? undefined : exhaustionMs(keys, -ratePerSecond, 0);
    return {
      service,
      sae,
      peerSae,
      kme: source.kme,
      api: source.api,
      state: answer === undefined ? faultState(this.#faults[0]) : stateOf(keys, low),
      keys,
      capacity: answer?.maxKeyCount ?? null,
      keySizeBits: answer?.keySizeBits ?? null,
      lowWatermark: low,
      highWatermark: high,
      ratePerSecond,
      exhaustionSeconds: left === undefined ? null : Math.round(left / 1_000),
      faults: [...this.#faults],
      note: answer === undefined ? null : NOTES[source.api],
    };
  }

  /** Undefined after a fault. An API without a status answers nothing, and that is no fault. */
  async #ask(signal: AbortSignal): Promise<KmeStatus | undefined> {
    const { source, peerSae } = this.#pool;
    const { clock, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const late = new AbortController();
    const cancel = clock.schedule(() => late.abort(), timeoutMs);
    try {
      return await source.status(peerSae, { signal: AbortSignal.any([signal, late.signal]) });
    } catch (error) {
      if (!isKdiError(error)) throw error;
      if (error.code === KdiErrorCode.unsupported && source.api === 'etsi004') return {};
      if (signal.aborted) return undefined;
      this.#fault(
        late.signal.aborted ? KdiErrorCode.timeout : error.code,
        late.signal.aborted ? `KME ${source.kme} did not answer within ${timeoutMs} ms` : error.message,
      );
      return undefined;
    } finally {
      cancel();
    }
  }

  #fault(code: string, message: string): void {
    this.#faults.unshift({ at: new Date(this.#options.nowMs()).toISOString(), code, message });
    this.#faults.splice(MAX_FAULTS);
  }

  #rate(keys: number | null): number | null {
    if (keys === null) {
      // Across a gap there is no rate: the key manager may have been started again, without its store.
      this.#readings = [];
      return null;
    }
    const atMs = this.#options.clock.now();
    this.#readings = [...this.#readings.filter((one) => atMs - one.atMs <= RATE_WINDOW_MS), { atMs, keys }];
    const [first] = this.#readings;
    if (first === undefined || atMs - first.atMs < MIN_RATE_SPAN_MS) return null;
    return Math.round((10_000 * (keys - first.keys)) / (atMs - first.atMs)) / 10;
  }
}

function stateOf(keys: number | null, low: number): PoolState {
  if (keys === null) return 'unknown';
  if (keys === 0) return 'empty';
  return keys <= low ? 'low' : 'ok';
}

const UNREACHABLE: ReadonlySet<string> = new Set([
  KdiErrorCode.connect,
  KdiErrorCode.timeout,
  KdiErrorCode.closed,
  KdiErrorCode.tls,
  KdiErrorCode.kmeIdentity,
]);

function faultState(last: PoolFault | undefined): PoolState {
  return last === undefined || UNREACHABLE.has(last.code) ? 'unreachable' : 'refused';
}
