import fc from 'fast-check';
import type { QkdKeyReference } from '../../../tls-ext/engine-types.ts';
import { type KeyChannelMessage, MAX_KEYS_PER_BATCH } from '../../../tls-ext/key-channel/index.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const name = (minLength: number) => fc.string({ minLength, maxLength: 60, unit: 'binary' });
const reference: fc.Arbitrary<QkdKeyReference> = fc.oneof(
  fc.record({
    api: fc.constant('etsi004' as const),
    drawer: name(1),
    ksid: bytes(16),
    index: u32,
    slice: fc.integer({ min: 0, max: 0xffff }),
  }),
  fc.record({ api: fc.constant('etsi014' as const), drawer: name(1), keyId: bytes(16) }),
  fc.record({
    api: fc.constant('skip' as const),
    drawer: name(1),
    keyId: fc.uint8Array({ minLength: 1, maxLength: 255 }),
  }),
);
const failure = fc.constantFrom(
  'kme_unreachable' as const,
  'no_qkd_connection' as const,
  'ksid_in_use' as const,
  'qos_not_met' as const,
  'lost' as const,
  'limit' as const,
  'other' as const,
);
const position = fc.integer({ min: 0, max: MAX_KEYS_PER_BATCH - 1 });

/** Any legal message. */
export const anyMessage: fc.Arbitrary<KeyChannelMessage> = fc.oneof(
  fc.record({
    type: fc.constant('hello' as const),
    instance: bytes(16),
    quota: fc.integer({ min: 1, max: 16_384 }),
    services: fc.array(
      fc.record({
        service: name(1),
        require: fc.constantFrom('qkd-and-pqc' as const, 'qkd' as const, 'pqc' as const, 'qkd-or-pqc' as const),
      }),
      { maxLength: 64 },
    ),
  }),
  fc.record({
    type: fc.constant('state' as const),
    kmeReachable: fc.boolean(),
    kmeName: name(0),
    poolKeys: u32,
    reasons: fc.array(
      fc.constantFrom(
        'kme_unreachable' as const,
        'kme_error' as const,
        'no_key' as const,
        'stream_opening' as const,
        'key_mismatch' as const,
        'budget' as const,
        'draining' as const,
      ),
      { maxLength: 16 },
    ),
  }),
  fc.record({ type: fc.constant('abort' as const), reason: fc.constantFrom('limit' as const, 'version' as const) }),
  fc.record({
    type: fc.constant('stream' as const),
    ksid: bytes(16),
    qos: fc.record({
      keyChunkSizeBytes: fc.integer({ min: 32, max: 0xffff_ffff }),
      maxBps: u32,
      minBps: u32,
      jitterBps: u32,
      priority: u32,
      timeoutMs: u32,
      ttlSeconds: u32,
      metadataMimetype: fc.constantFrom('', 'application/json'),
    }),
  }),
  fc.record({
    type: fc.constant('keys' as const),
    batch: u32,
    ttlSeconds: fc.integer({ min: 1, max: 86_400 }),
    keys: fc.array(fc.record({ reference, check: bytes(16) }), { minLength: 1, maxLength: 20 }),
  }),
  fc.record({
    type: fc.constant('dropped' as const),
    reason: fc.constantFrom('unused' as const, 'mismatch' as const),
    references: fc.array(reference, { minLength: 1, maxLength: 20 }),
  }),
  fc.record({
    type: fc.constant('close_stream' as const),
    ksid: bytes(16),
    reason: fc.constantFrom('finished' as const, 'mismatch' as const),
  }),
  fc.record({
    type: fc.constant('opened' as const),
    ksid: bytes(16),
    keyChunkSizeBytes: fc.integer({ min: 32, max: 0xffff_ffff }),
  }),
  fc.record({ type: fc.constant('failed' as const), ksid: bytes(16), reason: failure, retrying: fc.boolean() }),
  fc.record({
    type: fc.constant('results' as const),
    batch: u32,
    results: fc.array(
      fc.oneof(
        fc.record({ position, status: fc.constant('acked' as const), check: bytes(16) }),
        fc.record({
          position,
          status: fc.constantFrom(
            'pending' as const,
            'mismatch' as const,
            'unavailable' as const,
            'over_quota' as const,
          ),
        }),
      ),
      { minLength: 1, maxLength: MAX_KEYS_PER_BATCH },
    ),
  }),
);
