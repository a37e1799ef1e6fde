import { type Etsi004Qos, MAX_KEY_CHUNK_BYTES, METADATA_JSON } from '../../kdi-client/wire/index.ts';

/** What a key manager is ready to promise for a 004 stream. */
export interface QosLimits {
  readonly minChunkBytes: number;
  readonly maxChunkBytes: number;
  /** For a chunk size out of these bounds: refuse with a counter-proposal (status 7), or open with its own size. */
  readonly onChunkSize: 'counter-proposal' | 'impose';
  /** Highest Min_bps promised; absent: any. */
  readonly maxBps?: number;
  /** Longest wait of a call. */
  readonly maxTimeoutMs: number;
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
}

export const DEFAULT_QOS_LIMITS: QosLimits = {
  minChunkBytes: 1,
  maxChunkBytes: 65_536,
  onChunkSize: 'counter-proposal',
  maxTimeoutMs: 30_000,
  defaultTtlSeconds: 3_600,
  maxTtlSeconds: 86_400,
};

/** The QoS of the stream, or the nearest that would be accepted. */
export type QosVerdict =
  | { readonly outcome: 'accepted'; readonly qos: Etsi004Qos }
  | { readonly outcome: 'counter-proposal'; readonly qos: Etsi004Qos };

/** Judges the QoS asked for. Waits and lifetimes beyond the limits are shortened without refusal: the reply says so. */
export function negotiateQos(asked: Etsi004Qos, limits: QosLimits): QosVerdict {
  const maxChunkBytes = Math.min(limits.maxChunkBytes, MAX_KEY_CHUNK_BYTES);
  const keyChunkSizeBytes = Math.min(maxChunkBytes, Math.max(limits.minChunkBytes, asked.keyChunkSizeBytes));
  const maxBps = Math.min(asked.maxBps, limits.maxBps ?? asked.maxBps);
  const minBps = Math.min(asked.minBps, limits.maxBps ?? asked.minBps);
  const knownMimetype = asked.metadataMimetype === '' || asked.metadataMimetype === METADATA_JSON;
  const qos: Etsi004Qos = {
    keyChunkSizeBytes,
    maxBps,
    minBps,
    jitterBps: asked.jitterBps,
    priority: asked.priority,
    timeoutMs: Math.min(asked.timeoutMs, limits.maxTimeoutMs),
    ttlSeconds: Math.min(asked.ttlSeconds || limits.defaultTtlSeconds, limits.maxTtlSeconds),
    metadataMimetype: knownMimetype ? asked.metadataMimetype : METADATA_JSON,
  };
  const chunkSizeMet = keyChunkSizeBytes === asked.keyChunkSizeBytes || limits.onChunkSize === 'impose';
  const met = chunkSizeMet && minBps === asked.minBps && knownMimetype;
  return { outcome: met ? 'accepted' : 'counter-proposal', qos };
}
