/**
 * The conversation with a KME over ETSI GS QKD 014. Each request is one that a
 * client may make; some are wrong on purpose, since the answers to those are
 * where servers differ. Two keys are spent.
 */
import { replyError } from '../etsi014/errors.ts';
import { Etsi014Message, type Etsi014Status } from '../wire/index.ts';
import { Clause } from './clauses.ts';
import { ConfigHint, type KnownQuirks } from './doctor-settings.ts';
import { Etsi014Calls, unknownKeyId } from './etsi014-calls.ts';
import { examineLookups } from './etsi014-lookups.ts';
import { answerText, messageOf, type ProbedKey, readContainer, readStatus } from './etsi014-replies.ts';
import { checkDistinct, checkTlsVersions, deviationsText, type ExamContext, msText } from './exam-context.ts';
import { HttpProbe } from './http-probe.ts';
import { checkProvenance, provenanceOf } from './provenance.ts';

const KEY_BITS = 256;
/** GS QKD 014, 6.2: "size shall be a multiple of 8". */
const ODD_SIZE_BITS = 257;

/** What sizes are counted in, once a key has shown it. */
type SizeUnit = 'bits' | 'bytes';

/** Resolves with the settings that this KME needs, known and found; undefined if there is no sense in trying the client. */
export async function examineEtsi014(context: ExamContext): Promise<KnownQuirks | undefined> {
  const { own, peer, peerSaeId, known, exam } = context;
  const calls = new Etsi014Calls(new HttpProbe(own), peerSaeId, known.getOnly ?? false);
  const keys: ProbedKey[] = [];
  try {
    const status = await askStatus(context, calls);
    if (status === 'refused') return undefined;
    await checkTlsVersions(calls.http, new HttpProbe(own, 'TLSv1.2'), calls.statusPath, Clause.etsi014Https);
    const unsized = await exam.attempt('draw', Clause.etsi014GetKey, () => calls.draw(undefined));
    if (unsized === undefined) return undefined;
    keys.push(unsized.key);
    checkDistinct(context, unsized.key.secret, unsized.key.keyId, Clause.etsi014GetKey);
    const unit = judgeSizes(context, status, unsized.key.secret.length);
    if (unit === undefined) return undefined;
    const size = unit === 'bytes' ? KEY_BITS / 8 : KEY_BITS;
    if (unit === 'bits') await askOddSize(context, calls);
    const sized = await drawSized(context, calls, size);
    if (sized === undefined) return undefined;
    const drawnAtMs = exam.clock.now();
    keys.push(sized);
    checkDistinct(context, sized.secret, sized.keyId, Clause.etsi014GetKey);
    checkProvenance(exam, provenanceOf(sized.extension), Clause.etsi014KeyContainer);
    let needs: KnownQuirks = { ...known, getOnly: calls.getOnly, keySizeInBytes: unit === 'bytes' };
    needs = await askUnknownKey(context, calls, needs);
    if (peer !== undefined) {
      const there = new Etsi014Calls(new HttpProbe(peer), own.options.saeId, needs.getOnly ?? false);
      try {
        if ((await askStatus(context, there)) === 'refused') return undefined;
        needs = await askUnknownKey(context, there, needs);
        return await examineLookups(context, { calls, there, earlier: unsized.key, later: sized, drawnAtMs, needs });
      } finally {
        there.http.close();
      }
    }
    return needs;
  } finally {
    for (const { secret } of keys) secret.wipe();
    calls.http.close();
  }
}

async function askStatus(
  { exam }: ExamContext,
  calls: Etsi014Calls,
): Promise<Etsi014Status | 'refused' | 'unreadable'> {
  const { end } = calls.http;
  const id = end.id('status');
  const reply = await exam.attempt(id, Clause.etsi014GetStatus, () => calls.status());
  if (reply === undefined) return 'refused';
  if (reply.status !== 200) {
    const error = replyError(reply, 'status', end.name);
    exam.fail(id, Clause.etsi014GetStatus, `${error.message}${adviceFor(reply.status, calls)} (${error.code})`);
    return 'refused';
  }
  const { status, deviations, problem } = readStatus(reply);
  if (status === undefined) {
    const isKme = reply.json !== undefined;
    const hint = isKme ? '' : '; is it a KME, and the path prefix of its URL right?';
    exam.fail(id, Clause.etsi014Status, `${end.name} sends a status that can't be read: ${problem}${hint}`);
    return isKme ? 'unreadable' : 'refused';
  }
  const { stored_key_count, max_key_count, max_key_per_request, source_KME_ID, target_KME_ID } = status;
  const detail =
    `${stored_key_count} of ${max_key_count} keys stored, up to ${max_key_per_request} in a request, ` +
    `from KME ${source_KME_ID} to ${target_KME_ID}${deviationsText(deviations)}`;
  if (max_key_per_request < 1) exam.fail(id, Clause.etsi014Status, `${detail}; that allows no request at all`);
  else if (deviations.length > 0) exam.note(id, Clause.etsi014Status, detail);
  else exam.pass(id, Clause.etsi014Status, detail);
  judgeSaes(calls, status);
  return status;
}

function adviceFor(httpStatus: number, { http, otherSaeId }: Etsi014Calls): string {
  const which = http.end.options.isPeer ? '--sae' : '--peer-sae';
  switch (httpStatus) {
    case 400:
      return `; check ${which} ${otherSaeId}`;
    case 404:
      return `; check ${which} ${otherSaeId}, and whether it serves another version than V1.1.1, which is /api/v1`;
    default:
      return '';
  }
}

/** Whose SAE ID the KME sees in our certificate, and whom it takes for the peer. */
function judgeSaes({ http, otherSaeId }: Etsi014Calls, { master_SAE_ID: seen, slave_SAE_ID: other }: Etsi014Status) {
  const { end } = http;
  const { exam } = end;
  const { saeId, isPeer } = end.options;
  if (seen === saeId) exam.pass(end.id('sae'), Clause.etsi014Status, `it sees SAE ${seen} in our certificate`);
  else {
    exam.fail(
      end.id('sae'),
      Clause.etsi014Status,
      `it sees SAE ${seen} in our certificate, and ${saeId} was meant: use the certificate of ${saeId}, or the name ${seen}`,
      isPeer ? ConfigHint.peerSae(seen) : ConfigHint.sae(seen),
    );
  }
  const text = `asked for SAE ${otherSaeId}, it answers for ${other}`;
  if (other === otherSaeId) exam.pass(end.id('other-sae'), Clause.etsi014Status, text);
  else exam.fail(end.id('other-sae'), Clause.etsi014Status, text);
}

/** A key of the KME's own size tells what sizes are counted in. Undefined: no client can ask for 256 bits here. */
function judgeSizes(
  { exam, known }: ExamContext,
  status: Etsi014Status | 'unreadable',
  keyBytes: number,
): SizeUnit | undefined {
  if (status === 'unreadable') return undefined;
  const { key_size, min_key_size, max_key_size } = status;
  const told = `key_size is ${key_size}, and a key of that size has ${keyBytes} bytes`;
  const unit: SizeUnit | undefined = key_size === 8 * keyBytes ? 'bits' : key_size === keyBytes ? 'bytes' : undefined;
  const fail = (detail: string, hint?: string) => exam.fail('sizes', Clause.etsi014Status, detail, hint);
  if (unit === undefined) {
    fail(`${told}: neither bits nor bytes`);
    return undefined;
  }
  const wanted = unit === 'bytes' ? KEY_BITS / 8 : KEY_BITS;
  if (wanted < min_key_size || wanted > max_key_size) {
    fail(`keys of ${min_key_size} to ${max_key_size} ${unit}; ${wanted} are needed: have the KME's limits changed`);
    return undefined;
  }
  const odd = unit === 'bits' && [key_size, min_key_size, max_key_size].some((size) => size % 8 !== 0);
  if (unit === 'bytes' && !known.keySizeInBytes) {
    fail(`sizes are in bytes, not in bits: ${told}`, ConfigHint.keySizeInBytes);
  } else if (unit === 'bits' && known.keySizeInBytes) {
    fail(`sizes are in bits: ${told}; take key-size-in-bytes away`);
  } else if (odd) {
    const sizes = `key_size ${key_size}, min_key_size ${min_key_size}, max_key_size ${max_key_size}`;
    exam.note('sizes', Clause.etsi014KeyRequest, `in bits, not all multiples of 8: ${sizes}; 256 is asked for`);
  } else {
    exam.pass('sizes', Clause.etsi014Status, `in ${unit}: ${told}; ${min_key_size} to ${max_key_size} are possible`);
  }
  return unit;
}

async function drawSized({ exam }: ExamContext, calls: Etsi014Calls, size: number): Promise<ProbedKey | undefined> {
  const drawn = await exam.attempt('draw', Clause.etsi014GetKey, () => calls.draw(size));
  if (drawn === undefined) return undefined;
  const { key, reply } = drawn;
  const { length } = key.secret;
  if (8 * length !== KEY_BITS) {
    key.secret.wipe();
    exam.fail('draw', Clause.etsi014KeyRequest, `size ${size} was asked for, and the key has ${length} bytes`);
    return undefined;
  }
  const detail = `a key of ${KEY_BITS} bits, key_ID ${key.keyId}, in ${msText(reply.ms)}`;
  exam.pass('draw', Clause.etsi014KeyContainer, detail);
  return key;
}

/** The standard fixes the answer to a size that is no multiple of 8. */
async function askOddSize({ exam }: ExamContext, calls: Etsi014Calls): Promise<void> {
  const reply = await exam.attempt('odd-size', Clause.etsi014KeyRequest, async () => {
    const answer = await calls.encKeys(ODD_SIZE_BITS);
    if (answer.status === 200) readContainer(answer, calls.http.end.name, 'enc_keys').key.secret.wipe();
    return answer;
  });
  if (reply === undefined) return;
  const answered = `a size of ${ODD_SIZE_BITS} bits is answered with ${answerText(reply)}`;
  if (reply.status === 400 && messageOf(reply) === Etsi014Message.sizeNotMultipleOf8) {
    exam.pass('odd-size', Clause.etsi014KeyRequest, `${answered}, as the standard says`);
  } else {
    exam.note(
      'odd-size',
      Clause.etsi014KeyRequest,
      `${answered} instead of 400 '${Etsi014Message.sizeNotMultipleOf8}' (no harm: 256 is asked for)`,
    );
  }
}

/** What an unknown key_ID is answered with: how a client tells "not yet" from "never". */
async function askUnknownKey(
  { exam, random, known }: ExamContext,
  calls: Etsi014Calls,
  needs: KnownQuirks,
): Promise<KnownQuirks> {
  const id = calls.http.end.id('unknown-key');
  const clause = Clause.etsi014GetKeyWithIds;
  const reply = await exam.attempt(id, clause, () => calls.decKeys(unknownKeyId(random)));
  if (reply === undefined) return needs;
  const { status } = reply;
  const answered = `an unknown key_ID is answered with ${answerText(reply)}`;
  if (status === 200) {
    exam.fail(id, clause, `${answered}: it gives out keys that nobody drew`);
  } else if (status === 400 && messageOf(reply)?.toLowerCase() === Etsi014Message.keysNotFound.toLowerCase()) {
    exam.pass(id, clause, `${answered}, as the standard says`);
  } else if (known.unknownKeyStatuses?.includes(status)) {
    exam.pass(id, clause, `${answered}, as is set`);
  } else if (status === 401) {
    exam.note(id, clause, `${answered}, as if the key had been drawn for somebody else`);
  } else {
    exam.fail(
      id,
      clause,
      `${answered} instead of 400 '${Etsi014Message.keysNotFound}': a key that has not arrived yet would be given up`,
      ConfigHint.unknownKeyStatus(status),
    );
    return { ...needs, unknownKeyStatuses: [...(needs.unknownKeyStatuses ?? []), status] };
  }
  return needs;
}
