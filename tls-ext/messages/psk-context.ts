/**
 * QkdPskContext: the `context` of an imported PSK. It binds the key to this
 * protocol, to its use, and to the SAE of each role (RFC 9258, 4.1, and RFC
 * 9257, against Selfie and unknown-key-share attacks).
 *
 *     enum { handshake(1), rekey(2), (255) } QkdPskPurpose;
 *     struct {
 *         opaque protocol[9] = "qkd_psk/1";
 *         QkdPskPurpose purpose;
 *         opaque drawer<1..255>;
 *         opaque answerer<1..255>;
 *     } QkdPskContext;
 */
import { bytesEqual, DecodeError, decodeWhole, encode, utf8 } from '../bytes/index.ts';
import type { QkdPskContext } from '../engine-types.ts';
import { decodeSaeId, encodeSaeId } from './key-reference.ts';

const protocol = utf8('qkd_psk/1');
const Purpose = { handshake: 1, rekey: 2 } as const;

/** Throws `RangeError` on an SAE ID that is empty or longer than 255 bytes. */
export function encodeQkdPskContext({ purpose, drawer, answerer }: QkdPskContext): Uint8Array {
  return encode((writer) => {
    writer.bytes(protocol).u8(Purpose[purpose]);
    encodeSaeId(writer, drawer);
    encodeSaeId(writer, answerer);
  });
}

/** The inverse, strict: throws `DecodeError` on anything else. */
export function decodeQkdPskContext(bytes: Uint8Array): QkdPskContext {
  return decodeWhole(bytes, (reader) => {
    if (!bytesEqual(reader.bytes(protocol.length), protocol)) throw new DecodeError('context of another protocol');
    const purpose = reader.u8();
    if (purpose !== Purpose.handshake && purpose !== Purpose.rekey) throw new DecodeError(`purpose ${purpose}`);
    return {
      purpose: purpose === Purpose.handshake ? 'handshake' : 'rekey',
      drawer: decodeSaeId(reader),
      answerer: decodeSaeId(reader),
    };
  });
}
