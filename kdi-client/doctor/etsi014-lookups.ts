/** The other end over GS QKD 014: is the same key there, how soon, and is an earlier one still there after a later draw? */
import { Clause } from './clauses.ts';
import { ConfigHint, type KnownQuirks } from './doctor-settings.ts';
import type { Etsi014Calls } from './etsi014-calls.ts';
import { answerText, type ProbedKey, readContainer } from './etsi014-replies.ts';
import { type ExamContext, LOOKUP_PATIENCE_MS, msText, retryPauseMs } from './exam-context.ts';
import type { ProbeReply } from './http-probe.ts';

export interface LookupQuestions {
  /** Where keys are drawn. */
  readonly calls: Etsi014Calls;
  /** Where they are looked up. */
  readonly there: Etsi014Calls;
  /** Two keys of two requests, not yet fetched. The caller wipes what is left of them. */
  readonly earlier: ProbedKey;
  readonly later: ProbedKey;
  /** When the later one came, on the examination's clock. */
  readonly drawnAtMs: number;
  readonly needs: KnownQuirks;
}

/** How a look-up ended. */
type Lookup =
  | { readonly outcome: 'found'; readonly key: ProbedKey; readonly foundAtMs: number; readonly attempts: number }
  | { readonly outcome: 'missing'; readonly reply: ProbeReply; readonly attempts: number };

/** Delays are rounded up to this, for a setting that still holds tomorrow. */
const DELAY_STEP_MS = 50;

/** A key that is older than one which is there already needs no more time than this. */
const EARLIER_PATIENCE_MS = 500;

/**
 * Resolves with the settings that are needed, those of the look-ups added; undefined if the key is not there. The later
 * key is fetched first.
 */
export async function examineLookups(
  context: ExamContext,
  questions: LookupQuestions,
): Promise<KnownQuirks | undefined> {
  const { exam, comparison } = context;
  const { there, later, drawnAtMs, needs } = questions;
  const clause = Clause.etsi014GetKeyWithIds;
  const lookup = await exam.attempt('lookup', clause, () => lookUp(context, there, later.keyId, LOOKUP_PATIENCE_MS));
  if (lookup === undefined) return undefined;
  if (lookup.outcome === 'missing') {
    exam.fail(
      'lookup',
      clause,
      `${there.http.end.name} does not have key ${later.keyId}, asked ${lookup.attempts} times: ${answerText(lookup.reply)}; are these the two ends of one link, and both SAE IDs right?`,
    );
    return undefined;
  }
  exam.pass('lookup', clause, `the other side has key ${later.keyId}`);
  const needsNow = judgeDelay(context, lookup.foundAtMs - drawnAtMs, lookup.attempts, needs);
  judgeEquality(context, comparison.compare(later.secret, lookup.key.secret, later.keyId), questions);
  await askAgain(context, there, later.keyId);
  return askEarlier(context, { ...questions, needs: needsNow });
}

/** Asks until the key is there, or patience ends. */
async function lookUp({ exam }: ExamContext, there: Etsi014Calls, keyId: string, patienceMs: number): Promise<Lookup> {
  const startedMs = exam.clock.now();
  for (let attempt = 1; ; attempt++) {
    const reply = await there.decKeys(keyId);
    if (reply.status === 200) {
      const { key } = readContainer(reply, there.http.end.name, 'dec_keys');
      return { outcome: 'found', key, foundAtMs: reply.sentAtMs, attempts: attempt };
    }
    const spentMs = exam.clock.now() - startedMs;
    if (reply.status === 401 || spentMs >= patienceMs) return { outcome: 'missing', reply, attempts: attempt };
    await exam.pause(Math.min(retryPauseMs(attempt), patienceMs - spentMs));
  }
}

function judgeDelay({ exam }: ExamContext, waitedMs: number, attempts: number, needs: KnownQuirks): KnownQuirks {
  if (attempts === 1) {
    exam.pass('delay', null, 'the key was there at the first look-up');
    return needs;
  }
  const minKeyAgeMs = DELAY_STEP_MS * Math.ceil(waitedMs / DELAY_STEP_MS);
  const detail = `the key was there ${msText(waitedMs)} after it was drawn, at look-up ${attempts}`;
  if ((needs.minKeyAgeMs ?? 0) >= waitedMs) {
    exam.pass('delay', null, `${detail}; min-key-age covers it`);
    return needs;
  }
  // The answerer asks again by itself; the setting spares the KME the questions.
  exam.note('delay', null, `${detail}; asking later spares the KME vain questions`, ConfigHint.minKeyAge(minKeyAgeMs));
  return { ...needs, minKeyAgeMs };
}

function judgeEquality({ exam }: ExamContext, equal: boolean, { calls, there }: LookupQuestions): void {
  const [here, other] = [calls.http.end.name, there.http.end.name];
  if (equal)
    exam.pass('keys-equal', Clause.etsi014GetKeyWithIds, `${here} and ${other} gave the same key under one key_ID`);
  else {
    exam.fail(
      'keys-equal',
      Clause.etsi014GetKeyWithIds,
      `${here} and ${other} gave different keys under one key_ID: nothing can be protected with them; have both KMEs looked at`,
    );
  }
}

/** A key that was fetched is to be gone. */
async function askAgain({ exam }: ExamContext, there: Etsi014Calls, keyId: string): Promise<void> {
  const clause = Clause.etsi014GetKeyWithIds;
  const reply = await exam.attempt('single-delivery', clause, async () => {
    const answer = await there.decKeys(keyId);
    if (answer.status === 200) readContainer(answer, there.http.end.name, 'dec_keys').key.secret.wipe();
    return answer;
  });
  if (reply === undefined) return;
  if (reply.status !== 200) {
    exam.pass('single-delivery', clause, `a second look-up of the same key is answered with ${answerText(reply)}`);
    return;
  }
  exam.note(
    'single-delivery',
    clause,
    'a key that was fetched is given out a second time: whoever has that certificate later has the keys of earlier connections (qstunnel itself uses none twice)',
  );
}

/** Is the key of an earlier request still there, after a later one was drawn and fetched? */
async function askEarlier(context: ExamContext, { there, earlier, needs }: LookupQuestions): Promise<KnownQuirks> {
  const { exam, comparison } = context;
  const clause = Clause.etsi014GetKey;
  const lookup = await exam.attempt('batches', clause, () =>
    lookUp(context, there, earlier.keyId, EARLIER_PATIENCE_MS),
  );
  if (lookup === undefined) return needs;
  if (lookup.outcome === 'found') {
    exam.pass('batches', clause, 'keys of several requests wait at the other side until they are fetched');
    if (!comparison.compare(earlier.secret, lookup.key.secret, earlier.keyId)) {
      exam.fail('keys-equal', Clause.etsi014GetKeyWithIds, `the two KMEs also differ in key ${earlier.keyId}`);
    }
    return needs;
  }
  const detail = 'a second enc_keys makes the other side forget keys of the first that were not fetched';
  if (needs.oneBatchAtATime) exam.pass('batches', clause, `${detail}; one-batch-at-a-time copes`);
  else exam.fail('batches', clause, detail, ConfigHint.oneBatchAtATime);
  return { ...needs, oneBatchAtATime: true };
}
