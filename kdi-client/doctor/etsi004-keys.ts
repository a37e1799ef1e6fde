/** The keys of a 004 stream: a draw, the same chunk at the other end, what is done with the index, and the metadata. */
import { SecretBytes } from '../../tls-ext/bytes/index.ts';
import { statusError } from '../etsi004/status.ts';
import { type Etsi004GetKeyResponse, Etsi004Status } from '../wire/index.ts';
import { Clause } from './clauses.ts';
import type { DoctorStream } from './etsi004-exam.ts';
import { readMetadata } from './etsi004-metadata-check.ts';
import type { Etsi004Probe } from './etsi004-probe.ts';
import { checkDistinct, type ExamContext, LOOKUP_PATIENCE_MS, msText, retryPauseMs } from './exam-context.ts';
import { checkProvenance } from './provenance.ts';

/** Room for metadata; JSON of age and hops takes some 40 bytes. */
const METADATA_BUFFER_BYTES = 1_024;
/** The index that is asked for after the first one: the one between is left out, to see whether the KME counts by itself. */
const INDEX_STEP = 2;

interface Chunk {
  readonly index: number;
  readonly secret: SecretBytes;
  readonly metadata: Uint8Array;
  readonly ms: number;
}

/** What GET_KEY led to. */
type Got = { readonly chunk: Chunk } | { readonly status: number; readonly metadataSizeNeeded?: number };

/** Whether keys were drawn, and found at the other end if there is one. */
export async function examineEtsi004Keys(context: ExamContext, stream: DoctorStream): Promise<boolean> {
  const first = await draw(context, stream, 0);
  if (first === undefined) return false;
  try {
    checkDistinct(context, first.secret, `at index ${first.index}`, Clause.etsi004GetKey);
    judgeMetadata(context, stream, first.metadata);
    if (stream.peer === undefined) return true;
    if (!(await lookUp(context, stream, stream.peer, first, true))) return false;
    const next = await examineIndex(context, stream, stream.peer, first.index);
    if (next === undefined) return false;
    if (stream.qos.metadataMimetype !== '') await examineBuffer(context, stream, next);
    return true;
  } finally {
    first.secret.wipe();
  }
}

/** The first chunk; undefined if there is none, and a check says why. */
async function draw(context: ExamContext, stream: DoctorStream, index: number): Promise<Chunk | undefined> {
  const { exam } = context;
  const { own, qos } = stream;
  const got = await exam.attempt('draw', Clause.etsi004GetKey, () =>
    getChunk(context, own, stream, index, stream.peer === undefined ? 0 : LOOKUP_PATIENCE_MS),
  );
  if (got === undefined) return undefined;
  if (!('chunk' in got)) {
    if (got.status === Etsi004Status.getKeyPeerNotConnected && stream.peer === undefined) {
      exam.note(
        'draw',
        Clause.etsi004GetKey,
        `no key before the peer has opened the stream too (status 3), which is as it should be${context.peer === undefined ? '; with --peer and --peer-cert a key is drawn' : ''}`,
      );
    } else {
      const error = statusError('get-key', got.status, own.end.name);
      exam.fail('draw', Clause.etsi004GetKey, `${error.message} (${error.code})`);
    }
    return undefined;
  }
  const { chunk } = got;
  const { length } = chunk.secret;
  if (length === qos.keyChunkSizeBytes) {
    exam.pass(
      'draw',
      Clause.etsi004GetKey,
      `a chunk of ${length} bytes at index ${chunk.index}, in ${msText(chunk.ms)}`,
    );
    return chunk;
  }
  chunk.secret.wipe();
  const unit = 8 * length === qos.keyChunkSizeBytes ? ': it counts Key_chunk_size in bits, which are bytes' : '';
  exam.fail('draw', Clause.etsi004GetKey, `a chunk of ${length} bytes on a stream of ${qos.keyChunkSizeBytes}${unit}`);
  return undefined;
}

/** The same chunk at the other end; false if it is not there. */
async function lookUp(
  context: ExamContext,
  stream: DoctorStream,
  peer: Etsi004Probe,
  drawn: Chunk,
  isFirst: boolean,
): Promise<boolean> {
  const { exam, comparison } = context;
  const clause = Clause.etsi004GetKey;
  const startedMs = exam.clock.now();
  const [here, there] = [stream.own.end.name, peer.end.name];
  const got = await exam.attempt('lookup', clause, () =>
    getChunk(context, peer, stream, drawn.index, LOOKUP_PATIENCE_MS),
  );
  if (got === undefined) return false;
  if (!('chunk' in got)) {
    const error = statusError('get-key', got.status, there);
    exam.fail(
      'lookup',
      clause,
      `index ${drawn.index}, which ${here} gave out, is not there: ${error.message} (${error.code})`,
    );
    return false;
  }
  const { chunk } = got;
  if (chunk.index !== drawn.index) {
    chunk.secret.wipe();
    exam.fail('lookup', Clause.etsi004Index, `index ${drawn.index} was asked for, ${chunk.index} came`);
    return false;
  }
  const reference = `${drawn.index}`;
  const equal = comparison.compare(drawn.secret, chunk.secret, reference);
  if (isFirst) {
    exam.pass('lookup', clause, `the other side has the chunk at index ${drawn.index}`);
    exam.pass('delay', null, `it came ${msText(exam.clock.now() - startedMs)} after it was asked for`);
  }
  if (!equal) {
    exam.fail(
      'keys-equal',
      clause,
      `${here} and ${there} gave different keys at index ${drawn.index}: nothing can be protected with them; have both KMEs looked at`,
    );
  } else if (isFirst) exam.pass('keys-equal', clause, `${here} and ${there} gave the same key at index ${drawn.index}`);
  return true;
}

/** Leaves an index out: the one that comes is the one asked for, or the next one. Resolves with an index that is still unused; undefined if there is no sense in going on. */
async function examineIndex(
  context: ExamContext,
  stream: DoctorStream,
  peer: Etsi004Probe,
  lastIndex: number,
): Promise<number | undefined> {
  const { exam } = context;
  const clause = Clause.etsi004Index;
  const asked = lastIndex + INDEX_STEP;
  const got = await exam.attempt('index', clause, () =>
    getChunk(context, stream.own, stream, asked, LOOKUP_PATIENCE_MS),
  );
  if (got === undefined) return undefined;
  if (!('chunk' in got)) {
    const error = statusError('get-key', got.status, stream.own.end.name);
    exam.note(
      'index',
      clause,
      `index ${asked}, after ${lastIndex}, is refused: ${error.message} (indices are drawn in order here)`,
    );
    return lastIndex + 1;
  }
  const { chunk } = got;
  checkDistinct(context, chunk.secret, `at index ${chunk.index}`, Clause.etsi004GetKey);
  if (chunk.index === asked)
    exam.pass('index', clause, `the index asked for is the one returned (${asked}, after ${lastIndex})`);
  else {
    exam.note(
      'index',
      clause,
      `index ${asked} was asked for, ${chunk.index} came: it hands out chunks in its own order (survived: the index returned is the one that counts)`,
    );
  }
  const isThere = await lookUp(context, stream, peer, chunk, false);
  chunk.secret.wipe();
  if (!isThere) return undefined;
  return Math.max(asked, chunk.index) + 1;
}

/** With too little room for the metadata, status 8 and the size needed are due, and the key is kept. */
async function examineBuffer(context: ExamContext, stream: DoctorStream, index: number): Promise<void> {
  const { exam } = context;
  const { own } = stream;
  const clause = Clause.etsi004Metadata;
  const id = 'metadata-buffer';
  const small = await exam.attempt(id, clause, () => getChunk(context, own, stream, index, 0, 1));
  if (small === undefined) return;
  if ('chunk' in small) {
    const { metadata, secret } = small.chunk;
    secret.wipe();
    const sent = metadata.length > 1 ? `${metadata.length} bytes of metadata all the same` : 'without metadata';
    exam.note(id, clause, `with room for 1 byte of metadata the key comes, ${sent}; status 8 was due (survived)`);
    return;
  }
  if (small.status !== Etsi004Status.metadataTooSmall) {
    const error = statusError('get-key', small.status, own.end.name);
    exam.note(id, clause, `with room for 1 byte of metadata: ${error.message}; status 8 was due`);
    return;
  }
  const { metadataSizeNeeded = 0 } = small;
  const room = Math.max(METADATA_BUFFER_BYTES, metadataSizeNeeded);
  const again = await exam.attempt(id, clause, () => getChunk(context, own, stream, index, 0, room));
  if (again === undefined) return;
  if ('chunk' in again) {
    again.chunk.secret.wipe();
    exam.pass(id, clause, `with too little room: status 8, ${metadataSizeNeeded} bytes needed, and the key is kept`);
    return;
  }
  exam.note(id, clause, `status 8 for too little room has spent the key: status ${again.status} when asked again`);
}

function judgeMetadata(context: ExamContext, { qos }: DoctorStream, metadata: Uint8Array): void {
  const { exam } = context;
  if (qos.metadataMimetype === '') {
    exam.note(
      'metadata',
      Clause.etsi004Metadata,
      'application/json was asked for, and none is granted, though each KME must',
    );
    checkProvenance(exam, {}, Clause.etsi004Metadata);
    return;
  }
  const { provenance, deviations, problem } = readMetadata(metadata);
  if (problem !== undefined) exam.fail('metadata', Clause.etsi004Metadata, problem);
  else if (deviations.length > 0) exam.note('metadata', Clause.etsi004Metadata, deviations.join('; '));
  else exam.pass('metadata', Clause.etsi004Metadata, 'JSON with what the standard has in it');
  checkProvenance(exam, provenance, Clause.etsi004Metadata);
}

/** GET_KEY, asked again while the peer or the key is not there yet, up to `patienceMs`. */
async function getChunk(
  { exam }: ExamContext,
  probe: Etsi004Probe,
  { ksid }: DoctorStream,
  index: number,
  patienceMs: number,
  metadataSize = METADATA_BUFFER_BYTES,
): Promise<Got> {
  const startedMs = exam.clock.now();
  for (let attempt = 1; ; attempt++) {
    const { response, ms, wipe } = await probe.call({ service: 'get-key', ksid, index, metadataSize });
    const got = chunkOf(response, ms);
    wipe();
    if ('chunk' in got || !NOT_YET.has(got.status) || exam.clock.now() - startedMs >= patienceMs) return got;
    await exam.pause(retryPauseMs(attempt));
  }
}

/** After its own Timeout (status 6) a KME has waited enough. */
const NOT_YET: ReadonlySet<number> = new Set([Etsi004Status.insufficientKey, Etsi004Status.getKeyPeerNotConnected]);

function chunkOf({ status, delivery, metadataSizeNeeded }: Etsi004GetKeyResponse, ms: number): Got {
  if (delivery === undefined) return { status, ...(metadataSizeNeeded === undefined ? {} : { metadataSizeNeeded }) };
  const { index, key, metadata } = delivery;
  return { chunk: { index, secret: SecretBytes.copyOf(key), metadata: Uint8Array.from(metadata), ms } };
}
