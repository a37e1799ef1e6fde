/**
 * The one description of every setting: keys, types, ranges and help texts.
 * The YAML check, the published JSON Schema, and the options of the command
 * line (cli-options.ts) are all made from it. What one key alone can't tell
 * is checked in resolve.ts.
 */
import { z } from 'zod';
import { isSaeId, MAX_SAE_ID_LENGTH, SAE_ID_SYNTAX } from '../../certs/index.ts';
import { REQUIREMENTS } from '../policy.ts';
import { ADDRESS_FORMS } from './address.ts';
import { DURATION_FORM, DURATION_PATTERN } from './duration.ts';
import { KME_SETTINGS, kmeSchema } from './kme-schema.ts';
import { SIZE_FORM, SIZE_PATTERN } from './size.ts';

/** Bounds on what one configuration may ask for. */
export const MAX_SERVICES = 1_000;
export const MAX_PEER_SAES = 256;
export const MAX_TICKETS = 64;

export const GROUP_NAMES = [
  'X25519MLKEM768',
  'SecP256r1MLKEM768',
  'SecP384r1MLKEM1024',
  'x25519',
  'secp256r1',
  'secp384r1',
] as const;
export type GroupName = (typeof GROUP_NAMES)[number];

export const CIPHER_SUITE_NAMES = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
] as const;
export type CipherSuiteName = (typeof CIPHER_SUITE_NAMES)[number];

export const AUTHENTICATIONS = ['certificate', 'psk'] as const;
export type Authentication = (typeof AUTHENTICATIONS)[number];

export const REQUIRED_AUTHENTICATIONS = ['any', 'pq'] as const;

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

const address = (what: string) =>
  z
    .union([z.string().min(1).max(300), z.int().min(0).max(65_535)], { error: `must be ${ADDRESS_FORMS}` })
    .describe(`${what}: ${ADDRESS_FORMS}`);
const duration = () => z.string(`must be ${DURATION_FORM}`).regex(DURATION_PATTERN, `must be ${DURATION_FORM}`);
const count = (max: number) => z.int().min(1).max(max);
const path = () => z.string().min(1).max(4_096);
const saeId = () => z.string().max(MAX_SAE_ID_LENGTH).refine(isSaeId, `must be an SAE ID: ${SAE_ID_SYNTAX}`);

/** Settings of a service that `defaults` may give for all. Sorted as the documentation shows them. */
export const SERVICE_SETTINGS = {
  sae: saeId().describe('Our own SAE ID, as our certificate names it'),
  'peer-sae': z.array(saeId()).min(1).max(MAX_PEER_SAES).describe('SAE IDs of the peers that are admitted'),
  cert: path().describe('PEM file: our certificate, and those between it and the CA'),
  key: path().describe('PEM file: the private key of the certificate (mode 0600)'),
  ca: path().describe('PEM file: the CAs that peers are trusted under'),
  auth: z
    .enum(AUTHENTICATIONS)
    .describe(
      'certificate: certificates both ways; psk: plain TLS with keys from the key manager, for peers that know nothing of QKD (default: certificate)',
    ),
  'require-auth': z
    .enum(REQUIRED_AUTHENTICATIONS)
    .describe("pq: every key in the peer's certificate chain must be ML-DSA's (default: any)"),
  'verify-host': z
    .string()
    .min(1)
    .max(253)
    .describe("Host name or IP address that the server's certificate must name as well (client)"),
  kme: kmeSchema,
  'kme-choose': z
    .enum(['ordered', 'weighted'])
    .describe('Which of several key managers: the first that works, or by weight (default: ordered)'),
  'kme-fail-back': duration().describe('How long a stand-in serves before the first is tried again (default: 1m)'),
  ...KME_SETTINGS,
  require: z
    .enum(REQUIREMENTS as [(typeof REQUIREMENTS)[number], ...(typeof REQUIREMENTS)[number][]])
    .describe('The least that a connection must have (default: qkd-or-pqc)'),
  remember: duration().describe(
    'Refuse a peer without QKD for so long after it was last seen with it (default: not remembered)',
  ),
  'rekey-after': z
    .strictObject(
      {
        time: duration().describe('Age of a QKD key; 0s = no limit (default: 1h)'),
        bytes: z
          .string(`must be ${SIZE_FORM}`)
          .regex(SIZE_PATTERN, `must be ${SIZE_FORM}`)
          .describe("Data under one QKD key, both directions (default: the cipher's own limit)"),
        connections: count(1_000_000).describe('Connections that one QKD key is for, by tickets (default: 100)'),
      },
      {
        error: ({ code }) => (code === 'invalid_type' ? 'must be a mapping of time, bytes and connections' : undefined),
      },
    )
    .partial()
    .describe('How much one QKD key may protect before a live connection gets another'),
  tickets: z
    .int()
    .min(0)
    .max(MAX_TICKETS)
    .describe('Tickets of one connection, each for a resumption that uses no key of its own (default: 0)'),
  'key-wait': duration().describe('How long a connection that requires a key waits for one (default: 5s)'),
  'keys-ahead': count(4_096).describe('Agreed keys that are kept ready without any demand (default: 4)'),
  'keys-ahead-max': count(4_096).describe('Most keys that are kept ready when there is demand (default: 256)'),
  'key-ttl': duration().describe('How long a key that nobody used is kept (default: 1h)'),
  'max-hops': z.int().min(0).max(1_000).describe('Most trusted nodes that a key may have crossed (default: any)'),
  'max-key-age': duration().describe('Oldest key that is used, by what the key manager says (default: any)'),
  'unknown-provenance': z
    .enum(['allow', 'refuse'])
    .describe('Keys of which the key manager does not say what max-hops and max-key-age ask (default: allow)'),
  'budget-reserve': z.int().min(0).max(4_095).describe('Ready keys that only rekeys may take (client; default: 0)'),
  'budget-priority': z
    .enum(['high', 'normal', 'low'])
    .describe('Who gets keys first when they are scarce, among services that share them (client; default: normal)'),
  'budget-share': z
    .int()
    .min(1)
    .max(1_000)
    .describe('Share of the supply when keys are scarce, relative to the other services (client; default: 1)'),
  'budget-horizon': duration().describe('Keys are scarce when they would run out within this (client; default: 1m)'),
  groups: z
    .array(z.enum(GROUP_NAMES))
    .min(1)
    .max(GROUP_NAMES.length)
    .describe('Key exchange groups in order of preference (default: X25519MLKEM768)'),
  'cipher-suites': z
    .array(z.enum(CIPHER_SUITE_NAMES))
    .min(1)
    .max(CIPHER_SUITE_NAMES.length)
    .describe('Cipher suites in order of preference (default: AES-256-GCM, then AES-128-GCM)'),
  'max-connections': count(1_000_000).describe('Connections at once (default: 10000)'),
  'max-pending-handshakes': count(100_000).describe('Handshakes at once (default: 512)'),
  'handshake-timeout': duration().describe('Longest handshake (default: 10s)'),
  'connect-timeout': duration().describe('Longest wait for the address that is connected to (default: 10s)'),
  'idle-timeout': duration().describe('Closes a connection without traffic; 0s = never (default: 12h)'),
  'half-closed-timeout': duration().describe('Closes a connection that is half closed and idle (default: 10m)'),
  'unsafe-allow-classical': z
    .boolean()
    .describe('Admit connections with neither QKD nor ML-KEM: readable once there are quantum computers'),
  'unsafe-allow-simulated': z
    .boolean()
    .describe("Admit a simulator's keys off loopback: they are no secret of physics"),
  'unsafe-plaintext-off-loopback': z
    .boolean()
    .describe('Let the plaintext side be an address that other machines reach: anyone on the way can read it'),
} as const;

/** What every service has of its own. */
const SERVICE_IDENTITY = {
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be 1 to 64 letters, digits, ".", "_" or "-"')
    .describe('Name in logs and metrics'),
  mode: z.enum(['client', 'server']).describe('client: plaintext in, tunnel out; server: tunnel in, plaintext out'),
  accept: address('Where to accept connections'),
  connect: address('Where to connect to'),
} as const;

/** One service; what it needs and `defaults` may give is checked after both are joined. */
export const serviceSchema = z.strictObject({
  ...SERVICE_IDENTITY,
  ...z.strictObject(SERVICE_SETTINGS).partial().shape,
});
export type ServiceInput = z.infer<typeof serviceSchema>;

export const defaultsSchema = z.strictObject(SERVICE_SETTINGS).partial();
export type DefaultsInput = z.infer<typeof defaultsSchema>;

/** Settings of the whole process. */
export const PROCESS_SETTINGS = {
  'log-level': z.enum(LOG_LEVELS).describe('Least important lines that are logged (default: info)'),
  ledger: path().describe('File that keeps keys from being used twice, also after a crash (default: in memory)'),
  'drain-timeout': duration().describe('How long open connections may go on after SIGTERM (default: 30s)'),
} as const;

/** A configuration file. */
export const fileSchema = z.strictObject({
  ...z.strictObject(PROCESS_SETTINGS).partial().shape,
  defaults: defaultsSchema.optional().describe('Settings of every service that does not set them itself'),
  services: z.array(serviceSchema).min(1).max(MAX_SERVICES).describe('The services'),
});
export type FileInput = z.infer<typeof fileSchema>;

/** Settings without which no service works; the files only where certificates authenticate. */
export const REQUIRED_SETTINGS = ['sae', 'peer-sae', 'cert', 'key', 'ca'] as const;

/** Those of them that a service with this `auth` can't do without. */
export function requiredSettings(auth: unknown): readonly (typeof REQUIRED_SETTINGS)[number][] {
  return auth === 'psk' ? ['sae', 'peer-sae'] : REQUIRED_SETTINGS;
}

/** The JSON Schema (draft 2020-12) of a configuration file, for editors. Published as docs/qstunnel.schema.json. */
export function configJsonSchema(): object {
  const { $schema, ...schema } = z.toJSONSchema(fileSchema, { io: 'input' });
  return { $schema, title: 'qstunnel configuration', ...schema };
}
