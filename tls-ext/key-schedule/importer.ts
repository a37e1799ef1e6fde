/** Importing external PSKs (RFC 9258): one key, a PSK of its own for each protocol, KDF and context. */
import { type ByteReader, decodeWhole, encode, type SecretBytes } from '../bytes/index.ts';
import { type HashName, hashLengthBytes, hash as hashOf } from '../crypto/hash.ts';
import { hkdfExpandLabel, hkdfExtract } from '../crypto/hkdf.ts';

/** target_kdf: IANA's TLS KDF Identifiers. */
export const TargetKdf = { hkdfSha256: 1, hkdfSha384: 2 } as const;
export type TargetKdf = (typeof TargetKdf)[keyof typeof TargetKdf];

/** target_protocol of TLS 1.3. */
export const TARGET_PROTOCOL_TLS13 = 0x0304;

/** The struct ImportedIdentity; its serialisation is the PskIdentity on the wire. */
export interface ImportedIdentity {
  readonly externalIdentity: Uint8Array;
  readonly context: Uint8Array;
  readonly targetProtocol: number;
  readonly targetKdf: number;
}

/** The KDF that an imported PSK for suites of `hash` names. */
export function targetKdfOf(hash: HashName): TargetKdf {
  return hash === 'sha256' ? TargetKdf.hkdfSha256 : TargetKdf.hkdfSha384;
}

/** external_identity<1..2^16-1>, context<0..2^16-1>, uint16 target_protocol, uint16 target_kdf. */
export function encodeImportedIdentity(identity: ImportedIdentity): Uint8Array {
  if (identity.externalIdentity.length === 0) throw new RangeError('empty external_identity');
  return encode((writer) =>
    writer
      .vector(2, identity.externalIdentity)
      .vector(2, identity.context)
      .u16(identity.targetProtocol)
      .u16(identity.targetKdf),
  );
}

/** Views into `bytes`; throws `DecodeError`. */
export function decodeImportedIdentity(bytes: Uint8Array): ImportedIdentity {
  return decodeWhole(bytes, (reader: ByteReader) => ({
    externalIdentity: reader.vector(2, 1),
    context: reader.vector(2),
    targetProtocol: reader.u16(),
    targetKdf: reader.u16(),
  }));
}

/**
 * Whether an identity has the form of an ImportedIdentity. Plain identities are usual, and
 * what decoding them would throw costs more than the rest of their handshake's decoding.
 */
export function isImportedIdentity(bytes: Uint8Array): boolean {
  const vectorEnd = (at: number) => at + 2 + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
  const externalEnd = vectorEnd(0);
  return externalEnd > 2 && vectorEnd(externalEnd) + 4 === bytes.length;
}

/** An imported PSK: the identity that goes over the wire and the key behind it. */
export interface ImportedPsk {
  readonly hash: HashName;
  readonly identity: Uint8Array;
  readonly key: SecretBytes;
}

/** The external key and what it is to be bound to. */
export interface ImportInput {
  readonly externalIdentity: Uint8Array;
  readonly context: Uint8Array;
  /** epsk. Stays the caller's, who wipes it after the last import. */
  readonly externalKey: SecretBytes;
  /** The hash that the external PSK belongs to; SHA-256 if none was agreed for it, as RFC 9258 has it. */
  readonly importHash?: HashName;
}

/**
 * The PSK imported for TLS 1.3 suites of `target`. The import computes with the
 * external PSK's own hash whatever the target; only the length is the target's.
 */
export function importPsk(input: ImportInput, target: HashName): ImportedPsk {
  const importHash = input.importHash ?? 'sha256';
  const identity = encodeImportedIdentity({
    externalIdentity: input.externalIdentity,
    context: input.context,
    targetProtocol: TARGET_PROTOCOL_TLS13,
    targetKdf: targetKdfOf(target),
  });
  const extracted = hkdfExtract(importHash, undefined, input.externalKey.expose());
  const key = hkdfExpandLabel(
    importHash,
    extracted,
    'derived psk',
    hashOf(importHash, identity),
    hashLengthBytes[target],
  );
  extracted.wipe();
  return { hash: target, identity, key };
}
