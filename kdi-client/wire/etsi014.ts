/**
 * JSON messages of ETSI GS QKD 014 V1.1.1 (2019-02), clause 6, with the
 * standard's own field names. `parseX` reads what the other side sent and
 * throws `DecodeError`; unknown fields are ignored, as the standard demands.
 */
import { DecodeError, fromHex, hexOf } from '../../tls-ext/bytes/index.ts';
import { expectArray, expectCount, expectObject, expectString, type JsonObject, optional } from './json-fields.ts';

/** Longest SAE or KME ID. */
export const MAX_SAE_ID_CHARS = 256;
/** Most keys in one container. */
export const MAX_KEYS_PER_CONTAINER = 1024;
/** Longest key, in bytes. */
export const MAX_014_KEY_BYTES = 4096;
const MAX_MESSAGE_CHARS = 1024;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Status (clause 6.1). Sizes are in bits. */
export interface Etsi014Status {
  readonly source_KME_ID: string;
  readonly target_KME_ID: string;
  readonly master_SAE_ID: string;
  readonly slave_SAE_ID: string;
  readonly key_size: number;
  readonly stored_key_count: number;
  readonly max_key_count: number;
  readonly max_key_per_request: number;
  readonly max_key_size: number;
  readonly min_key_size: number;
  /** 0: no multicast. */
  readonly max_SAE_ID_count: number;
  readonly status_extension?: JsonObject;
}

/** Key request (clause 6.2). */
export interface Etsi014KeyRequest {
  readonly number?: number;
  /** In bits, a multiple of 8. */
  readonly size?: number;
  readonly additional_slave_SAE_IDs?: readonly string[];
  readonly extension_mandatory?: readonly JsonObject[];
  readonly extension_optional?: readonly JsonObject[];
}

export interface Etsi014Key {
  /** UUID. */
  readonly key_ID: string;
  readonly key_ID_extension?: JsonObject;
  /** Base64. */
  readonly key: string;
  readonly key_extension?: JsonObject;
}

/** Key container (clause 6.3). */
export interface Etsi014KeyContainer {
  readonly keys: readonly Etsi014Key[];
  readonly key_container_extension?: JsonObject;
}

/** Key IDs (clause 6.4). */
export interface Etsi014KeyIds {
  readonly key_IDs: readonly { readonly key_ID: string; readonly key_ID_extension?: JsonObject }[];
  readonly key_IDs_extension?: JsonObject;
}

/** Error (clause 6.5): the body of 400 and 503; 401 has none. */
export interface Etsi014Error {
  readonly message: string;
  readonly details?: readonly JsonObject[];
}

/** The messages that the standard fixes for status 400. */
export const Etsi014Message = {
  sizeNotMultipleOf8: 'size shall be a multiple of 8',
  mandatoryNotSupported: 'not all extension_mandatory parameters are supported',
  mandatoryNotMet: 'not all extension_mandatory request options could be met',
  optionalNotHandled: 'not all extension_optional request options handled',
  keysNotFound: 'one or more keys specified are not found on KME',
} as const;

export function parseEtsi014Status(value: unknown): Etsi014Status {
  const status = expectObject(value, 'status');
  const extension = optional(status.status_extension, (field) => expectObject(field, 'status_extension'));
  return {
    source_KME_ID: idOf(status, 'source_KME_ID'),
    target_KME_ID: idOf(status, 'target_KME_ID'),
    master_SAE_ID: idOf(status, 'master_SAE_ID'),
    slave_SAE_ID: idOf(status, 'slave_SAE_ID'),
    key_size: expectCount(status.key_size, 'key_size'),
    stored_key_count: expectCount(status.stored_key_count, 'stored_key_count'),
    max_key_count: expectCount(status.max_key_count, 'max_key_count'),
    max_key_per_request: expectCount(status.max_key_per_request, 'max_key_per_request'),
    max_key_size: expectCount(status.max_key_size, 'max_key_size'),
    min_key_size: expectCount(status.min_key_size, 'min_key_size'),
    max_SAE_ID_count: expectCount(status.max_SAE_ID_count, 'max_SAE_ID_count'),
    ...(extension === undefined ? {} : { status_extension: extension }),
  };
}

export function parseEtsi014KeyRequest(value: unknown): Etsi014KeyRequest {
  const request = expectObject(value, 'key request');
  const number = optional(request.number, (field) => expectCount(field, 'number'));
  const size = optional(request.size, (field) => expectCount(field, 'size'));
  const slaves = optional(request.additional_slave_SAE_IDs, (field) =>
    expectArray(field, 'additional_slave_SAE_IDs', 64).map((id) => expectString(id, 'SAE ID', MAX_SAE_ID_CHARS)),
  );
  const mandatory = optional(request.extension_mandatory, (field) => objects(field, 'extension_mandatory'));
  const optionals = optional(request.extension_optional, (field) => objects(field, 'extension_optional'));
  return {
    ...(number === undefined ? {} : { number }),
    ...(size === undefined ? {} : { size }),
    ...(slaves === undefined ? {} : { additional_slave_SAE_IDs: slaves }),
    ...(mandatory === undefined ? {} : { extension_mandatory: mandatory }),
    ...(optionals === undefined ? {} : { extension_optional: optionals }),
  };
}

export function parseEtsi014KeyContainer(value: unknown): Etsi014KeyContainer {
  const container = expectObject(value, 'key container');
  const keys = expectArray(container.keys, 'keys', MAX_KEYS_PER_CONTAINER).map((entry): Etsi014Key => {
    const key = expectObject(entry, 'key');
    const idExtension = optional(key.key_ID_extension, (field) => expectObject(field, 'key_ID_extension'));
    const extension = optional(key.key_extension, (field) => expectObject(field, 'key_extension'));
    return {
      key_ID: expectUuid(key.key_ID),
      key: expectBase64(key.key),
      ...(idExtension === undefined ? {} : { key_ID_extension: idExtension }),
      ...(extension === undefined ? {} : { key_extension: extension }),
    };
  });
  const extension = optional(container.key_container_extension, (field) =>
    expectObject(field, 'key_container_extension'),
  );
  return { keys, ...(extension === undefined ? {} : { key_container_extension: extension }) };
}

export function parseEtsi014KeyIds(value: unknown): Etsi014KeyIds {
  const ids = expectObject(value, 'key IDs');
  const idsExtension = optional(ids.key_IDs_extension, (field) => expectObject(field, 'key_IDs_extension'));
  return {
    ...(idsExtension === undefined ? {} : { key_IDs_extension: idsExtension }),
    key_IDs: expectArray(ids.key_IDs, 'key_IDs', MAX_KEYS_PER_CONTAINER).map((entry) => {
      const id = expectObject(entry, 'key_IDs entry');
      const extension = optional(id.key_ID_extension, (field) => expectObject(field, 'key_ID_extension'));
      return { key_ID: expectUuid(id.key_ID), ...(extension === undefined ? {} : { key_ID_extension: extension }) };
    }),
  };
}

export function parseEtsi014Error(value: unknown): Etsi014Error {
  const error = expectObject(value, 'error');
  const details = optional(error.details, (field) => objects(field, 'details'));
  return {
    message: expectString(error.message, 'message', MAX_MESSAGE_CHARS),
    ...(details === undefined ? {} : { details }),
  };
}

/** The 16 bytes of a UUID in its usual form. */
export function bytesOfUuid(text: string): Uint8Array {
  return fromHex(expectUuid(text).replaceAll('-', ''));
}

/** The usual form of a UUID, in lower case. Throws `RangeError` unless there are 16 bytes. */
export function uuidOfBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError(`a UUID has 16 bytes, not ${bytes.length}`);
  const text = hexOf(bytes);
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
}

function expectUuid(value: unknown): string {
  const text = expectString(value, 'key_ID', 36);
  if (!UUID.test(text)) throw new DecodeError('key_ID is no UUID');
  return text;
}

function expectBase64(value: unknown): string {
  const text = expectString(value, 'key', Math.ceil(MAX_014_KEY_BYTES / 3) * 4);
  if (!BASE64.test(text)) throw new DecodeError('key is not base64');
  return text;
}

/** Some servers number their KMEs. */
function idOf(status: JsonObject, field: string): string {
  const value = status[field];
  return expectString(typeof value === 'number' ? String(value) : value, field, MAX_SAE_ID_CHARS);
}

function objects(value: unknown, field: string): readonly JsonObject[] {
  return expectArray(value, field, 64).map((entry) => expectObject(entry, field));
}
