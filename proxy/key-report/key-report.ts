/**
 * How the keys stand, peer by peer, as plain data. Where it comes from is a
 * port: the key managers themselves for a program that stands alone, a running
 * proxy's admin port for one that asks it.
 */
import type { KdiApi } from '../../kdi-client/index.ts';

export type PoolState =
  /** Above the low watermark, as far as is known. */
  | 'ok'
  /** At or below the low watermark. */
  | 'low'
  | 'empty'
  /** The API does not tell without a draw. */
  | 'unknown'
  /** It answers, and with no status: see `faults`. */
  | 'refused'
  /** No answer, or none that can be trusted: see `faults`. */
  | 'unreachable';

export interface PoolFault {
  /** ISO 8601. */
  readonly at: string;
  /** Stable, as docs/errors.md has them. */
  readonly code: string;
  readonly message: string;
}

/** Keys of one peer at one key manager. Null: not known. */
export interface PoolReport {
  readonly service: string;
  readonly sae: string;
  readonly peerSae: string;
  /** `host:port` */
  readonly kme: string;
  readonly api: KdiApi;
  readonly state: PoolState;
  readonly keys: number | null;
  readonly capacity: number | null;
  readonly keySizeBits: number | null;
  /** Between these a proxy with these settings keeps its own pool. */
  readonly lowWatermark: number;
  readonly highWatermark: number;
  /** Change of `keys` in a second over the last minute: what comes in less what is used. */
  readonly ratePerSecond: number | null;
  /** At that rate; null also if it does not run out. */
  readonly exhaustionSeconds: number | null;
  /** The last ones, newest first. */
  readonly faults: readonly PoolFault[];
  /** What a reader has to know, one line. */
  readonly note: string | null;
}

export interface KeyReport {
  /** Every pool is reachable and has keys, as far as is known. */
  readonly ok: boolean;
  readonly source: 'kme' | 'proxy';
  /** ISO 8601. */
  readonly at: string;
  readonly pools: readonly PoolReport[];
}

export interface KeyReportSource {
  /** Rejects only when `signal` aborts: what goes wrong is in the report. */
  read(signal: AbortSignal): Promise<KeyReport>;
  close(): Promise<void>;
}
