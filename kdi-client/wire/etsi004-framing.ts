/**
 * Framing of the binary 004 dialects: before each message 3 version bytes, a
 * service byte and the payload's length as u32. The version bytes tell the
 * dialect.
 */
import { DecodeError, encode } from '../../tls-ext/bytes/index.ts';
import {
  decodeRequestPayload,
  decodeResponsePayload,
  type Etsi004Dialect,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Service,
  encodeRequestPayload,
  encodeResponsePayload,
  MAX_REQUEST_PAYLOAD_BYTES,
  MAX_RESPONSE_PAYLOAD_BYTES,
  serviceOfRequest,
  serviceOfResponse,
} from './etsi004.ts';

/** Length of the header before each message. */
export const ETSI004_HEADER_BYTES = 8;

const VERSION_BYTES: Readonly<Record<Etsi004Dialect, readonly [number, number, number]>> = {
  etsi: [2, 1, 1],
  qubip: [1, 0, 1],
};

const REQUEST_SERVICES: ReadonlySet<number> = new Set([
  Etsi004Service.openConnectRequest,
  Etsi004Service.getKeyRequest,
  Etsi004Service.closeRequest,
]);
const RESPONSE_SERVICES: ReadonlySet<number> = new Set([
  Etsi004Service.openConnectResponse,
  Etsi004Service.getKeyResponse,
  Etsi004Service.closeResponse,
]);

/** A message as cut out of the stream; the receiver owns `payload`, which may hold key. */
export interface Etsi004Frame {
  readonly dialect: Etsi004Dialect;
  readonly service: number;
  readonly payload: Uint8Array;
}

/** A whole request: header and payload. */
export function encodeRequest(dialect: Etsi004Dialect, request: Etsi004Request): Uint8Array {
  return frame(dialect, serviceOfRequest(request), encodeRequestPayload(dialect, request));
}

/** A whole reply: header and payload. May hold key: wipe it once sent. */
export function encodeResponse(dialect: Etsi004Dialect, response: Etsi004Response): Uint8Array {
  const payload = encodeResponsePayload(dialect, response);
  const whole = frame(dialect, serviceOfResponse(response), payload);
  payload.fill(0);
  return whole;
}

/** The request in a frame. Its byte arrays are views of the frame's payload. */
export function decodeRequest(frame: Etsi004Frame): Etsi004Request {
  return decodeRequestPayload(frame.dialect, frame.service, frame.payload);
}

/** The reply in a frame. Its byte arrays are views of the frame's payload. */
export function decodeResponse(frame: Etsi004Frame): Etsi004Response {
  return decodeResponsePayload(frame.dialect, frame.service, frame.payload);
}

function frame(dialect: Etsi004Dialect, service: number, payload: Uint8Array): Uint8Array {
  return encode((writer) => {
    for (const byte of VERSION_BYTES[dialect]) writer.u8(byte);
    writer.u8(service).u32(payload.length).bytes(payload);
  });
}

function dialectOfVersion(header: Uint8Array): Etsi004Dialect | undefined {
  if (header[0] === 2 && header[1] === 1 && header[2] === 1) return 'etsi';
  if (header[0] === 1 && header[1] === 0 && header[2] === 1) return 'qubip';
  return undefined;
}

/**
 * Cuts a byte stream, arriving in pieces of any size, into frames. Bounded: a
 * header with an unknown version, a service of the wrong direction or a length
 * above the bound throws `DecodeError` before any payload is kept. After a
 * throw the splitter is finished: every later `push` throws too.
 */
export class Etsi004Splitter {
  readonly #services: ReadonlySet<number>;
  readonly #maxPayloadBytes: number;
  readonly #header = new Uint8Array(ETSI004_HEADER_BYTES);
  #headerLength = 0;
  #current: { dialect: Etsi004Dialect; service: number; payload: Uint8Array; filled: number } | undefined;
  #failed = false;

  /** `expects`: which direction is read here. `maxPayloadBytes` defaults to the bound of that direction. */
  constructor(
    expects: 'requests' | 'responses',
    maxPayloadBytes = expects === 'requests' ? MAX_REQUEST_PAYLOAD_BYTES : MAX_RESPONSE_PAYLOAD_BYTES,
  ) {
    this.#services = expects === 'requests' ? REQUEST_SERVICES : RESPONSE_SERVICES;
    this.#maxPayloadBytes = maxPayloadBytes;
  }

  /** Whether the stream stands between two messages, so that its end is no truncation. */
  get atBoundary(): boolean {
    return this.#headerLength === 0;
  }

  /** The frames that `bytes` completes, in order. */
  push(bytes: Uint8Array): Etsi004Frame[] {
    if (this.#failed) throw new DecodeError('the stream was already found malformed');
    const frames: Etsi004Frame[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#current === undefined) {
        const taken = Math.min(ETSI004_HEADER_BYTES - this.#headerLength, bytes.length - at);
        this.#header.set(bytes.subarray(at, at + taken), this.#headerLength);
        this.#headerLength += taken;
        at += taken;
        if (this.#headerLength < ETSI004_HEADER_BYTES) break;
        this.#current = this.#startFrame();
      }
      const current = this.#current;
      const taken = Math.min(current.payload.length - current.filled, bytes.length - at);
      current.payload.set(bytes.subarray(at, at + taken), current.filled);
      current.filled += taken;
      at += taken;
      if (current.filled < current.payload.length) break;
      frames.push({ dialect: current.dialect, service: current.service, payload: current.payload });
      this.#current = undefined;
      this.#headerLength = 0;
    }
    return frames;
  }

  /** Wipes a half-received payload. */
  wipe(): void {
    this.#current?.payload.fill(0);
    this.#failed = true;
  }

  #startFrame(): { dialect: Etsi004Dialect; service: number; payload: Uint8Array; filled: number } {
    const [, , , service = 0, a = 0, b = 0, c = 0, d = 0] = this.#header;
    const dialect = dialectOfVersion(this.#header);
    const length = a * 0x100_0000 + b * 0x1_0000 + c * 0x100 + d;
    if (dialect === undefined) return this.#fail(`version bytes ${[...this.#header.subarray(0, 3)].join('.')}`);
    if (!this.#services.has(service)) return this.#fail(`service 0x${service.toString(16)} not expected here`);
    if (length > this.#maxPayloadBytes) {
      return this.#fail(`payload of ${length} bytes, at most ${this.#maxPayloadBytes} allowed`);
    }
    return { dialect, service, payload: new Uint8Array(length), filled: 0 };
  }

  #fail(message: string): never {
    this.#failed = true;
    throw new DecodeError(message);
  }
}
