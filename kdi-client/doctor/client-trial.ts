/**
 * The client that a tunnel uses, with the settings that the examination found
 * to be needed: do keys come out of it, the same ones at both ends, and how
 * many in a second?
 */
import type { Clock } from '../clock.ts';
import { isKdiError } from '../errors.ts';
import { Etsi004Source } from '../etsi004/source.ts';
import { Etsi014Source } from '../etsi014/source.ts';
import { type DeliveredKey, type LookupStream, referenceText } from '../key-source.ts';
import type { KmeTls, PskTls } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import { SkipSource } from '../skip/source.ts';
import type { KnownQuirks } from './doctor-settings.ts';
import { checkDistinct, type ExamContext, LOOKUP_PATIENCE_MS, msText, retryPauseMs } from './exam-context.ts';
import type { KmeEnd } from './kme-end.ts';

/** Keys that are drawn at most, and how long that may take. */
const TRIAL_KEYS = 8;
const TRIAL_MS = 2_000;
const TRIAL_CONNECT_MS = 2_000;
const TRIAL_GRACE_MS = 1_000;
/** Keys in one draw: as many as one request gives, where an API has requests for several. */
const KEYS_PER_DRAW = 4;

/** Makes the check `rate`. */
export async function tryClient(context: ExamContext, needs: KnownQuirks): Promise<void> {
  const { exam, own, peer, peerSaeId } = context;
  const source = sourceOf(own, needs, exam.clock, exam.limits.replyMs);
  const peerSource = peer && sourceOf(peer, needs, exam.clock, exam.limits.replyMs);
  exam.waitingFor(`keys from ${own.name}`);
  const { signal } = exam;
  try {
    let joining: Promise<LookupStream> | undefined;
    const draws = await source.openDraw(peerSaeId, {
      signal,
      onAnnouncement: (announcement) => {
        joining = peerSource?.openLookup(own.options.saeId, { signal, announcement });
        // Awaited below; a failure in between must not go unhandled.
        joining?.catch(() => {});
      },
    });
    joining ??= peerSource?.openLookup(own.options.saeId, { signal });
    const lookups = await joining;
    let drawn = 0;
    let requests = 0;
    let spentMs = 0;
    const different: string[] = [];
    while (drawn < TRIAL_KEYS && spentMs < TRIAL_MS) {
      const startedMs = exam.clock.now();
      const keys = await draws.draw(KEYS_PER_DRAW, { signal });
      spentMs += exam.clock.now() - startedMs;
      requests++;
      drawn += keys.length;
      for (const { secret, reference } of keys) checkDistinct(context, secret, referenceText(reference), null);
      different.push(...(await compareAll(context, keys, lookups)));
    }
    if (different.length > 0) {
      exam.fail(
        'keys-equal',
        null,
        `the two KMEs differ in ${different.length} of ${drawn} keys: ${different.slice(0, 4).join(', ')}`,
      );
      return;
    }
    const perSecond = Math.round((1000 * drawn) / Math.max(spentMs, 0.1));
    const agreed = lookups === undefined ? '' : ', the same at both ends';
    const chunks = source.api === 'etsi004' ? ' (in chunks of one key; more with key-chunk-size, by default 32)' : '';
    exam.pass(
      'rate',
      null,
      `qstunnel's own client drew ${drawn} keys in ${msText(spentMs)}${agreed}: ${perSecond} keys a second as long as the store lasts, ${msText(spentMs / requests)} for a draw${chunks}`,
    );
  } catch (error) {
    exam.failWith('rate', null, error);
  } finally {
    await Promise.all([source.close({ signal }), peerSource?.close({ signal })]);
  }
}

/** References of the keys that differ at the other end. Wipes all. */
async function compareAll(
  context: ExamContext,
  keys: readonly DeliveredKey[],
  lookups: LookupStream | undefined,
): Promise<string[]> {
  try {
    if (lookups === undefined) return [];
    const others = await Promise.allSettled(keys.map(({ reference }) => lookUp(context, lookups, reference)));
    const different: string[] = [];
    let failure: PromiseRejectedResult | undefined;
    for (const [i, other] of others.entries()) {
      const { reference, secret } = keys[i] as DeliveredKey;
      const text = referenceText(reference);
      if (other.status === 'rejected') failure ??= other;
      else if (!context.comparison.compare(secret, other.value.secret, text)) different.push(text);
    }
    if (failure !== undefined) throw failure.reason;
    return different;
  } finally {
    for (const { secret } of keys) secret.wipe();
  }
}

/** As a tunnel's answerer does: what is not there yet is asked for again. */
async function lookUp(
  { exam }: ExamContext,
  lookups: LookupStream,
  reference: DeliveredKey['reference'],
): Promise<DeliveredKey> {
  const startedMs = exam.clock.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await lookups.lookup(reference, { signal: exam.signal });
    } catch (error) {
      if (!isKdiError(error) || !error.retryable || exam.clock.now() - startedMs >= LOOKUP_PATIENCE_MS) throw error;
      await exam.pause(retryPauseMs(attempt));
    }
  }
}

function sourceOf({ options }: KmeEnd, needs: KnownQuirks, clock: Clock, timeoutMs: number) {
  const { address, tls, saeId } = options;
  const { ksid, openAs, uriTemplate, upperCaseKeyIds, ...quirks } = needs;
  const shared = { address, saeId, clock, connectTimeoutMs: Math.min(timeoutMs, TRIAL_CONNECT_MS) };
  switch (address.api) {
    case 'etsi004':
      return new Etsi004Source({
        ...shared,
        ...(tls === undefined ? { unsafePlainTcp: true } : { tls: expectCertificates(tls, address) }),
        ...(ksid === undefined ? {} : { ksid }),
        ...(openAs === undefined ? {} : { openAs }),
        ...(uriTemplate === undefined ? {} : { uriTemplate }),
        replyGraceMs: TRIAL_GRACE_MS,
        qos: { ttlSeconds: 60 },
      });
    case 'etsi014':
      return new Etsi014Source({
        ...shared,
        tls: expectCertificates(tls, address),
        callTimeoutMs: timeoutMs,
        quirks,
        maxKeysPerRequest: KEYS_PER_DRAW,
      });
    case 'skip':
      return new SkipSource({
        ...shared,
        tls: expectTls(tls, address),
        callTimeoutMs: timeoutMs,
        ...(upperCaseKeyIds === undefined ? {} : { upperCaseKeyIds }),
      });
  }
}

function expectTls(tls: KmeTls | PskTls | undefined, { name }: KmeAddress): KmeTls | PskTls {
  if (tls === undefined) throw new TypeError(`KME ${name} without TLS, which its API does not have`);
  return tls;
}

function expectCertificates(tls: KmeTls | PskTls | undefined, address: KmeAddress): KmeTls {
  const expected = expectTls(tls, address);
  if ('psk' in expected) throw new TypeError(`KME ${address.name} by pre-shared key, which its API does not have`);
  return expected;
}
