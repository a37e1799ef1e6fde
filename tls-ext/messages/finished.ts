import { DecodeError } from '../bytes/index.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';

/** RFC 8446, 4.4.4: `opaque verify_data[Hash.length]`. */
export function encodeFinished(verifyData: Uint8Array): Uint8Array {
  return encodeHandshake(HandshakeType.finished, (writer) => writer.bytes(verifyData));
}

/** The verify_data, a view of the body. */
export function decodeFinished(body: Uint8Array, hashLengthBytes: number): Uint8Array {
  if (body.length !== hashLengthBytes) throw new DecodeError(`Finished of ${body.length} bytes`);
  return body;
}
