/**
 * Messages of ETSI GS QKD 004 V2.1.1 (2020-08), clause 6, in the two binary
 * layouts met in the field. The standard fixes no wire format: `etsi` is the
 * layout of ETSI's own C implementation, `qubip` that of the QUBIP project's
 * server. All integers are big-endian; a Key_stream_ID is 16 raw bytes.
 *
 * Pure functions of bytes, for client and key manager alike. Malformed input
 * throws `DecodeError`; values that can't be encoded throw `RangeError`.
 * Framing (the header before each message) is in `etsi004-framing.ts`.
 */
import {
  type ByteReader,
  type ByteWriter,
  DecodeError,
  decodeWhole,
  encode,
  fromUtf8,
  utf8,
} from '../../tls-ext/bytes/index.ts';

/** Which binary layout is spoken: configured at a client, read from the version bytes at a server. */
export type Etsi004Dialect = 'etsi' | 'qubip';

/** Status of a reply (GS QKD 004, clause 6.1). */
export const Etsi004Status = {
  success: 0,
  /** OPEN_CONNECT: connected, the peer application not yet. The stream is usable. */
  peerNotConnected: 1,
  /** GET_KEY: not enough key. */
  insufficientKey: 2,
  /** GET_KEY: the peer application has not yet connected. */
  getKeyPeerNotConnected: 3,
  noQkdConnection: 4,
  /** OPEN_CONNECT: the Key_stream_ID is already in use. */
  ksidInUse: 5,
  timeout: 6,
  /** OPEN_CONNECT: the QoS can't be met; the reply holds a counter-proposal. */
  qosNotMet: 7,
  /** GET_KEY: the metadata buffer is too small; the key was not consumed. */
  metadataTooSmall: 8,
} as const;
export type Etsi004Status = (typeof Etsi004Status)[keyof typeof Etsi004Status];

/** Whether `status` is one that the standard defines. */
export function isEtsi004Status(status: number): status is Etsi004Status {
  return Number.isInteger(status) && status >= 0 && status <= 8;
}

/** Service bytes of the header. */
export const Etsi004Service = {
  openConnectRequest: 0x02,
  openConnectResponse: 0x03,
  getKeyRequest: 0x04,
  getKeyResponse: 0x05,
  closeRequest: 0x08,
  closeResponse: 0x09,
} as const;
export type Etsi004Service = (typeof Etsi004Service)[keyof typeof Etsi004Service];

/** Length of a Key_stream_ID (UUID version 4). */
export const KSID_BYTES = 16;
/** Longest Source or Destination accepted. The standard sets no bound; tokens may be embedded. */
export const MAX_URI_BYTES = 2048;
/** Size of the QoS field Metadata_mimetype, its terminating NUL included. */
export const MIMETYPE_FIELD_BYTES = 256;
/** Largest metadata buffer that is asked for or answered. */
export const MAX_METADATA_BYTES = 0x1_0000;
/** Largest key chunk in one GET_KEY reply. */
export const MAX_KEY_CHUNK_BYTES = 0x10_0000;
/** Longest payload of a request. */
export const MAX_REQUEST_PAYLOAD_BYTES =
  Math.max(2 * (MAX_URI_BYTES + 1) + 28 + MIMETYPE_FIELD_BYTES, 8 + MAX_METADATA_BYTES) + KSID_BYTES;
/** Longest payload of a reply. */
export const MAX_RESPONSE_PAYLOAD_BYTES = 16 + MAX_KEY_CHUNK_BYTES + MAX_METADATA_BYTES;

/** The mimetype that every key manager must take (clause 6.2). */
export const METADATA_JSON = 'application/json';

/** QoS of a key stream (clause 6.2, table 3). Each number is an unsigned 32-bit integer. */
export interface Etsi004Qos {
  readonly keyChunkSizeBytes: number;
  readonly maxBps: number;
  readonly minBps: number;
  readonly jitterBps: number;
  readonly priority: number;
  /** Of every call on the stream. */
  readonly timeoutMs: number;
  /** Unused keys are erased after it. */
  readonly ttlSeconds: number;
  /** Empty: no metadata wanted. At most 255 bytes of UTF-8 without NUL. */
  readonly metadataMimetype: string;
}

export interface Etsi004OpenConnectRequest {
  readonly service: 'open-connect';
  readonly source: string;
  readonly destination: string;
  readonly qos: Etsi004Qos;
  /** 16 bytes; all zero asks the key manager to allocate one. */
  readonly ksid: Uint8Array;
}
export interface Etsi004GetKeyRequest {
  readonly service: 'get-key';
  readonly ksid: Uint8Array;
  readonly index: number;
  /** Room for metadata, in bytes; 0 = none wanted. */
  readonly metadataSize: number;
}
export interface Etsi004CloseRequest {
  readonly service: 'close';
  readonly ksid: Uint8Array;
}
export type Etsi004Request = Etsi004OpenConnectRequest | Etsi004GetKeyRequest | Etsi004CloseRequest;

export interface Etsi004OpenConnectResponse {
  readonly service: 'open-connect';
  /** As received; may be a number that the standard doesn't define. */
  readonly status: number;
  /** Absent in a short error reply, together with `ksid`. */
  readonly stream?: { readonly qos: Etsi004Qos; readonly ksid: Uint8Array };
}
export interface Etsi004GetKeyResponse {
  readonly service: 'get-key';
  readonly status: number;
  /** Absent in an error reply. A decoded `key` is a view of the payload: copy it, then wipe the payload. */
  readonly delivery?: { readonly index: number; readonly key: Uint8Array; readonly metadata: Uint8Array };
  /** Status 8 only: the size of metadata buffer that would do. */
  readonly metadataSizeNeeded?: number;
}
export interface Etsi004CloseResponse {
  readonly service: 'close';
  readonly status: number;
}
export type Etsi004Response = Etsi004OpenConnectResponse | Etsi004GetKeyResponse | Etsi004CloseResponse;

/** Whether a Key_stream_ID is NULL, which in a request asks for a new one. */
export function isNullKsid(ksid: Uint8Array): boolean {
  return ksid.every((byte) => byte === 0);
}

/** The service byte of a request. */
export function serviceOfRequest(request: Etsi004Request): Etsi004Service {
  switch (request.service) {
    case 'open-connect':
      return Etsi004Service.openConnectRequest;
    case 'get-key':
      return Etsi004Service.getKeyRequest;
    case 'close':
      return Etsi004Service.closeRequest;
  }
}

/** The service byte of a reply. */
export function serviceOfResponse(response: Etsi004Response): Etsi004Service {
  switch (response.service) {
    case 'open-connect':
      return Etsi004Service.openConnectResponse;
    case 'get-key':
      return Etsi004Service.getKeyResponse;
    case 'close':
      return Etsi004Service.closeResponse;
  }
}

/** Payload of a request, without the header. */
export function encodeRequestPayload(dialect: Etsi004Dialect, request: Etsi004Request): Uint8Array {
  return encode((writer) => {
    switch (request.service) {
      case 'open-connect':
        writeCString(writer, request.source, MAX_URI_BYTES, 'source');
        writeCString(writer, request.destination, MAX_URI_BYTES, 'destination');
        writeQos(writer, dialect, request.qos);
        writeKsid(writer, request.ksid);
        return;
      case 'get-key':
        if (request.metadataSize > MAX_METADATA_BYTES) throw new RangeError(`metadataSize above ${MAX_METADATA_BYTES}`);
        writeKsid(writer, request.ksid);
        writer.u32(request.index).u32(request.metadataSize);
        // The C implementation sends its whole buffer, which is still empty, along.
        if (dialect === 'etsi') writer.bytes(new Uint8Array(request.metadataSize));
        return;
      case 'close':
        writeKsid(writer, request.ksid);
        return;
    }
  });
}

/** A request from its service byte and payload. Decoded byte arrays are views of `payload`. */
export function decodeRequestPayload(dialect: Etsi004Dialect, service: number, payload: Uint8Array): Etsi004Request {
  return decodeWhole(payload, (reader) => {
    switch (service) {
      case Etsi004Service.openConnectRequest:
        return {
          service: 'open-connect',
          source: readCString(reader, MAX_URI_BYTES, 'source'),
          destination: readCString(reader, MAX_URI_BYTES, 'destination'),
          qos: readQos(reader, dialect),
          ksid: reader.bytes(KSID_BYTES),
        };
      case Etsi004Service.getKeyRequest: {
        const ksid = reader.bytes(KSID_BYTES);
        const index = reader.u32();
        const metadataSize = reader.u32();
        if (metadataSize > MAX_METADATA_BYTES) throw new DecodeError(`metadata buffer of ${metadataSize} bytes`);
        // Clients of the `etsi` code base talk to `qubip` servers with the buffer on the wire.
        if (dialect === 'etsi' || reader.remaining > 0) reader.bytes(metadataSize);
        return { service: 'get-key', ksid, index, metadataSize };
      }
      case Etsi004Service.closeRequest:
        return { service: 'close', ksid: reader.bytes(KSID_BYTES) };
      default:
        throw new DecodeError(`service 0x${service.toString(16)} is no request`);
    }
  });
}

/**
 * Payload of a reply, without the header. An error reply without its optional
 * part is full-size in dialect `etsi` and the status alone in `qubip` (there
 * status 8 adds the size needed).
 */
export function encodeResponsePayload(dialect: Etsi004Dialect, response: Etsi004Response): Uint8Array {
  return encode((writer) => {
    writer.u32(response.status);
    switch (response.service) {
      case 'open-connect':
        if (response.stream !== undefined) {
          writeQos(writer, dialect, response.stream.qos);
          writeKsid(writer, response.stream.ksid);
        } else if (dialect === 'etsi') {
          writeQos(writer, dialect, ZERO_QOS);
          writeKsid(writer, new Uint8Array(KSID_BYTES));
        }
        return;
      case 'get-key':
        if (response.delivery !== undefined) {
          const { index, key, metadata } = response.delivery;
          writer.u32(index).u32(key.length).bytes(key).u32(metadata.length).bytes(metadata);
        } else if (dialect === 'etsi') {
          writer
            .u32(0)
            .u32(0)
            .u32(response.metadataSizeNeeded ?? 0);
        } else if (response.metadataSizeNeeded !== undefined) {
          writer.u32(response.metadataSizeNeeded);
        }
        return;
      case 'close':
        return;
    }
  });
}

/** A reply from its service byte and payload. Short error replies are accepted in either dialect. */
export function decodeResponsePayload(dialect: Etsi004Dialect, service: number, payload: Uint8Array): Etsi004Response {
  return decodeWhole(payload, (reader) => {
    const status = reader.u32();
    switch (service) {
      case Etsi004Service.openConnectResponse:
        return decodeOpenConnectResponse(reader, dialect, status);
      case Etsi004Service.getKeyResponse:
        return decodeGetKeyResponse(reader, status);
      case Etsi004Service.closeResponse:
        return { service: 'close', status };
      default:
        throw new DecodeError(`service 0x${service.toString(16)} is no reply`);
    }
  });
}

function decodeOpenConnectResponse(
  reader: ByteReader,
  dialect: Etsi004Dialect,
  status: number,
): Etsi004OpenConnectResponse {
  if (reader.remaining === 0) {
    if (status === Etsi004Status.success || status === Etsi004Status.peerNotConnected) {
      throw new DecodeError(`OPEN_CONNECT reply with status ${status} without QoS and Key_stream_ID`);
    }
    return { service: 'open-connect', status };
  }
  return {
    service: 'open-connect',
    status,
    stream: { qos: readQos(reader, dialect), ksid: reader.bytes(KSID_BYTES) },
  };
}

function decodeGetKeyResponse(reader: ByteReader, status: number): Etsi004GetKeyResponse {
  if (status === Etsi004Status.success) {
    const index = reader.u32();
    const keyLength = bounded(reader.u32(), MAX_KEY_CHUNK_BYTES, 'key');
    const key = reader.bytes(keyLength);
    const metadataLength = bounded(reader.u32(), MAX_METADATA_BYTES, 'metadata');
    return { service: 'get-key', status, delivery: { index, key, metadata: reader.bytes(metadataLength) } };
  }
  // Error replies: the status alone, with status 8 the size needed, or the full form.
  let metadataSizeNeeded: number | undefined;
  if (reader.remaining === 4) {
    metadataSizeNeeded = reader.u32();
  } else if (reader.remaining > 0) {
    reader.u32();
    reader.bytes(bounded(reader.u32(), MAX_KEY_CHUNK_BYTES, 'key'));
    metadataSizeNeeded = reader.u32();
    // Some send the buffer, some only the size that it ought to have.
    if (reader.remaining > 0) reader.bytes(metadataSizeNeeded);
  }
  return status === Etsi004Status.metadataTooSmall && metadataSizeNeeded !== undefined
    ? { service: 'get-key', status, metadataSizeNeeded }
    : { service: 'get-key', status };
}

const ZERO_QOS: Etsi004Qos = {
  keyChunkSizeBytes: 0,
  maxBps: 0,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 0,
  ttlSeconds: 0,
  metadataMimetype: '',
};

function writeQos(writer: ByteWriter, dialect: Etsi004Dialect, qos: Etsi004Qos): void {
  writer
    .u32(qos.keyChunkSizeBytes)
    .u32(qos.maxBps)
    .u32(qos.minBps)
    .u32(qos.jitterBps)
    .u32(qos.priority)
    .u32(qos.timeoutMs)
    .u32(qos.ttlSeconds);
  const start = writer.length;
  writeCString(writer, qos.metadataMimetype, MIMETYPE_FIELD_BYTES - 1, 'metadataMimetype');
  if (dialect === 'qubip') writer.bytes(new Uint8Array(MIMETYPE_FIELD_BYTES - (writer.length - start)));
}

function readQos(reader: ByteReader, dialect: Etsi004Dialect): Etsi004Qos {
  return {
    keyChunkSizeBytes: reader.u32(),
    maxBps: reader.u32(),
    minBps: reader.u32(),
    jitterBps: reader.u32(),
    priority: reader.u32(),
    timeoutMs: reader.u32(),
    ttlSeconds: reader.u32(),
    metadataMimetype:
      dialect === 'etsi'
        ? readCString(reader, MIMETYPE_FIELD_BYTES - 1, 'mimetype')
        : textUntilNul(reader.bytes(MIMETYPE_FIELD_BYTES), 'mimetype'),
  };
}

function writeKsid(writer: ByteWriter, ksid: Uint8Array): void {
  if (ksid.length !== KSID_BYTES) throw new RangeError(`a Key_stream_ID has ${KSID_BYTES} bytes, not ${ksid.length}`);
  writer.bytes(ksid);
}

function writeCString(writer: ByteWriter, text: string, maxBytes: number, field: string): void {
  const bytes = utf8(text);
  if (bytes.length > maxBytes) throw new RangeError(`${field} is longer than ${maxBytes} bytes`);
  if (bytes.includes(0)) throw new RangeError(`${field} contains a NUL`);
  writer.bytes(bytes).u8(0);
}

function readCString(reader: ByteReader, maxBytes: number, field: string): string {
  const bytes: number[] = [];
  for (let byte = reader.u8(); byte !== 0; byte = reader.u8()) {
    if (bytes.push(byte) > maxBytes) throw new DecodeError(`${field} is longer than ${maxBytes} bytes`);
  }
  return text(Uint8Array.from(bytes), field);
}

function textUntilNul(bytes: Uint8Array, field: string): string {
  const end = bytes.indexOf(0);
  if (end < 0) throw new DecodeError(`${field} is not terminated`);
  return text(bytes.subarray(0, end), field);
}

function text(bytes: Uint8Array, field: string): string {
  try {
    return fromUtf8(bytes);
  } catch {
    throw new DecodeError(`${field} is not UTF-8`);
  }
}

function bounded(length: number, max: number, field: string): number {
  if (length > max) throw new DecodeError(`${field} of ${length} bytes, at most ${max} allowed`);
  return length;
}
