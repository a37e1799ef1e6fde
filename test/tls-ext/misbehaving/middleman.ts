/** Somebody between the ends, without keys: reads and changes what goes over the wire in clear. */
import { concatBytes, decodeWhole, encode } from '../../../tls-ext/bytes/index.ts';
import {
  type ClientHello,
  decodeClientHello,
  decodeServerHello,
  defaultCodePoints,
  encodeClientHello,
  encodeServerHello,
  HANDSHAKE_HEADER_BYTES,
  HandshakeType,
  type HelloRetryRequest,
  type ReceivedClientHello,
} from '../../../tls-ext/messages/index.ts';
import { ContentType } from '../../../tls-ext/record/index.ts';
import type { Cut } from '../engine/engine-pair.ts';

/** Handshake messages of one type, each alone in a plaintext record, as hellos of ours are. */
function onPlaintext(type: number, change: (message: Uint8Array) => Uint8Array): Cut {
  return (bytes) => [
    decodeWhole(bytes, (reader) => {
      const records: Uint8Array[] = [];
      while (reader.remaining > 0) {
        const [contentType, version, fragment] = [reader.u8(), reader.u16(), reader.vector(2)];
        const ours = contentType === ContentType.handshake && fragment[0] === type;
        const content = ours ? change(fragment) : fragment;
        records.push(encode((writer) => writer.u8(contentType).u16(version).vector(2, content)));
      }
      return concatBytes(...records);
    }),
  ];
}

const bodyOf = (message: Uint8Array) => message.subarray(HANDSHAKE_HEADER_BYTES);

export function changeClientHello(change: (hello: ReceivedClientHello) => ClientHello): Cut {
  return onPlaintext(HandshakeType.clientHello, (message) =>
    encodeClientHello(change(decodeClientHello(bodyOf(message), defaultCodePoints)), defaultCodePoints),
  );
}

export function changeHelloRetryRequest(change: (hello: HelloRetryRequest) => HelloRetryRequest): Cut {
  return onPlaintext(HandshakeType.serverHello, (message) => {
    const hello = decodeServerHello(bodyOf(message));
    return hello.kind === 'hello-retry-request' ? encodeServerHello(change(hello)) : message;
  });
}
