/**
 * References as short strings, for pools of many keys: a tenth of what an
 * object with byte arrays costs. One character for each byte; the drawer, who
 * is the same for many keys, is not in it.
 */
import type { KdiApi, QkdKeyReference } from '../key-source.ts';

const APIS = { etsi004: '4', etsi014: '1', skip: 's' } as const satisfies Record<KdiApi, string>;
/** Of those whose keys have an ID. */
const KEY_ID_APIS = new Map(
  Object.entries(APIS).map(([api, letter]) => [letter as string, api as Exclude<KdiApi, 'etsi004'>]),
);
/** Of index and slice, behind the Key_stream_ID. */
const INDEX_BYTES = 4;
const SLICE_BYTES = 2;

/** Equal exactly for equal references of one drawer. */
export function referenceName(reference: QkdKeyReference): string {
  const api = APIS[reference.api];
  return reference.api === 'etsi004'
    ? api + big(reference.index, INDEX_BYTES) + big(reference.slice, SLICE_BYTES) + characters(reference.ksid)
    : api + characters(reference.keyId);
}

/** The reference again; its byte array is the caller's. */
export function referenceOfName(name: string, drawer: string): QkdKeyReference {
  if (name[0] === APIS.etsi004) {
    const sliceAt = 1 + INDEX_BYTES;
    const ksidAt = sliceAt + SLICE_BYTES;
    const [index, slice] = [number(name.slice(1, sliceAt)), number(name.slice(sliceAt, ksidAt))];
    return { api: 'etsi004', drawer, ksid: bytes(name.slice(ksidAt)), index, slice };
  }
  const api = KEY_ID_APIS.get(name.slice(0, 1)) as Exclude<KdiApi, 'etsi004'>;
  return { api, drawer, keyId: bytes(name.slice(1)) };
}

/** Whether a name is of a key in this 004 stream. */
export function isOfStream(name: string, ksid: Uint8Array): boolean {
  return name[0] === APIS.etsi004 && name.endsWith(characters(ksid)) && name.length === 7 + ksid.length;
}

function characters(values: Uint8Array): string {
  return String.fromCharCode(...values);
}

function bytes(text: string): Uint8Array {
  const values = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) values[i] = text.charCodeAt(i);
  return values;
}

function big(value: number, lengthBytes: number): string {
  let text = '';
  for (let i = lengthBytes - 1; i >= 0; i--) text += String.fromCharCode(Math.floor(value / 256 ** i) % 256);
  return text;
}

function number(text: string): number {
  let value = 0;
  for (let i = 0; i < text.length; i++) value = value * 256 + text.charCodeAt(i);
  return value;
}
