/** Bounded reading of untrusted JSON objects. Everything wrong throws `DecodeError` and names the field. */
import { DecodeError } from '../../tls-ext/bytes/index.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export function expectObject(value: unknown, field: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DecodeError(`${field} is no object`);
  return value as JsonObject;
}

export function expectArray(value: unknown, field: string, maxLength: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new DecodeError(`${field} is no array`);
  if (value.length > maxLength)
    throw new DecodeError(`${field} has ${value.length} entries, at most ${maxLength} allowed`);
  return value;
}

export function expectString(value: unknown, field: string, maxLength: number): string {
  if (typeof value !== 'string') throw new DecodeError(`${field} is no string`);
  if (value.length > maxLength) throw new DecodeError(`${field} is longer than ${maxLength}`);
  return value;
}

export function expectCount(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new DecodeError(`${field} is no integer of 0 or more`);
  }
  return value;
}

export function expectBoolean(value: unknown, field: string): boolean {
  if (typeof value !== 'boolean') throw new DecodeError(`${field} is no boolean`);
  return value;
}

export const MAX_U32 = 0xffff_ffff;

/** What `age` and `hops` of a key may be. */
export function isU32(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_U32;
}

/** `parse(value)` unless the field is absent (or null, as some servers write it). */
export function optional<T>(value: unknown, parse: (value: unknown) => T): T | undefined {
  return value === undefined || value === null ? undefined : parse(value);
}
