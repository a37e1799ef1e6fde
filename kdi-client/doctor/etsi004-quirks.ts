/** What 004 servers do that a client has to know before it relies on them: refusals, second streams, and the end. */
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { isSuccess, statusError } from '../etsi004/status.ts';
import { uuidText } from '../key-source.ts';
import { Etsi004Status, isNullKsid, KSID_BYTES, MAX_KEY_CHUNK_BYTES } from '../wire/index.ts';
import { Clause } from './clauses.ts';
import { ConfigHint, type KnownQuirks } from './doctor-settings.ts';
import type { DoctorStream } from './etsi004-exam.ts';
import type { ExamContext } from './exam-context.ts';

/** More than any KME promises. */
const TOO_MUCH_BPS = 0xffff_ffff;

/** A QoS that can't be met: status 7 with a proposal is due, and no stream. */
export async function askForTooMuch({ exam }: ExamContext, stream: DoctorStream): Promise<void> {
  const { own, source, destination, qos } = stream;
  const clause = Clause.etsi004Qos;
  const asked = { ...qos, keyChunkSizeBytes: MAX_KEY_CHUNK_BYTES, maxBps: TOO_MUCH_BPS, minBps: TOO_MUCH_BPS };
  await exam.attempt('qos-refusal', clause, async () => {
    const nullKsid = new Uint8Array(KSID_BYTES);
    const { response } = await own.call({ service: 'open-connect', source, destination, ksid: nullKsid, qos: asked });
    const { status, stream: answered } = response;
    const ksid = answered && Uint8Array.from(answered.ksid);
    // A KME that returns the stream there is will say so in `second-stream`.
    if (ksid !== undefined && hexOf(ksid) === hexOf(stream.ksid)) return;
    const isOpen =
      ksid !== undefined &&
      !isNullKsid(ksid) &&
      (await own.call({ service: 'close', ksid })).response.status === Etsi004Status.success;
    if (status === Etsi004Status.qosNotMet && isOpen) {
      exam.note('qos-refusal', clause, 'status 7 opens a stream all the same (survived: it is closed)');
    } else if (status === Etsi004Status.qosNotMet) {
      exam.pass('qos-refusal', clause, 'a QoS that can not be met is refused with status 7, and no stream is opened');
    } else if (!isSuccess('open-connect', status) || answered === undefined) {
      exam.note('qos-refusal', clause, `a QoS that can not be met is answered with status ${status} instead of 7`);
    } else if (answered.qos.keyChunkSizeBytes < MAX_KEY_CHUNK_BYTES || answered.qos.minBps < TOO_MUCH_BPS) {
      const { keyChunkSizeBytes, minBps } = answered.qos;
      exam.note(
        'qos-refusal',
        clause,
        `a QoS that can not be met opens a stream with another one (chunks of ${keyChunkSizeBytes} bytes, Min_bps ${minBps}) instead of status 7 (survived within the configured bounds)`,
      );
    } else {
      exam.note(
        'qos-refusal',
        clause,
        `chunks of ${MAX_KEY_CHUNK_BYTES} bytes at ${TOO_MUCH_BPS} bit/s are promised: its QoS means nothing`,
      );
    }
  });
}

/** True: a second NULL open gives the KSID of the first one. */
export async function openTwice({ exam }: ExamContext, stream: DoctorStream, needs: KnownQuirks): Promise<boolean> {
  const { own, source, destination, qos } = stream;
  const clause = Clause.etsi004Ksid;
  const reused = await exam.attempt('second-stream', clause, async () => {
    const { response } = await own.call({
      service: 'open-connect',
      source,
      destination,
      ksid: new Uint8Array(KSID_BYTES),
      qos,
    });
    const ksid = response.stream?.ksid;
    if (!isSuccess('open-connect', response.status) || ksid === undefined) {
      const { message } = statusError('open-connect', response.status, own.end.name);
      exam.note('second-stream', clause, `a second stream between the same two is refused: ${message}`);
      return false;
    }
    if (hexOf(ksid) !== hexOf(stream.ksid)) {
      exam.pass('second-stream', clause, 'a second stream between the same two has a KSID of its own');
      await own.call({ service: 'close', ksid: Uint8Array.from(ksid) });
      return false;
    }
    const detail = `a second OPEN_CONNECT between the same two returns the same KSID ${uuidText(ksid)}`;
    if (needs.ksid === 'chosen') exam.pass('second-stream', clause, `${detail}; ksid: chosen copes`);
    else {
      // One process survives it by itself; after a restart it would go on where another one was.
      exam.note(
        'second-stream',
        clause,
        `${detail}: after a restart it would be the old stream`,
        ConfigHint.ksidChosen,
      );
    }
    return true;
  });
  return reused ?? false;
}

export async function closeStream({ exam }: ExamContext, { own, peer, ksid }: DoctorStream): Promise<void> {
  for (const probe of [own, ...(peer === undefined ? [] : [peer])]) {
    const id = probe.end.id('close');
    await exam.attempt(id, Clause.etsi004Close, async () => {
      const { status } = (await probe.call({ service: 'close', ksid })).response;
      if (status === Etsi004Status.success) exam.pass(id, Clause.etsi004Close, 'the stream is closed');
      else
        exam.note(
          id,
          Clause.etsi004Close,
          `${statusError('close', status, probe.end.name).message}; the TTL will end it`,
        );
    });
  }
}
