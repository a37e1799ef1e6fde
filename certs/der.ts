/**
 * A strict DER reader (ITU-T X.690, 10), only as much as certificates need.
 *
 * Certificates come from strangers before they have proven anything, so this
 * reader never recurses, never copies, and accepts one encoding of each value.
 */

/** Thrown on anything that is not DER of the expected shape. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** Identifier octets that certificates use. */
export const DerTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One value: `content` is a view of its contents octets, `raw` of the whole encoding. */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly raw: Uint8Array;
}

export class DerReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** The tag of the next value, or `undefined` at the end. */
  peekTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /** The next value; with `tag` it must be of that type. */
  read(tag?: number): DerValue {
    const start = this.#offset;
    const found = this.#byte();
    if ((found & 0x1f) === 0x1f) throw new DerError('high tag numbers are not used in certificates');
    if (tag !== undefined && found !== tag) {
      throw new DerError(`tag 0x${tag.toString(16)} expected, 0x${found.toString(16)} found`);
    }
    const length = this.#length();
    const contentStart = this.#offset;
    if (length > this.#bytes.length - contentStart) throw new DerError('truncated');
    this.#offset += length;
    return {
      tag: found,
      content: this.#bytes.subarray(contentStart, this.#offset),
      raw: this.#bytes.subarray(start, this.#offset),
    };
  }

  /** The next value if it has this tag. */
  readOptional(tag: number): DerValue | undefined {
    return this.peekTag() === tag ? this.read(tag) : undefined;
  }

  /** A reader of the next value's contents; the value must be constructed, with this tag. */
  enter(tag: number): DerReader {
    return new DerReader(this.read(tag).content);
  }

  /** Rejects trailing bytes. */
  end(): void {
    if (!this.done) throw new DerError('trailing bytes');
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw new DerError('truncated');
    this.#offset += 1;
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw new DerError('indefinite or oversized length');
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError('length not minimal');
    return length;
  }
}

/** A BOOLEAN's value (X.690, 11.1). */
export function derBoolean(content: Uint8Array): boolean {
  if (content.length === 1 && content[0] === 0xff) return true;
  if (content.length === 1 && content[0] === 0x00) return false;
  throw new DerError('not a DER BOOLEAN');
}

/** A small non-negative INTEGER (at most 31 bits). */
export function derSmallInteger(content: Uint8Array): number {
  checkInteger(content);
  if (content.length > 4 || (content[0] as number) >= 0x80) throw new DerError('INTEGER out of range');
  let value = 0;
  for (const byte of content) value = value * 256 + byte;
  return value;
}

/** Rejects INTEGER contents that are empty or not minimal (X.690, 8.3.2). */
export function checkInteger(content: Uint8Array): void {
  const [first, second] = content;
  if (first === undefined) throw new DerError('empty INTEGER');
  if (second === undefined) return;
  if ((first === 0x00 && second < 0x80) || (first === 0xff && second >= 0x80)) {
    throw new DerError('INTEGER not minimal');
  }
}

/** The octets of a BIT STRING that is a whole number of octets, such as a key or a signature. */
export function derOctetAlignedBits(content: Uint8Array): Uint8Array {
  if (content[0] !== 0) throw new DerError('BIT STRING is not a whole number of octets');
  return content.subarray(1);
}

/** A named-bit list as a number whose bit n is ASN.1 bit n; at most 16 bits (X.690, 11.2). */
export function derNamedBits(content: Uint8Array): number {
  const unused = content[0];
  const octets = content.subarray(1);
  if (unused === undefined || unused > 7 || octets.length > 2) throw new DerError('not a named-bit list');
  if (octets.length === 0) {
    if (unused !== 0) throw new DerError('not a named-bit list');
    return 0;
  }
  const last = octets[octets.length - 1] as number;
  // DER drops trailing zero bits: the last used bit is one, the unused are zero.
  if ((last & ((1 << unused) - 1)) !== 0 || (last & (1 << unused)) === 0) throw new DerError('named bits not minimal');
  let bits = 0;
  octets.forEach((octet, i) => {
    for (let bit = 0; bit < 8; bit++) if (octet & (0x80 >> bit)) bits |= 1 << (8 * i + bit);
  });
  return bits;
}

/** Longest OBJECT IDENTIFIER, in octets; those of X.509 need about ten. */
const MAX_OID_BYTES = 32;

/** Dotted form of an OBJECT IDENTIFIER (X.690, 8.19). */
export function derOid(content: Uint8Array): string {
  if (content.length === 0 || content.length > MAX_OID_BYTES) throw new DerError('OBJECT IDENTIFIER of bad length');
  const arcs: number[] = [];
  let arc = 0;
  let arcOctets = 0;
  for (const octet of content) {
    if (arcOctets === 0 && octet === 0x80) throw new DerError('OBJECT IDENTIFIER not minimal');
    arcOctets += 1;
    if (arcOctets > 6) throw new DerError('arc of an OBJECT IDENTIFIER out of range');
    arc = arc * 128 + (octet & 0x7f);
    if (octet < 0x80) {
      arcs.push(arc);
      arc = 0;
      arcOctets = 0;
    }
  }
  if (arcOctets !== 0) throw new DerError('OBJECT IDENTIFIER truncated');
  const joint = arcs.shift() as number;
  const root = Math.min(2, Math.floor(joint / 40));
  return [root, joint - 40 * root, ...arcs].join('.');
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** Milliseconds since the epoch of a Time in the profile of RFC 5280, 4.1.2.5: UTC with seconds, no fractions. */
export function derTimeMs(value: DerValue): number {
  const text = latin1(value.content.subarray(0, 16));
  const match = (value.tag === DerTag.utcTime ? UTC_TIME : GENERALIZED_TIME).exec(text);
  if ((value.tag !== DerTag.utcTime && value.tag !== DerTag.generalizedTime) || match === null) {
    throw new DerError('not a time in the profile of RFC 5280');
  }
  const [written, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const year = value.tag === DerTag.utcTime ? written + (written < 50 ? 2000 : 1900) : written;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const same =
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  if (!same) throw new DerError('no such time');
  return date.getTime();
}

/** Text of one character per octet, for ASCII-only types. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
