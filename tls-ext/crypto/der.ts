/**
 * As much DER as keys need: SubjectPublicKeyInfo (RFC 5280, 4.1) and
 * PrivateKeyInfo (RFC 5958). Node 20 knows no ML-DSA keys, so these two are
 * read here; certificates are the business of certs/.
 */
import { ByteReader, DecodeError, hexOf } from '../bytes/index.ts';

export const DerTag = { integer: 0x02, bitString: 0x03, octetString: 0x04, oid: 0x06, sequence: 0x30, context0: 0x80 };

/** The contents of the next element, which must have this tag; lengths in DER's one shortest form. */
export function readDer(reader: ByteReader, tag: number): Uint8Array {
  const actual = reader.u8();
  if (actual !== tag) throw new DecodeError(`DER tag 0x${actual.toString(16)}, 0x${tag.toString(16)} wanted`);
  const first = reader.u8();
  if (first < 0x80) return reader.bytes(first);
  let length: number;
  if (first === 0x81) length = reader.u8();
  else if (first === 0x82) length = reader.u16();
  else throw new DecodeError('DER length of an unsupported form');
  if (length < (first === 0x81 ? 0x80 : 0x100)) throw new DecodeError('DER length not in its shortest form');
  return reader.bytes(length);
}

/** AlgorithmIdentifier and key of a SubjectPublicKeyInfo; `algorithm` and `curve` are hex of the OIDs' contents. */
export interface PublicKeyInfo {
  readonly algorithm: string;
  /** Of the parameters, if they are an OID: the named curve of an EC key. */
  readonly curve?: string;
  readonly key: Uint8Array;
}

/** Throws `DecodeError`. */
export function parseSpki(spki: Uint8Array): PublicKeyInfo {
  const outer = new ByteReader(spki);
  const body = new ByteReader(readDer(outer, DerTag.sequence));
  outer.end();
  const identifier = readAlgorithm(body);
  const bits = readDer(body, DerTag.bitString);
  body.end();
  if (bits[0] !== 0) throw new DecodeError('public key with unused bits');
  return { ...identifier, key: bits.subarray(1) };
}

/** Algorithm and contents of the privateKey OCTET STRING of a PKCS#8 PrivateKeyInfo. Throws `DecodeError`. */
export function parsePkcs8(pkcs8: Uint8Array): PublicKeyInfo {
  const outer = new ByteReader(pkcs8);
  const body = new ByteReader(readDer(outer, DerTag.sequence));
  outer.end();
  readDer(body, DerTag.integer);
  const identifier = readAlgorithm(body);
  // Attributes and public key may follow: nothing in them is needed.
  return { ...identifier, key: readDer(body, DerTag.octetString) };
}

function readAlgorithm(reader: ByteReader): { algorithm: string; curve?: string } {
  const identifier = new ByteReader(readDer(reader, DerTag.sequence));
  const algorithm = hexOf(readDer(identifier, DerTag.oid));
  const parameters = identifier.rest();
  if (parameters[0] !== DerTag.oid) return { algorithm };
  const parameterReader = new ByteReader(parameters);
  const curve = hexOf(readDer(parameterReader, DerTag.oid));
  parameterReader.end();
  return { algorithm, curve };
}
