/**
 * Extension blocks: framing, the rules that hold for all of them, and the
 * generic step from raw extensions to a message's typed fields.
 */
import { Alert } from '../alert.ts';
import { type ByteReader, type ByteWriter, DecodeError, decodeWhole } from '../bytes/index.ts';
import { TlsError, TlsErrorCode } from '../tls-error.ts';
import { type ExtensionMessage, ExtensionType, extensionAllowedIn, extensionName } from './extension-type.ts';
import { MAX_EXTENSIONS } from './limits.ts';

/** An extension as it stands on the wire; `data` may be a view of the message. */
export interface Extension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Code points that a deployment may choose. */
export interface ExtensionCodePoints {
  readonly qkdPsk: number;
}

export const defaultCodePoints: ExtensionCodePoints = { qkdPsk: ExtensionType.qkdPsk };

/**
 * How one extension is written and read in one message. `decode` may return
 * `undefined`: this form of the extension is not for us, keep it as an opaque one.
 */
export interface ExtensionCodec<T> {
  readonly type: ExtensionType;
  decode(reader: ByteReader): T | undefined;
  encode(writer: ByteWriter, value: T): void;
}

/** One codec for each typed field of a message's extensions; encoded in this order. */
export type ExtensionCodecs<T> = { readonly [K in keyof T]-?: ExtensionCodec<NonNullable<T[K]>> };

/** Typed fields, and the extensions that have none, in their order. A field that is `undefined` is absent. */
export type Extensions<T> = T & { readonly opaque?: readonly Extension[] | undefined };

/** `Extension extensions<0..2^16-1>`: duplicates and too many of them are rejected. Views of the input. */
export function decodeExtensionList(reader: ByteReader): Extension[] {
  const extensions: Extension[] = [];
  const seen = new Set<number>();
  decodeWhole(reader.vector(2), (list) => {
    while (list.remaining > 0) {
      const type = list.u16();
      const data = list.vector(2);
      if (seen.has(type)) throw illegalParameter(`${extensionName(type)} stands twice in a message`);
      if (extensions.length === MAX_EXTENSIONS) throw new DecodeError(`more than ${MAX_EXTENSIONS} extensions`);
      seen.add(type);
      extensions.push({ type, data });
    }
  });
  return extensions;
}

/** Sorts raw extensions into a message's typed fields; checks each against the table of messages. */
export function decodeExtensions<T extends object>(
  list: readonly Extension[],
  message: ExtensionMessage,
  codecs: ExtensionCodecs<T>,
  codePoints: ExtensionCodePoints,
): Extensions<T> {
  const typed: Record<string, unknown> = {};
  const opaque: Extension[] = [];
  for (const extension of list) {
    const type = fromWire(extension.type, codePoints);
    if (type !== undefined && !extensionAllowedIn(type, message)) {
      throw illegalParameter(`${extensionName(type)} may not stand in this message (${message})`);
    }
    const entry = type === undefined ? undefined : findCodec(codecs, type);
    const value = entry && decodeBody(extension.data, entry.codec);
    if (entry === undefined || value === undefined) opaque.push(extension);
    else typed[entry.field] = value;
  }
  if (opaque.length > 0) typed.opaque = opaque;
  return typed as Extensions<T>;
}

/** `Extension extensions<0..2^16-1>`: opaque ones first, then the typed ones in the codecs' order. */
export function encodeExtensions<T extends object>(
  writer: ByteWriter,
  extensions: Extensions<T>,
  codecs: ExtensionCodecs<T>,
  codePoints: ExtensionCodePoints,
): void {
  writer.vector(2, () => {
    for (const { type, data } of extensions.opaque ?? []) writer.u16(type).vector(2, data);
    for (const field of Object.keys(codecs) as (keyof T)[]) {
      const value = extensions[field];
      if (value === undefined || value === null) continue;
      const codec = codecs[field];
      writer.u16(toWire(codec.type, codePoints)).vector(2, () => codec.encode(writer, value));
    }
  });
}

/** Wire types of what `encodeExtensions` writes. */
export function extensionTypesOf<T extends object>(
  extensions: Extensions<T>,
  codecs: ExtensionCodecs<T>,
  codePoints: ExtensionCodePoints,
): number[] {
  const fields = (Object.keys(codecs) as (keyof T)[]).filter((field) => extensions[field] !== undefined);
  return [
    ...(extensions.opaque ?? []).map(({ type }) => type),
    ...fields.map((field) => toWire(codecs[field].type, codePoints)),
  ];
}

/** An extension without a body, which is present (`true`) or absent. */
export function flag(type: ExtensionType): ExtensionCodec<true> {
  return { type, decode: () => true, encode: () => {} };
}

export function illegalParameter(message: string): TlsError {
  return new TlsError(TlsErrorCode.illegalParameter, Alert.illegalParameter, message);
}

export function protocolVersion(message: string): TlsError {
  return new TlsError(TlsErrorCode.protocolVersion, Alert.protocolVersion, message);
}

function decodeBody<T>(data: Uint8Array, codec: ExtensionCodec<T>): T | undefined {
  return decodeWhole(data, (reader) => {
    const value = codec.decode(reader);
    if (value === undefined) reader.rest();
    return value;
  });
}

const indexes = new WeakMap<object, ReadonlyMap<number, { field: string; codec: ExtensionCodec<unknown> }>>();

function findCodec<T extends object>(codecs: ExtensionCodecs<T>, type: number) {
  let index = indexes.get(codecs);
  if (index === undefined) {
    const entries = Object.entries(codecs) as [string, ExtensionCodec<unknown>][];
    index = new Map(entries.map(([field, codec]) => [codec.type, { field, codec }]));
    indexes.set(codecs, index);
  }
  return index.get(type);
}

/** The code point by which the tables know a wire type; `undefined` = unknown to us. */
function fromWire(wireType: number, { qkdPsk }: ExtensionCodePoints): number | undefined {
  if (wireType === qkdPsk) return ExtensionType.qkdPsk;
  return wireType === ExtensionType.qkdPsk ? undefined : wireType;
}

function toWire(type: ExtensionType, { qkdPsk }: ExtensionCodePoints): number {
  return type === ExtensionType.qkdPsk ? qkdPsk : type;
}

/** A list of 16-bit code points behind a length, at least one and at most `maxEntries`. */
export function decodeCodePoints(reader: ByteReader, prefixBytes: 1 | 2, maxEntries: number): number[] {
  return decodeWhole(reader.vector(prefixBytes, 2), (list) => {
    if (list.remaining > 2 * maxEntries) throw new DecodeError(`more than ${maxEntries} entries in a list`);
    const values: number[] = [];
    while (list.remaining > 0) values.push(list.u16());
    return values;
  });
}

export function encodeCodePoints(writer: ByteWriter, prefixBytes: 1 | 2, values: readonly number[]): void {
  writer.vector(prefixBytes, () => {
    for (const value of values) writer.u16(value);
  });
}
