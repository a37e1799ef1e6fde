/** Encoding and decoding of the messages that messages.ts specifies. */
import { type ByteReader, type ByteWriter, DecodeError, decodeWhole, encode, fromUtf8, utf8 } from '../bytes/index.ts';
import { type CodeTable, codeTable } from '../messages/code-table.ts';
import { decodeQkdKeyReference, encodeQkdKeyReference } from '../messages/key-reference.ts';
import { KeyChannelError, KeyChannelErrorCode } from './errors.ts';
import {
  CHECK_BYTES,
  INSTANCE_BYTES,
  KSID_BYTES,
  MAX_DROPPED_PER_MESSAGE,
  MAX_KEY_TTL_SECONDS,
  MAX_KEYS_PER_BATCH,
  MAX_MESSAGE_BYTES,
  MAX_MIMETYPE_BYTES,
  MAX_NAME_BYTES,
  MAX_QUOTA,
  MAX_SERVICES,
  MAX_STATE_REASONS,
  PROTOCOL_VERSION,
  QKD_KEY_BYTES,
} from './limits.ts';
import {
  type AbortReason,
  type CloseReason,
  type DropReason,
  type KeyChannelMessage,
  type KeyResult,
  MessageType,
} from './messages.ts';
import {
  type KeyStreamQos,
  type ServicePolicy,
  type ServiceRequirement,
  type StateReason,
  StreamFailure,
} from './types.ts';

const policies = codeTable<ServicePolicy>({ 'qkd-and-pqc': 1, qkd: 2, pqc: 3, 'qkd-or-pqc': 4 });
const stateReasons = codeTable<StateReason>({
  kme_unreachable: 1,
  kme_error: 2,
  no_key: 3,
  stream_opening: 4,
  key_mismatch: 5,
  budget: 6,
  draining: 7,
});
const abortReasons = codeTable<AbortReason>({
  decode_error: 1,
  version: 2,
  unknown_message: 3,
  unexpected_message: 4,
  wrong_drawer: 5,
  duplicate_reference: 6,
  unknown_batch: 7,
  limit: 8,
  self_connection: 9,
});
const streamFailures = codeTable<StreamFailure>({
  kme_unreachable: 1,
  no_qkd_connection: 2,
  ksid_in_use: 3,
  qos_not_met: 4,
  lost: 5,
  limit: 6,
  other: 7,
});
const dropReasons = codeTable<DropReason>({ unused: 1, mismatch: 2 });
const closeReasons = codeTable<CloseReason>({ finished: 1, mismatch: 2 });
const keyStatuses = codeTable<KeyResult['status']>({
  acked: 1,
  pending: 2,
  mismatch: 3,
  unavailable: 4,
  over_quota: 5,
});

const typeCodes = codeTable<KeyChannelMessage['type']>({
  hello: MessageType.hello,
  state: MessageType.state,
  abort: MessageType.abort,
  stream: MessageType.stream,
  keys: MessageType.keys,
  dropped: MessageType.dropped,
  close_stream: MessageType.closeStream,
  opened: MessageType.opened,
  failed: MessageType.failed,
  results: MessageType.results,
});

/** A whole message with its header. Throws `RangeError` on a field outside of its grammar: a bug of the caller. */
export function encodeMessage(message: KeyChannelMessage): Uint8Array {
  return encode((writer) => {
    writer.u8(typeCodes.code(message.type)).vector(3, () => encodeBody(writer, message));
    if (writer.length > 4 + MAX_MESSAGE_BYTES) throw new RangeError(`${message.type} of ${writer.length} bytes`);
  });
}

function encodeBody(writer: ByteWriter, message: KeyChannelMessage): void {
  switch (message.type) {
    case 'hello':
      writer.u16(PROTOCOL_VERSION).bytes(exactly(message.instance, INSTANCE_BYTES));
      writer.u32(within(message.quota, 1, MAX_QUOTA));
      within(message.services.length, 0, MAX_SERVICES);
      writer.vector(2, () => {
        for (const { service, require } of message.services) {
          writer.vector(1, within255(utf8(service), 1)).u8(policies.code(require));
        }
      });
      return;
    case 'state':
      within(message.reasons.length, 0, MAX_STATE_REASONS);
      writer.u8(message.kmeReachable ? 1 : 0).vector(1, within255(utf8(message.kmeName), 0));
      writer.u32(message.poolKeys).vector(1, () => {
        for (const reason of message.reasons) writer.u8(stateReasons.code(reason));
      });
      return;
    case 'abort':
      writer.u8(message.reason === undefined ? 0 : abortReasons.code(message.reason));
      return;
    case 'stream':
      writer.bytes(exactly(message.ksid, KSID_BYTES));
      encodeQos(writer, message.qos);
      return;
    case 'keys':
      within(message.keys.length, 1, MAX_KEYS_PER_BATCH);
      writer.u32(message.batch).u32(within(message.ttlSeconds, 1, MAX_KEY_TTL_SECONDS));
      writer.vector(3, () => {
        for (const { reference, check } of message.keys) {
          writer.vector(2, encodeQkdKeyReference(reference)).bytes(exactly(check, CHECK_BYTES));
        }
      });
      return;
    case 'dropped':
      within(message.references.length, 1, MAX_DROPPED_PER_MESSAGE);
      writer.u8(dropReasons.code(message.reason)).vector(3, () => {
        for (const reference of message.references) writer.vector(2, encodeQkdKeyReference(reference));
      });
      return;
    case 'close_stream':
      writer.bytes(exactly(message.ksid, KSID_BYTES)).u8(closeReasons.code(message.reason));
      return;
    case 'opened':
      writer.bytes(exactly(message.ksid, KSID_BYTES)).u32(within(message.keyChunkSizeBytes, QKD_KEY_BYTES, MAX_U32));
      return;
    case 'failed':
      writer.bytes(exactly(message.ksid, KSID_BYTES)).u8(streamFailures.code(message.reason));
      writer.u8(message.retrying ? 1 : 0);
      return;
    case 'results':
      within(message.results.length, 1, MAX_KEYS_PER_BATCH);
      writer.u32(message.batch).vector(3, () => {
        for (const result of message.results) {
          writer.u8(within(result.position, 0, MAX_KEYS_PER_BATCH - 1)).u8(keyStatuses.code(result.status));
          if (result.status === 'acked') writer.bytes(exactly(result.check, CHECK_BYTES));
        }
      });
  }
}

/**
 * The message of one type code and body, which it owns a copy of. Throws
 * `KeyChannelError` (`ERR_KEYCHANNEL_DECODE`, `_VERSION` or
 * `_UNKNOWN_MESSAGE`), and nothing else, on whatever is not one.
 */
export function decodeMessage(typeCode: number, body: Uint8Array): KeyChannelMessage {
  const type = typeCodes.name(typeCode);
  if (type === undefined) {
    throw new KeyChannelError(KeyChannelErrorCode.unknownMessage, `message of unknown type ${typeCode}`);
  }
  try {
    return decodeWhole(body, (reader) => decodeBody(type, reader));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new KeyChannelError(KeyChannelErrorCode.decode, `${type}: ${error.message}`, { cause: error });
  }
}

function decodeBody(type: KeyChannelMessage['type'], reader: ByteReader): KeyChannelMessage {
  switch (type) {
    case 'hello':
      expectVersion(reader.u16());
      return {
        type,
        instance: reader.bytes(INSTANCE_BYTES).slice(),
        quota: bounded(reader.u32(), 1, MAX_QUOTA),
        services: list(reader.vector(2), MAX_SERVICES, decodeService),
      };
    case 'state':
      return {
        type,
        kmeReachable: flag(reader),
        kmeName: text(reader.vector(1, 0, MAX_NAME_BYTES)),
        poolKeys: reader.u32(),
        reasons: [...reader.vector(1, 0, MAX_STATE_REASONS)].flatMap((code) => stateReasons.name(code) ?? []),
      };
    case 'abort': {
      const reason = abortReasons.name(reader.u8());
      return reason === undefined ? { type } : { type, reason };
    }
    case 'stream':
      return { type, ksid: reader.bytes(KSID_BYTES).slice(), qos: decodeQos(reader) };
    case 'keys':
      return {
        type,
        batch: reader.u32(),
        ttlSeconds: bounded(reader.u32(), 1, MAX_KEY_TTL_SECONDS),
        keys: atLeastOne(
          list(reader.vector(3), MAX_KEYS_PER_BATCH, (item) => ({
            reference: decodeQkdKeyReference(item.vector(2, 1)),
            check: item.bytes(CHECK_BYTES).slice(),
          })),
        ),
      };
    case 'dropped':
      return {
        type,
        reason: known(dropReasons, reader.u8()),
        references: atLeastOne(
          list(reader.vector(3), MAX_DROPPED_PER_MESSAGE, (item) => decodeQkdKeyReference(item.vector(2, 1))),
        ),
      };
    case 'close_stream':
      return { type, ksid: reader.bytes(KSID_BYTES).slice(), reason: known(closeReasons, reader.u8()) };
    case 'opened':
      return { type, ksid: reader.bytes(KSID_BYTES).slice(), keyChunkSizeBytes: chunkSize(reader.u32()) };
    case 'failed':
      return {
        type,
        ksid: reader.bytes(KSID_BYTES).slice(),
        reason: streamFailures.name(reader.u8()) ?? StreamFailure.other,
        retrying: flag(reader),
      };
    case 'results':
      return {
        type,
        batch: reader.u32(),
        results: atLeastOne(list(reader.vector(3), MAX_KEYS_PER_BATCH, decodeResult)),
      };
  }
}

function expectVersion(version: number): void {
  if (version === PROTOCOL_VERSION) return;
  throw new KeyChannelError(
    KeyChannelErrorCode.version,
    `the peer speaks version ${version} of the key channel, we speak ${PROTOCOL_VERSION}`,
  );
}

function decodeService(reader: ByteReader): ServiceRequirement {
  return { service: text(reader.vector(1, 1, MAX_NAME_BYTES)), require: known(policies, reader.u8()) };
}

function encodeQos(writer: ByteWriter, qos: KeyStreamQos): void {
  writer
    .u32(within(qos.keyChunkSizeBytes, QKD_KEY_BYTES, MAX_U32))
    .u32(qos.maxBps)
    .u32(qos.minBps)
    .u32(qos.jitterBps);
  writer.u32(qos.priority).u32(qos.timeoutMs).u32(qos.ttlSeconds);
  const mimetype = utf8(qos.metadataMimetype);
  if (mimetype.length > MAX_MIMETYPE_BYTES || !isPrintableAscii(mimetype)) throw new RangeError('metadata mimetype');
  writer.vector(1, mimetype);
}

function decodeQos(reader: ByteReader): KeyStreamQos {
  const qos = {
    keyChunkSizeBytes: chunkSize(reader.u32()),
    maxBps: reader.u32(),
    minBps: reader.u32(),
    jitterBps: reader.u32(),
    priority: reader.u32(),
    timeoutMs: reader.u32(),
    ttlSeconds: reader.u32(),
  };
  const mimetype = reader.vector(1, 0, MAX_MIMETYPE_BYTES);
  if (!isPrintableAscii(mimetype)) throw new DecodeError('metadata mimetype is not printable ASCII');
  return { ...qos, metadataMimetype: fromUtf8(mimetype) };
}

function decodeResult(reader: ByteReader): KeyResult {
  const position = bounded(reader.u8(), 0, MAX_KEYS_PER_BATCH - 1);
  const status = known(keyStatuses, reader.u8());
  return status === 'acked' ? { position, status, check: reader.bytes(CHECK_BYTES).slice() } : { position, status };
}

function list<T>(bytes: Uint8Array, maxItems: number, decode: (reader: ByteReader) => T): T[] {
  return decodeWhole(bytes, (reader) => {
    const items: T[] = [];
    while (reader.remaining > 0) {
      if (items.length === maxItems) throw new DecodeError(`more than ${maxItems} items`);
      items.push(decode(reader));
    }
    return items;
  });
}

function atLeastOne<T>(items: T[]): T[] {
  if (items.length === 0) throw new DecodeError('empty list');
  return items;
}

function known<Name extends string>(table: CodeTable<Name>, code: number): Name {
  const name = table.name(code);
  if (name === undefined) throw new DecodeError(`unknown code ${code}`);
  return name;
}

function flag(reader: ByteReader): boolean {
  return bounded(reader.u8(), 0, 1) === 1;
}

const MAX_U32 = 0xffff_ffff;

function chunkSize(bytes: number): number {
  return bounded(bytes, QKD_KEY_BYTES, MAX_U32);
}

function bounded(value: number, min: number, max: number): number {
  if (value < min || value > max) throw new DecodeError(`${value} is not within ${min} to ${max}`);
  return value;
}

function text(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    throw new DecodeError('text is not UTF-8');
  }
}

function isPrintableAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte >= 0x20 && byte <= 0x7e);
}

function within(value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${value} is not an integer of ${min} to ${max}`);
  }
  return value;
}

function within255(bytes: Uint8Array, min: number): Uint8Array {
  within(bytes.length, min, MAX_NAME_BYTES);
  return bytes;
}

function exactly(bytes: Uint8Array, length: number): Uint8Array {
  within(bytes.length, length, length);
  return bytes;
}
