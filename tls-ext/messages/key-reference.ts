/**
 * QkdKeyReference: names a QKD key to the other end without a key manager's
 * address; the `external_identity` of an imported PSK (draft-qstunnel-tls-qkd-psk).
 *
 *     enum { etsi004(1), etsi014(2), skip(3), (255) } KeyDeliveryApi;
 *     struct {
 *         KeyDeliveryApi api;
 *         opaque drawer<1..255>;            // SAE ID of the TLS client, UTF-8
 *         select (api) {
 *             case etsi004: opaque ksid[16]; uint32 index; uint16 slice;
 *             case etsi014: opaque key_id[16];
 *             case skip:    opaque key_id<1..255>;
 *         };
 *     } QkdKeyReference;
 */
import { type ByteReader, type ByteWriter, DecodeError, decodeWhole, encode, fromUtf8, utf8 } from '../bytes/index.ts';
import type { QkdKeyReference } from '../engine-types.ts';
import { MAX_SAE_ID_BYTES, MAX_SKIP_KEY_ID_BYTES } from './limits.ts';

const Api = { etsi004: 1, etsi014: 2, skip: 3 } as const;
const UUID_BYTES = 16;

/** Throws `RangeError` on a field outside of its grammar. */
export function encodeQkdKeyReference(reference: QkdKeyReference): Uint8Array {
  return encode((writer) => {
    writer.u8(Api[reference.api]);
    encodeSaeId(writer, reference.drawer);
    switch (reference.api) {
      case 'etsi004':
        writer.bytes(expectUuid(reference.ksid)).u32(reference.index).u16(reference.slice);
        return;
      case 'etsi014':
        writer.bytes(expectUuid(reference.keyId));
        return;
      case 'skip':
        if (reference.keyId.length === 0) throw new RangeError('empty SKIP key ID');
        writer.vector(1, reference.keyId);
    }
  });
}

/** The inverse, strict: throws `DecodeError` on anything else. Owns its bytes. */
export function decodeQkdKeyReference(bytes: Uint8Array): QkdKeyReference {
  return decodeWhole(bytes, (reader) => {
    const api = reader.u8();
    const drawer = decodeSaeId(reader);
    switch (api) {
      case Api.etsi004:
        return {
          api: 'etsi004',
          drawer,
          ksid: reader.bytes(UUID_BYTES).slice(),
          index: reader.u32(),
          slice: reader.u16(),
        };
      case Api.etsi014:
        return { api: 'etsi014', drawer, keyId: reader.bytes(UUID_BYTES).slice() };
      case Api.skip:
        return { api: 'skip', drawer, keyId: reader.vector(1, 1, MAX_SKIP_KEY_ID_BYTES).slice() };
      default:
        throw new DecodeError(`key delivery API ${api}`);
    }
  });
}

/** An SAE ID as `opaque<1..255>` of UTF-8. */
export function encodeSaeId(writer: ByteWriter, saeId: string): void {
  const bytes = utf8(saeId);
  if (bytes.length === 0) throw new RangeError('empty SAE ID');
  writer.vector(1, bytes);
}

export function decodeSaeId(reader: ByteReader): string {
  const bytes = reader.vector(1, 1, MAX_SAE_ID_BYTES);
  try {
    return fromUtf8(bytes);
  } catch {
    throw new DecodeError('SAE ID is not UTF-8');
  }
}

function expectUuid(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== UUID_BYTES) throw new RangeError(`key ID of ${bytes.length} bytes, ${UUID_BYTES} expected`);
  return bytes;
}
