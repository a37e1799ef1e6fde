/** What a 014 reply shows beside its meaning: deviations from the standard that parsing alone would hide. */
import { DecodeError, SecretBytes } from '../../tls-ext/bytes/index.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { type Etsi014Status, parseEtsi014KeyContainer, parseEtsi014Status } from '../wire/index.ts';
import type { ProbeReply } from './http-probe.ts';

const ID_FIELDS = ['source_KME_ID', 'target_KME_ID', 'master_SAE_ID', 'slave_SAE_ID'] as const;

/** A status as far as it can be read. */
export interface ReadStatus {
  readonly status?: Etsi014Status;
  readonly deviations: readonly string[];
  /** Why it can't be read by a client as strict as ours. */
  readonly problem?: string;
}

export function readStatus(reply: ProbeReply): ReadStatus {
  const deviations = bodyDeviations(reply);
  const fields = typeof reply.json === 'object' && reply.json !== null ? (reply.json as Record<string, unknown>) : {};
  for (const field of ID_FIELDS) {
    if (typeof fields[field] === 'number') deviations.push(`${field} is a number, not a string (that is survived)`);
  }
  try {
    return { status: parseEtsi014Status(reply.json), deviations };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { deviations, problem: reply.bodyProblem ?? error.message };
  }
}

/** A delivered key; the receiver owns and wipes `secret`. */
export interface ProbedKey {
  readonly keyId: string;
  readonly secret: SecretBytes;
  readonly extension: Readonly<Record<string, unknown>>;
}

export interface ReadContainer {
  readonly key: ProbedKey;
  readonly deviations: readonly string[];
}

/** The one key of a reply with status 200. Throws `ERR_KDI_MALFORMED`, also for none or several. */
export function readContainer(reply: ProbeReply, kme: string, what: string): ReadContainer {
  let container: ReturnType<typeof parseEtsi014KeyContainer>;
  try {
    container = parseEtsi014KeyContainer(reply.json);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new KdiError(
      KdiErrorCode.malformed,
      `KME ${kme} answered ${what} with no key container: ${reply.bodyProblem ?? error.message}`,
    );
  }
  const keys = container.keys.map(({ key_ID, key, key_extension }): ProbedKey => {
    const decoded = Buffer.from(key, 'base64');
    const secret = SecretBytes.copyOf(decoded);
    decoded.fill(0);
    return { keyId: key_ID, secret, extension: { ...container.key_container_extension, ...key_extension } };
  });
  const [key] = keys;
  if (key !== undefined && keys.length === 1) return { key, deviations: bodyDeviations(reply) };
  for (const { secret } of keys) secret.wipe();
  throw new KdiError(KdiErrorCode.malformed, `KME ${kme} answered ${what} with ${keys.length} keys instead of one`);
}

function bodyDeviations({ contentType, json }: ProbeReply): string[] {
  if (json === undefined) return [];
  return /^application\/(?:[a-z.-]+\+)?json\b/i.test(contentType)
    ? []
    : [`content-type is '${contentType.slice(0, 64)}', not application/json (that is survived)`];
}

/** The message of an error reply; never of one that may hold a key. */
export function messageOf({ status, json }: ProbeReply): string | undefined {
  if (status < 400 || typeof json !== 'object' || json === null) return undefined;
  const { message } = json as { message?: unknown };
  return typeof message === 'string' ? message.slice(0, 200) : undefined;
}

/** `404 'no such key'` */
export function answerText(reply: ProbeReply): string {
  const said = messageOf(reply);
  return said === undefined ? String(reply.status) : `${reply.status} '${said}'`;
}
