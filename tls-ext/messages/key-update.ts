import { decodeWhole } from '../bytes/index.ts';
import { illegalParameter } from './extension-block.ts';
import { encodeHandshake, HandshakeType } from './handshake-type.ts';

/** RFC 8446, 4.6.3. */
export const KeyUpdateRequest = { updateNotRequested: 0, updateRequested: 1 } as const;
export type KeyUpdateRequest = (typeof KeyUpdateRequest)[keyof typeof KeyUpdateRequest];

export function encodeKeyUpdate(requestUpdate: KeyUpdateRequest): Uint8Array {
  return encodeHandshake(HandshakeType.keyUpdate, (writer) => writer.u8(requestUpdate));
}

export function decodeKeyUpdate(body: Uint8Array): KeyUpdateRequest {
  const value = decodeWhole(body, (reader) => reader.u8());
  if (value !== KeyUpdateRequest.updateNotRequested && value !== KeyUpdateRequest.updateRequested) {
    throw illegalParameter(`request_update of ${value}`);
  }
  return value;
}
