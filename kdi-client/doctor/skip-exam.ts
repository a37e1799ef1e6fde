/** The conversation with a key provider over SKIP (draft-cisco-skip-02). Two keys are spent. */
import { DecodeError, fromHex, SecretBytes } from '../../tls-ext/bytes/index.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import {
  matchesSystemId,
  parseSkipCapabilities,
  parseSkipEntropy,
  parseSkipKey,
  type SkipCapabilities,
} from '../wire/index.ts';
import { Clause } from './clauses.ts';
import { ConfigHint, type KnownQuirks } from './doctor-settings.ts';
import {
  checkDistinct,
  checkTlsVersions,
  type ExamContext,
  LOOKUP_PATIENCE_MS,
  msText,
  retryPauseMs,
} from './exam-context.ts';
import { HttpProbe, type ProbeReply } from './http-probe.ts';
import type { KmeEnd } from './kme-end.ts';
import { checkProvenance } from './provenance.ts';

const KEY_BITS = 256;
const ENTROPY_BITS = 256;
/** draft-cisco-skip-02: the key ID has 128 bits unless agreed otherwise. */
const KEY_ID_BYTES = 16;
const MAX_PATTERNS_SHOWN = 8;

interface SkipKeyRead {
  /** As given: hex in the provider's own case. */
  readonly keyId: string;
  readonly secret: SecretBytes;
}

/** Resolves with the settings that this provider needs, known and found; undefined if there is no sense in trying the client. */
export async function examineSkip(context: ExamContext): Promise<KnownQuirks | undefined> {
  const { own, peer, peerSaeId, known, exam } = context;
  const http = new HttpProbe(own);
  const keys: SkipKeyRead[] = [];
  try {
    const capabilities = await askCapabilities(context, http, peerSaeId);
    if (capabilities === undefined) return undefined;
    await checkTlsVersions(http, new HttpProbe(own, 'TLSv1.2'), '/capabilities', Clause.skipTls);
    if (capabilities.entropy) await askEntropy(context, http);
    const unsized = await drawKey(context, http, undefined);
    if (unsized === undefined) return undefined;
    keys.push(unsized);
    checkDistinct(context, unsized.secret, unsized.keyId, Clause.skipKey);
    const sized = await drawKey(context, http, KEY_BITS);
    if (sized === undefined) return undefined;
    keys.push(sized);
    checkDistinct(context, sized.secret, sized.keyId, Clause.skipKey);
    const simulated = /simulat/i.test(capabilities.algorithm);
    checkProvenance(exam, simulated ? { simulated } : {}, Clause.skipCapabilities);
    if (peer === undefined) return known;
    const there = new HttpProbe(peer);
    try {
      if ((await askCapabilities(context, there, own.options.saeId)) === undefined) return undefined;
      return await examineLookups(context, there, keys);
    } finally {
      there.close();
    }
  } finally {
    for (const { secret } of keys) secret.wipe();
    http.close();
  }
}

/** Who we are there, and whether there is a link to the other side; undefined if there is no sense in going on. */
async function askCapabilities(
  { exam }: ExamContext,
  http: HttpProbe,
  otherSaeId: string,
): Promise<SkipCapabilities | undefined> {
  const { end } = http;
  const id = end.id('status');
  const clause = Clause.skipCapabilities;
  const capabilities = await exam.attempt(id, clause, async () => {
    const reply = await http.call({ path: '/capabilities', what: 'capabilities' });
    if (reply.status !== 200) throw replyFault(reply, 'capabilities', end);
    return read(reply, 'capabilities', end.name, parseSkipCapabilities);
  });
  if (capabilities === undefined) return undefined;
  const { entropy, key, algorithm, localSystemID, remoteSystemID } = capabilities;
  const gives = [key ? 'keys' : '', entropy ? 'entropy' : ''].filter((one) => one !== '').join(' and ') || 'nothing';
  const detail = `gives ${gives}; algorithm ${algorithm}`;
  if (!key) {
    exam.fail(id, clause, `${detail}: keys are needed`);
    return undefined;
  }
  exam.pass(id, clause, detail);
  const { saeId, isPeer } = end.options;
  if (localSystemID === saeId) exam.pass(end.id('sae'), clause, `it takes us for system ${localSystemID}`);
  else {
    exam.fail(
      end.id('sae'),
      clause,
      `it takes us for system ${localSystemID}, and ${saeId} was meant: use the certificate (or pre-shared key) of ${saeId}, or the name ${localSystemID}`,
      isPeer ? ConfigHint.peerSae(localSystemID) : ConfigHint.sae(localSystemID),
    );
  }
  const patterns = remoteSystemID.slice(0, MAX_PATTERNS_SHOWN).join(', ') || 'nobody';
  if (matchesSystemId(remoteSystemID, otherSaeId)) {
    exam.pass(end.id('other-sae'), clause, `${otherSaeId} is among its remote systems: ${patterns}`);
    return capabilities;
  }
  exam.fail(
    end.id('other-sae'),
    clause,
    `it has no link to ${otherSaeId}; its remote systems: ${patterns}: check the SAE ID`,
  );
  return undefined;
}

async function askEntropy({ exam }: ExamContext, http: HttpProbe): Promise<void> {
  const { name } = http.end;
  const clause = Clause.skipEntropy;
  const reply = await exam.attempt('entropy', clause, () =>
    http.call({ path: `/entropy?minentropy=${ENTROPY_BITS}`, what: 'entropy' }),
  );
  if (reply === undefined) return;
  if (reply.status === 503) {
    exam.note('entropy', clause, 'promised by /capabilities, and none at the moment (503); it is not needed here');
    return;
  }
  await exam.attempt('entropy', clause, async () => {
    if (reply.status !== 200) throw replyFault(reply, 'entropy', http.end);
    const { randomStr, minentropy } = read(reply, 'entropy', name, parseSkipEntropy);
    const text = `${4 * randomStr.length} bits with a minentropy of ${minentropy} for ${ENTROPY_BITS} asked`;
    if (minentropy >= ENTROPY_BITS) exam.pass('entropy', clause, text);
    else exam.note('entropy', clause, `${text}: less than asked; it is not needed here`);
  });
}

/** A key of the default size (256 bits) or of `sizeBits`. */
async function drawKey(
  { exam, own, peerSaeId }: ExamContext,
  http: HttpProbe,
  sizeBits: number | undefined,
): Promise<SkipKeyRead | undefined> {
  const id = sizeBits === undefined ? 'draw' : 'sizes';
  const clause = Clause.skipKey;
  const size = sizeBits === undefined ? '' : `&size=${sizeBits}`;
  const drawn = await exam.attempt(id, clause, async () => {
    const path = `/key?remoteSystemID=${encodeURIComponent(peerSaeId)}${size}`;
    const reply = await http.call({ path, what: 'key' });
    if (reply.status !== 200) throw replyFault(reply, 'key', own);
    return { ...readKey(reply, 'key', own.name), ms: reply.ms };
  });
  if (drawn === undefined) return undefined;
  const { keyId, secret, ms } = drawn;
  const bits = 8 * secret.length;
  const idBytes = keyId.length / 2;
  if (bits === KEY_BITS) {
    const told = `a key of ${bits} bits${sizeBits === undefined ? ', keyId ' : ` for size=${sizeBits}, keyId `}${keyId}, in ${msText(ms)}`;
    if (idBytes === KEY_ID_BYTES) exam.pass(id, clause, told);
    else exam.note(id, clause, `${told}; a keyId of ${8 * idBytes} bits where the draft has 128 (that is survived)`);
    return drawn;
  }
  secret.wipe();
  exam.fail(
    id,
    clause,
    bits === 8 * KEY_BITS
      ? `size=${KEY_BITS} gives ${bits} bits: it counts in bytes, which the draft does not allow and no setting copes with`
      : `a key of ${bits} bits instead of ${KEY_BITS}: set the provider's key size to ${KEY_BITS}`,
  );
  return undefined;
}

/** The same keys at the other side: the later one first, an unknown one, and each once only. Undefined: the first is not there. */
async function examineLookups(
  context: ExamContext,
  there: HttpProbe,
  keys: readonly SkipKeyRead[],
): Promise<KnownQuirks | undefined> {
  const { exam, own, comparison, random, known } = context;
  const clause = Clause.skipKeyById;
  let needs = known;
  for (const [i, key] of [...keys].reverse().entries()) {
    const isFirst = i === 0;
    const id = isFirst ? 'lookup' : 'batches';
    const found = await exam.attempt(id, clause, () =>
      lookUp(context, there, key.keyId, needs.upperCaseKeyIds ?? false),
    );
    if (found === undefined) return isFirst ? undefined : needs;
    const { reply, attempts, waitedMs, spelling } = found;
    if (reply.status !== 200) {
      const hint = isFirst ? '; are these the two ends of one link, and both system IDs right?' : '';
      exam.fail(
        id,
        clause,
        `${there.end.name} does not have key ${key.keyId}, asked ${attempts} times: ${reply.status}${hint}`,
      );
      return isFirst ? undefined : needs;
    }
    if (spelling === 'upper' && !needs.upperCaseKeyIds) {
      exam.fail('key-id-case', clause, 'a keyId is known in upper case only', ConfigHint.upperCaseKeyIds);
      needs = { ...needs, upperCaseKeyIds: true };
    }
    const other = await exam.attempt(id, clause, async () => readKey(reply, 'key by ID', there.end.name));
    if (other === undefined) return isFirst ? undefined : needs;
    const equal = comparison.compare(key.secret, other.secret, key.keyId);
    if (isFirst) {
      exam.pass(id, clause, `the other side has key ${key.keyId}`);
      if (attempts === 1) exam.pass('delay', null, 'the key was there at the first look-up');
      else
        exam.note(
          'delay',
          null,
          `the key was there ${msText(waitedMs)} after it was first asked for, at look-up ${attempts}`,
        );
    } else exam.pass(id, clause, 'keys of several requests wait at the other side until they are fetched');
    if (!equal) {
      exam.fail(
        'keys-equal',
        clause,
        `${own.name} and ${there.end.name} gave different keys under one keyId: nothing can be protected with them; have both looked at`,
      );
    } else if (isFirst) {
      exam.pass('keys-equal', clause, `${own.name} and ${there.end.name} gave the same key under one keyId`);
      await askAgain(context, there, key.keyId);
    }
  }
  const unknown = Array.from(random(KEY_ID_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const reply = await exam.attempt('unknown-key', clause, () => askForKey(context, there, unknown));
  if (reply === undefined) return needs;
  if (reply.status === 400)
    exam.pass('unknown-key', clause, 'an unknown keyId is answered with 400, as the draft says');
  else {
    exam.fail(
      'unknown-key',
      clause,
      `an unknown keyId is answered with ${reply.status} instead of 400: a key that has not arrived yet would be given up`,
    );
  }
  return needs;
}

interface SkipLookup {
  readonly reply: ProbeReply;
  readonly attempts: number;
  readonly waitedMs: number;
  /** In which case the keyId was found. */
  readonly spelling: 'lower' | 'upper';
}

async function lookUp(context: ExamContext, there: HttpProbe, keyId: string, upperFirst: boolean): Promise<SkipLookup> {
  const { exam } = context;
  const startedMs = exam.clock.now();
  const lower = keyId.toLowerCase();
  const upper = keyId.toUpperCase();
  for (let attempts = 1; ; attempts++) {
    let spelling: SkipLookup['spelling'] = upperFirst ? 'upper' : 'lower';
    let reply = await askForKey(context, there, upperFirst ? upper : lower);
    // A provider that writes upper case may know nothing else.
    if (reply.status === 400 && !upperFirst && keyId === upper && upper !== lower) {
      reply = await askForKey(context, there, upper);
      spelling = 'upper';
    }
    const waitedMs = reply.sentAtMs - startedMs;
    const spentMs = exam.clock.now() - startedMs;
    if (reply.status !== 400 || spentMs >= LOOKUP_PATIENCE_MS) return { reply, attempts, waitedMs, spelling };
    await exam.pause(retryPauseMs(attempts));
  }
}

function askForKey({ own }: ExamContext, there: HttpProbe, keyId: string): Promise<ProbeReply> {
  const path = `/key/${keyId}?remoteSystemID=${encodeURIComponent(own.options.saeId)}`;
  return there.call({ path, what: 'key by ID' });
}

/** A key that was fetched is zeroized, so it is not there any more. */
async function askAgain(context: ExamContext, there: HttpProbe, keyId: string): Promise<void> {
  const { exam } = context;
  const clause = Clause.skipKeyById;
  const reply = await exam.attempt('single-delivery', clause, async () => {
    const answer = await askForKey(context, there, keyId);
    if (answer.status === 200) readKey(answer, 'key by ID', there.end.name).secret.wipe();
    return answer;
  });
  if (reply === undefined) return;
  if (reply.status !== 200) {
    exam.pass('single-delivery', clause, `a second look-up of the same key is answered with ${reply.status}`);
    return;
  }
  exam.note(
    'single-delivery',
    clause,
    'a key that was fetched is given out a second time, and should be zeroized (qstunnel itself uses none twice)',
  );
}

function readKey(reply: ProbeReply, what: string, kme: string): SkipKeyRead {
  const { keyId, key } = read(reply, what, kme, parseSkipKey);
  return { keyId, secret: new SecretBytes(fromHex(key)) };
}

function read<T>(reply: ProbeReply, what: string, kme: string, parse: (json: unknown) => T): T {
  try {
    return parse(reply.json);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new KdiError(
      KdiErrorCode.malformed,
      `${kme} answered ${what} with what the draft does not allow: ${reply.bodyProblem === undefined ? error.message : `${reply.bodyProblem}; is it a SKIP provider, and the path prefix of its URL right?`}`,
    );
  }
}

function replyFault({ status }: ProbeReply, what: string, { name: kme, options }: KmeEnd): KdiError {
  const fault = (code: KdiErrorCode, meaning: string) =>
    new KdiError(code, `${kme} answered ${what} with ${status}: ${meaning}`, { httpStatus: status });
  switch (status) {
    case 400:
      return fault(KdiErrorCode.badRequest, `malformed or not found; check ${options.isPeer ? '--sae' : '--peer-sae'}`);
    case 401:
    case 403:
      return fault(KdiErrorCode.unauthorized, 'our certificate is not admitted, or our pre-shared key');
    case 404:
      return fault(
        KdiErrorCode.unsupported,
        'no such path; is this a SKIP provider, and the path prefix of the URL right?',
      );
    case 503:
      return fault(KdiErrorCode.insufficientKey, 'none available at the moment');
    default:
      return fault(KdiErrorCode.http, 'a status that SKIP does not know');
  }
}
