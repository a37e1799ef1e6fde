/** Every length and count that a peer can grow, with its bound. */

/** The only version of the key channel there is. */
export const PROTOCOL_VERSION = 1;
/** A process' random name, new at each start. */
export const INSTANCE_BYTES = 16;
/** Key_stream_ID of ETSI GS QKD 004: a UUIDv4. */
export const KSID_BYTES = 16;
/** A check value of one key. */
export const CHECK_BYTES = 16;

/** How long a peer may take to say hello. */
export const HELLO_TIMEOUT_MS = 30_000;
/** The QKD keys that chunks are cut into. A chunk that is shorter holds none. */
export const QKD_KEY_BYTES = 32;

/** Longest body of a message. The largest legal one, `keys` with 128 references of the longest kind, stays below. */
export const MAX_MESSAGE_BYTES = 0x1_4000;
/** Most keys in one `keys` message: 4 KiB of key as 32-byte keys. */
export const MAX_KEYS_PER_BATCH = 128;
/** Most references in one `dropped` message. */
export const MAX_DROPPED_PER_MESSAGE = 128;
/** Largest quota either side may claim: most keys outstanding between two instances. */
export const MAX_QUOTA = 16_384;
/** Most services named in a hello. */
export const MAX_SERVICES = 64;
/** Most reasons in a `state`. */
export const MAX_STATE_REASONS = 16;
/** Longest name of a service or KME, in UTF-8 bytes. */
export const MAX_NAME_BYTES = 255;
/** Longest QoS `Metadata_mimetype`, in bytes (char[256] less its NUL). */
export const MAX_MIMETYPE_BYTES = 255;
/** Longest life of an announced key, whatever its drawer says. */
export const MAX_KEY_TTL_SECONDS = 86_400;
/** Life of keys of a stream whose QoS says TTL 0 (unspecified). */
export const DEFAULT_KEY_TTL_SECONDS = 3_600;

/** Most key streams of one drawer instance that are open or opening. */
export const MAX_STREAMS_PER_INSTANCE = 8;
/** Ended streams remembered per drawer instance, so that none is opened again. */
export const MAX_ENDED_STREAMS = 64;
/** Drawer instances of one peer SAE whose keys are kept: running replicas, and processes that restarted. */
export const MAX_DRAWER_INSTANCES = 8;
/** Connections of one peer SAE at one answerer. */
export const MAX_CONNECTIONS = 16;
/** Key IDs without an order (014, SKIP) remembered after their end, so that none is taken twice. */
export const MAX_ENDED_KEY_IDS = 8_192;

/** Mismatches in a row until the KME itself is under quarantine. */
export const MISMATCHES_UNTIL_KME_QUARANTINE = 3;
/** Keys that must be acked after a mismatch before it no longer counts as "in a row". */
export const HEALTHY_ACKED_KEYS = 16;
/** Keys that may be outstanding while the KME is under quarantine: the probe. */
export const PROBE_KEYS = 1;
