/**
 * Settings of key managers. Each may stand in a service or in `defaults`, for
 * every key manager there, or in an element of the list `kme`, for that one.
 */
import { z } from 'zod';
import { MAX_KME_URL_LENGTH } from '../../kdi-client/index.ts';
import { DURATION_FORM, DURATION_PATTERN } from './duration.ts';

/** Most key managers of one service. */
export const MAX_KMES = 16;
/** Largest number of a QoS field (u32). */
const MAX_U32 = 0xffff_ffff;

const path = () => z.string().min(1).max(4_096);
const duration = () => z.string(`must be ${DURATION_FORM}`).regex(DURATION_PATTERN, `must be ${DURATION_FORM}`);
const u32 = () => z.int().min(0).max(MAX_U32);
/** An element of extension_mandatory or extension_optional. */
const extension = () =>
  z
    .string()
    .max(1_024)
    .regex(/^[\w.:-]{1,128}=/, 'must be NAME=VALUE')
    .describe('NAME=VALUE; a value that is JSON is sent as such');
const url = () => z.string().min(1).max(MAX_KME_URL_LENGTH);

/** Of every API. */
const KME_ACCESS_SETTINGS = {
  'kme-cert': path().describe('PEM file: our certificate towards the key manager (default: cert)'),
  'kme-key': path().describe('PEM file: its private key (default: key)'),
  'kme-ca': path().describe("PEM file: the key manager's CAs (default: ca)"),
  'kme-server-name': z
    .string()
    .min(1)
    .max(253)
    .describe("Name that the key manager's certificate must hold (default: the host of kme)"),
  'kme-id': z
    .string()
    .min(1)
    .max(256)
    .describe("KME ID that its certificate must name, as CN, serial number or SAN; the host's name is not compared"),
  'kme-pin': z
    .array(z.string().regex(/^(?:[0-9a-fA-F]{2}:?){32}$/, 'must be a SHA-256 in hex'))
    .min(1)
    .max(16)
    .describe("SHA-256 in hex of the certificates that may be the key manager's; the host's name is not compared"),
  'kme-psk': path().describe('File with IDENTITY:HEX, a pre-shared key in place of certificates (skip:// only)'),
} as const;

/** Of ETSI GS QKD 004. */
export const ETSI004_SETTINGS = {
  'key-chunk-size': z
    .int()
    .min(32)
    .max(65_536)
    .multipleOf(32, 'must be a multiple of 32')
    .describe('Bytes asked for at a time, 32 for each key (004; default: 1024)'),
  ksid: z
    .enum(['allocated', 'chosen'])
    .describe('Who makes the key stream ID: our key manager, or we (004; default: allocated)'),
  'open-as': z
    .enum(['same', 'swapped'])
    .describe('How the answering side names source and destination to its key manager (004; default: same)'),
  'sae-uri': z
    .string()
    .max(256)
    .regex(/^[a-z][a-z0-9+.-]*:\/\/.*\{sae\}/, 'must be a URI with {sae} in it')
    .describe('How SAE IDs become URIs, with {sae} for the ID (004; default: qkd://{sae})'),
  'keep-connection': duration().describe(
    'How long an idle connection is kept for the next request; 0s: a new one for each (004, dialect qubip; default: 5s)',
  ),
  'qos-max-bps': u32().describe('QoS asked for: Max_bps (004; default: 100000)'),
  'qos-min-bps': u32().describe('QoS asked for: Min_bps (004; default: 0)'),
  'qos-jitter': u32().describe('QoS asked for: Jitter, in bits a second (004; default: 0)'),
  'qos-priority': u32().describe('QoS asked for: Priority (004; default: 0)'),
  'qos-timeout': duration().describe('QoS asked for: Timeout of each call (004; default: 2s)'),
  'qos-ttl': duration().describe('QoS asked for: TTL of unused keys (004; default: 1h)'),
  'qos-metadata': z.boolean().describe('Ask for age and hops of each key (004; default: true)'),
  'qos-accept-min-bps': u32().describe('Least Min_bps that a key manager may grant (004; default: 0)'),
  'qos-accept-min-ttl': duration().describe('Shortest TTL that it may grant (004; default: 0s)'),
  'qos-accept-max-timeout': duration().describe('Longest Timeout that it may grant (004; default: any)'),
  'qos-accept-min-chunk': z
    .int()
    .min(32)
    .max(65_536)
    .describe('Smallest chunk that it may impose, in bytes (004; default: 32)'),
  'qos-accept-max-chunk': z
    .int()
    .min(32)
    .max(65_536)
    .describe('Largest chunk that it may impose, in bytes (004; default: 65536)'),
} as const;

/** Of ETSI GS QKD 014. */
export const ETSI014_SETTINGS = {
  'key-size-in-bytes': z.boolean().describe('The key manager counts key sizes in bytes (014; default: false)'),
  'one-batch-at-a-time': z
    .boolean()
    .describe('It forgets what the other side has not fetched when more is drawn (014; default: false)'),
  'unknown-key-status': z
    .array(z.int().min(400).max(599))
    .min(1)
    .max(8)
    .describe('HTTP statuses, besides 400, by which it says that it does not know a key_ID (014; default: none)'),
  'min-key-age': duration().describe(
    'How long a key takes to reach the key manager of the other side (014; default: 0s)',
  ),
  'get-only': z.boolean().describe('It knows the GET forms only (014; default: false)'),
  'keys-per-request': z.int().min(1).max(1_024).describe('Most keys in one request (014; default: 128)'),
  'extension-mandatory': z
    .array(extension())
    .min(1)
    .max(64)
    .describe("The maker's parameters that each key request has to be met with, as NAME=VALUE (014; default: none)"),
  'extension-optional': z
    .array(extension())
    .min(1)
    .max(64)
    .describe("The maker's parameters that it may be met with, as NAME=VALUE (014; default: none)"),
} as const;

/** Of SKIP. */
export const SKIP_SETTINGS = {
  'upper-case-key-ids': z.boolean().describe('It knows its key IDs in upper case only (skip; default: false)'),
} as const;

export const KME_SETTINGS = {
  ...KME_ACCESS_SETTINGS,
  ...ETSI004_SETTINGS,
  ...ETSI014_SETTINGS,
  ...SKIP_SETTINGS,
  'unsafe-plaintext-kme': z
    .boolean()
    .describe('Talk to the key manager without TLS (004): anyone on the way can read the keys'),
} as const;

/** An element of the list `kme` that says more than the URL. */
export const kmeElementSchema = z.strictObject({
  url: url().describe('etsi004://, etsi014:// or skip://'),
  weight: z
    .int()
    .min(1)
    .max(1_000)
    .optional()
    .describe('With kme-choose weighted: relative to the others (default: 1)'),
  ...z.strictObject(KME_SETTINGS).partial().shape,
});

export const kmeListSchema = z
  .array(z.union([url(), kmeElementSchema]))
  .min(1)
  .max(MAX_KMES);

const KME_FORMS = 'a URL, or a list of URLs and of mappings with url';

/** `kme` in a file. */
export const kmeSchema = z
  .union([url(), kmeListSchema], { error: `must be ${KME_FORMS}` })
  .describe(
    'Key manager: etsi004://HOST:PORT[?dialect=qubip], etsi014://HOST[:PORT] or skip://HOST[:PORT], or a list of such. Without one there are no QKD keys',
  );

/** `--kme`. */
export const kmeOptionSchema = z
  .array(url())
  .describe(
    'Key manager: etsi004://HOST:PORT[?dialect=qubip], etsi014://HOST[:PORT] or skip://HOST[:PORT]. Several of one API stand in for each other, in this order. Without one there are no QKD keys',
  );

export type KmeElementInput = z.infer<typeof kmeElementSchema>;
