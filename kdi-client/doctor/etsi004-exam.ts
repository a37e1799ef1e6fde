/**
 * The conversation with a KME over ETSI GS QKD 004: open a stream, join it at
 * the peer's KME, draw a few chunks, look the same ones up there, close. The
 * dialect is the one of the URL and is never probed.
 */
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { isKdiError, KdiErrorCode } from '../errors.ts';
import { isSuccess, statusError } from '../etsi004/status.ts';
import { KEY_BYTES, uuidText } from '../key-source.ts';
import {
  type Etsi004OpenConnectResponse,
  type Etsi004Qos,
  Etsi004Status,
  isNullKsid,
  KSID_BYTES,
  METADATA_JSON,
} from '../wire/index.ts';
import { fieldOfSae, namesText } from './certificates.ts';
import { Clause } from './clauses.ts';
import { ConfigHint, type KnownQuirks } from './doctor-settings.ts';
import { examineEtsi004Keys } from './etsi004-keys.ts';
import { Etsi004Probe } from './etsi004-probe.ts';
import { askForTooMuch, closeStream, openTwice } from './etsi004-quirks.ts';
import type { ExamContext } from './exam-context.ts';
import type { KmeEnd } from './kme-end.ts';

/** How long the KME may wait for key or for the peer, and how long it keeps what the doctor leaves behind. */
const QOS_TIMEOUT_MS = 2_000;
const QOS_TTL_SECONDS = 60;
const DEFAULT_URI_TEMPLATE = 'qkd://{sae}';

/** What is asked for: one key in a chunk, with metadata. */
export const DOCTOR_QOS: Etsi004Qos = {
  keyChunkSizeBytes: KEY_BYTES,
  maxBps: 100_000,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: QOS_TIMEOUT_MS,
  ttlSeconds: QOS_TTL_SECONDS,
  metadataMimetype: METADATA_JSON,
};

/** A stream that stands at our own KME, and perhaps at the peer's. */
export interface DoctorStream {
  readonly ksid: Uint8Array;
  readonly qos: Etsi004Qos;
  readonly own: Etsi004Probe;
  /** Absent: no peer's KME was given, or it did not join. */
  readonly peer?: Etsi004Probe;
  readonly source: string;
  readonly destination: string;
}

type Opened = NonNullable<Etsi004OpenConnectResponse['stream']>;

/** Resolves with the settings that this KME needs, known and found; undefined if there is no sense in trying the client. */
export async function examineEtsi004(context: ExamContext): Promise<KnownQuirks | undefined> {
  return new Etsi004Exam(context).run();
}

class Etsi004Exam {
  readonly #context: ExamContext;
  readonly #own: Etsi004Probe;
  readonly #peer: Etsi004Probe | undefined;
  #needs: KnownQuirks;

  constructor(context: ExamContext) {
    this.#context = context;
    this.#own = this.#probeOf(context.own);
    this.#peer = context.peer && this.#probeOf(context.peer);
    this.#needs = context.known;
  }

  async run(): Promise<KnownQuirks | undefined> {
    const stream = await this.#openStream();
    if (stream === undefined) return undefined;
    const hasKeys = await examineEtsi004Keys(this.#context, stream);
    await askForTooMuch(this.#context, stream);
    if (await openTwice(this.#context, stream, this.#needs)) this.#needs = { ...this.#needs, ksid: 'chosen' };
    await closeStream(this.#context, stream);
    return hasKeys && stream.peer !== undefined ? this.#needs : undefined;
  }

  /** A probe whose first reply makes the check `dialect`. */
  #probeOf(end: KmeEnd): Etsi004Probe {
    const probe = new Etsi004Probe(end);
    const { exam } = end;
    probe.onDialect = (seen) => {
      probe.onDialect = undefined;
      const clause = Clause.etsi004Connection;
      if (seen === probe.dialect) exam.pass(end.id('dialect'), clause, `${seen}, as the URL says`);
      else {
        const detail = `it answers in dialect ${seen}, and the URL says ${probe.dialect}`;
        const url = `etsi004://${end.name}${seen === 'qubip' ? '?dialect=qubip' : ''}`;
        exam.fail(end.id('dialect'), clause, detail, ConfigHint.kme(url));
      }
    };
    return probe;
  }

  #uris() {
    const { own, peerSaeId } = this.#context;
    const template = this.#needs.uriTemplate ?? DEFAULT_URI_TEMPLATE;
    const uri = (saeId: string) =>
      saeId.includes('://') ? saeId : template.replaceAll('{sae}', encodeURIComponent(saeId));
    return { source: uri(own.options.saeId), destination: uri(peerSaeId) };
  }

  async #openStream(): Promise<DoctorStream | undefined> {
    if (this.#needs.ksid === 'chosen') return this.#openChosen();
    const { own } = this.#context;
    const uris = this.#uris();
    const nullKsid = new Uint8Array(KSID_BYTES);
    let response = await this.#open(this.#own, { ...uris, ksid: nullKsid, qos: DOCTOR_QOS });
    if (response === 'failed') return undefined;
    if (response.status === Etsi004Status.timeout) return this.#openBlocked();
    if (response.status === Etsi004Status.qosNotMet && response.stream !== undefined) {
      response = await this.#takeProposal(response.stream, uris, nullKsid);
      if (response === 'failed') return undefined;
    }
    const opened = this.#judgeOpen(own, response);
    if (opened === undefined) return undefined;
    const stream = { ksid: Uint8Array.from(opened.ksid), qos: opened.qos, own: this.#own, ...uris };
    if (!isFit(this.#context, stream.qos)) return undefined;
    return this.#join(stream);
  }

  /** OPEN_CONNECT; `failed`: no answer, and a check says what went wrong. */
  async #open(
    probe: Etsi004Probe,
    request: { source: string; destination: string; ksid: Uint8Array; qos: Etsi004Qos },
  ): Promise<Etsi004OpenConnectResponse | 'failed'> {
    const { end } = probe;
    const { exam } = end;
    try {
      return (await probe.call({ service: 'open-connect', ...request })).response;
    } catch (error) {
      // `dialect` has said it already.
      if (isKdiError(error, KdiErrorCode.dialect)) return 'failed';
      exam.failWith(end.id('open'), Clause.etsi004Open, error);
      return 'failed';
    }
  }

  async #takeProposal(proposal: Opened, uris: { source: string; destination: string }, ksid: Uint8Array) {
    const { exam } = this.#context;
    const { keyChunkSizeBytes, minBps, ttlSeconds, timeoutMs } = proposal.qos;
    exam.note(
      'qos',
      Clause.etsi004Qos,
      `the QoS is not met (status 7), this is proposed and taken: chunks of ${keyChunkSizeBytes} bytes, Min_bps ${minBps}, Timeout ${timeoutMs} ms, TTL ${ttlSeconds} s`,
      keyChunkSizeBytes === KEY_BYTES ? undefined : ConfigHint.keyChunkSize(keyChunkSizeBytes),
    );
    if (!isNullKsid(proposal.ksid)) {
      const close = { service: 'close', ksid: Uint8Array.from(proposal.ksid) } as const;
      if ((await exam.attempt('qos', Clause.etsi004Close, () => this.#own.call(close))) === undefined) return 'failed';
    }
    return this.#open(this.#own, { ...uris, ksid, qos: proposal.qos });
  }

  /** The stream of a reply with status 0 or 1; otherwise a failed check says why not. */
  #judgeOpen(end: KmeEnd, { status, stream }: Etsi004OpenConnectResponse, asked?: Uint8Array): Opened | undefined {
    const { exam } = this.#context;
    const id = end.id('open');
    if (!isSuccess('open-connect', status) || stream === undefined) {
      const error = statusError('open-connect', status, end.name);
      // Where our certificate is another SAE's, no form of a URI makes it ours.
      const hint = status === Etsi004Status.noQkdConnection && !isAnothers(end) ? ConfigHint.saeUri : undefined;
      exam.fail(id, Clause.etsi004Open, `${error.message}${this.#adviceFor(status, end)} (${error.code})`, hint);
      return undefined;
    }
    const { ksid, qos } = stream;
    if (isNullKsid(ksid) || (asked !== undefined && hexOf(asked) !== hexOf(ksid))) {
      exam.fail(id, Clause.etsi004Ksid, `it answers with Key_stream_ID ${uuidText(ksid)}, which is not the one meant`);
      return undefined;
    }
    const { keyChunkSizeBytes, timeoutMs, ttlSeconds, metadataMimetype } = qos;
    const detail =
      `status ${status}${status === 1 ? ' (the peer is not there yet)' : ''}, KSID ${uuidText(ksid)}: ` +
      `chunks of ${keyChunkSizeBytes} bytes, Timeout ${timeoutMs} ms, TTL ${ttlSeconds} s, ${metadataMimetype || 'no'} metadata`;
    const isVersion4 = ((ksid[6] as number) & 0xf0) === 0x40;
    if (isVersion4) exam.pass(id, Clause.etsi004Open, detail);
    else exam.note(id, Clause.etsi004Ksid, `${detail}; deviates: the KSID is no UUID of version 4 (that is survived)`);
    return stream;
  }

  #adviceFor(status: number, end: KmeEnd): string {
    const { ownNames, options } = end;
    switch (status) {
      case Etsi004Status.noQkdConnection:
        return (
          `; ${this.#uris().source} and ${this.#uris().destination} were sent` +
          (options.tls === undefined
            ? ''
            : `; our certificate names ${namesText(ownNames)}, and ${options.saeId} was meant` +
              (isAnothers(end) ? `: use the certificate of ${options.saeId}, or the SAE ID in this one` : ''))
        );
      case Etsi004Status.ksidInUse:
        return '; another process of this SAE has opened it: the doctor can not share a stream with a running proxy, start it again for a fresh one';
      default:
        return '';
    }
  }

  /** The KME waits until the peer has opened too: only a KSID of our own can reach both in time. */
  async #openBlocked(): Promise<DoctorStream | undefined> {
    const { exam, own } = this.#context;
    const detail = `OPEN_CONNECT without a KSID is not answered before its Timeout: ${own.name} waits for the peer, which can't know the KSID yet`;
    exam.fail('open', Clause.etsi004Open, detail, ConfigHint.ksidChosen);
    if (this.#peer === undefined) return undefined;
    this.#needs = { ...this.#needs, ksid: 'chosen' };
    return this.#openChosen();
  }

  /** Both sides open at the same time, with a KSID that we made. */
  async #openChosen(): Promise<DoctorStream | undefined> {
    const { own, peer, random } = this.#context;
    const ksid = Uint8Array.from(random(KSID_BYTES));
    ksid[6] = ((ksid[6] as number) & 0x0f) | 0x40;
    ksid[8] = ((ksid[8] as number) & 0x3f) | 0x80;
    const uris = this.#uris();
    const request = { ...uris, ksid, qos: DOCTOR_QOS };
    const there = this.#peer;
    const swapped = this.#needs.openAs === 'swapped' ? swap(uris) : uris;
    const [ours, theirs] = await Promise.all([
      this.#open(this.#own, request),
      there === undefined ? undefined : this.#open(there, { ...request, ...swapped }),
    ]);
    if (ours === 'failed') return undefined;
    const opened = this.#judgeOpen(own, ours, ksid);
    if (opened === undefined || !isFit(this.#context, opened.qos)) return undefined;
    const stream = { ksid, qos: opened.qos, own: this.#own, ...uris };
    if (there === undefined || peer === undefined || theirs === undefined || theirs === 'failed') return stream;
    return this.#judgeOpen(peer, theirs, ksid) === undefined ? stream : { ...stream, peer: there };
  }

  /** The peer's KME joins the stream, with Source and Destination as they were, or swapped. */
  async #join(stream: DoctorStream): Promise<DoctorStream> {
    const { exam, peer } = this.#context;
    const there = this.#peer;
    if (there === undefined || peer === undefined) return stream;
    const { ksid, qos, source, destination } = stream;
    const isSwapped = this.#needs.openAs === 'swapped';
    const uris = { source, destination };
    const request = { ksid, qos };
    const first = await this.#open(there, { ...request, ...(isSwapped ? swap(uris) : uris) });
    if (first === 'failed') return stream;
    let response = first;
    if (response.status === Etsi004Status.noQkdConnection || response.status === Etsi004Status.ksidInUse) {
      const other = await this.#open(there, { ...request, ...(isSwapped ? uris : swap(uris)) });
      if (other !== 'failed' && isSuccess('open-connect', other.status)) {
        const openAs = isSwapped ? 'same' : 'swapped';
        exam.fail(
          'peer-uris',
          Clause.etsi004Open,
          `the answering side's Source and Destination are taken only ${isSwapped ? 'as they were' : 'swapped'}`,
          ConfigHint.openAs(openAs),
        );
        this.#needs = { ...this.#needs, openAs };
        response = other;
      }
    }
    return this.#judgeOpen(peer, response, ksid) === undefined ? stream : { ...stream, peer: there };
  }
}

/** Whether keys of 32 bytes can be cut from the chunks that are granted; 004 counts in bytes. */
function isFit({ exam }: ExamContext, { keyChunkSizeBytes: chunk }: Etsi004Qos): boolean {
  const keys = Math.floor(chunk / KEY_BYTES);
  const hint = chunk % KEY_BYTES === 0 ? ConfigHint.keyChunkSize(chunk) : undefined;
  if (chunk === DOCTOR_QOS.keyChunkSizeBytes)
    exam.pass('sizes', Clause.etsi004Qos, `in bytes: chunks of ${chunk}, as asked`);
  else if (keys === 0) {
    exam.fail('sizes', Clause.etsi004Qos, `it imposes chunks of ${chunk} bytes, and a key has ${KEY_BYTES}`);
    return false;
  } else {
    const rest = chunk % KEY_BYTES === 0 ? '' : `, and ${chunk % KEY_BYTES} bytes of each are lost`;
    exam.note(
      'sizes',
      Clause.etsi004Qos,
      `it imposes chunks of ${chunk} bytes on who asks for ${DOCTOR_QOS.keyChunkSizeBytes}: ${keys} keys in each${rest}`,
      hint,
    );
  }
  return true;
}

function swap({ source, destination }: { readonly source: string; readonly destination: string }) {
  return { source: destination, destination: source };
}

/** Whether our certificate names others than our SAE, as far as is known. */
function isAnothers({ options, ownNames }: KmeEnd): boolean {
  return options.tls !== undefined && fieldOfSae(ownNames, options.saeId) === undefined;
}
