/** What QoS is asked of a KME, and which answers are taken. */
import { KdiError, KdiErrorCode } from '../errors.ts';
import { KEY_BYTES } from '../key-source.ts';
import { type Etsi004Qos, MAX_KEY_CHUNK_BYTES, METADATA_JSON } from '../wire/index.ts';

/** Settings of the streams that are opened. All optional; units in the names. */
export interface Etsi004QosSettings {
  /** Keys of 32 bytes in one chunk (default 1). Ask for 32 or more where keys are needed fast. */
  readonly keysPerChunk?: number;
  readonly maxBps?: number;
  readonly minBps?: number;
  readonly jitterBps?: number;
  readonly priority?: number;
  /** Of every call, at the KME. */
  readonly timeoutMs?: number;
  readonly ttlSeconds?: number;
  /** Whether age, hops and provenance are asked for (default true). */
  readonly metadata?: boolean;
}

/** Which counter-proposals, or QoS that a KME imposes, are taken. */
export interface Etsi004QosBounds {
  /** At least one key (32 bytes, the default). */
  readonly minKeyChunkSizeBytes?: number;
  readonly maxKeyChunkSizeBytes?: number;
  /** Highest `Min_bps`-side loss that is taken: the KME must promise at least this (default 0: anything). */
  readonly minBps?: number;
  readonly minTtlSeconds?: number;
  readonly maxTimeoutMs?: number;
}

const MAX_U32 = 0xffff_ffff;

export function requestedQos(settings: Etsi004QosSettings): Etsi004Qos {
  const keysPerChunk = settings.keysPerChunk ?? 1;
  if (!Number.isInteger(keysPerChunk) || keysPerChunk < 1 || keysPerChunk * KEY_BYTES > MAX_KEY_CHUNK_BYTES) {
    throw new KdiError(KdiErrorCode.config, `keys per chunk must be 1 to ${MAX_KEY_CHUNK_BYTES / KEY_BYTES}`);
  }
  const qos: Etsi004Qos = {
    keyChunkSizeBytes: keysPerChunk * KEY_BYTES,
    maxBps: settings.maxBps ?? 100_000,
    minBps: settings.minBps ?? 0,
    jitterBps: settings.jitterBps ?? 0,
    priority: settings.priority ?? 0,
    timeoutMs: settings.timeoutMs ?? 2_000,
    ttlSeconds: settings.ttlSeconds ?? 3_600,
    metadataMimetype: (settings.metadata ?? true) ? METADATA_JSON : '',
  };
  for (const [name, value] of Object.entries(qos)) {
    if (typeof value === 'number' && (!Number.isInteger(value) || value < 0 || value > MAX_U32)) {
      throw new KdiError(KdiErrorCode.config, `QoS ${name} must be an integer of 0 to ${MAX_U32}`);
    }
  }
  return qos;
}

/** Throws `ERR_KDI_QOS_NOT_MET`, naming the field, if what the KME grants is outside the bounds. */
export function expectWithinBounds(granted: Etsi004Qos, bounds: Etsi004QosBounds, kme: string): void {
  const minChunk = Math.max(bounds.minKeyChunkSizeBytes ?? KEY_BYTES, KEY_BYTES);
  const maxChunk = Math.min(bounds.maxKeyChunkSizeBytes ?? MAX_KEY_CHUNK_BYTES, MAX_KEY_CHUNK_BYTES);
  const outside = (field: string, value: number, allowed: string): KdiError =>
    new KdiError(
      KdiErrorCode.qosNotMet,
      `KME ${kme} grants ${field} ${value}, ${allowed} allowed by the configured bounds`,
    );
  const { keyChunkSizeBytes, minBps, ttlSeconds, timeoutMs } = granted;
  if (keyChunkSizeBytes < minChunk || keyChunkSizeBytes > maxChunk) {
    throw outside('Key_chunk_size', keyChunkSizeBytes, `${minChunk} to ${maxChunk}`);
  }
  if (minBps < (bounds.minBps ?? 0)) throw outside('Min_bps', minBps, `${bounds.minBps} or more`);
  // TTL 0: the KME doesn't say.
  if (ttlSeconds !== 0 && ttlSeconds < (bounds.minTtlSeconds ?? 0)) {
    throw outside('TTL', ttlSeconds, `${bounds.minTtlSeconds} s or more`);
  }
  if (timeoutMs > (bounds.maxTimeoutMs ?? MAX_U32)) {
    throw outside('Timeout', timeoutMs, `${bounds.maxTimeoutMs} ms or less`);
  }
}
