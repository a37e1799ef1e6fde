/** `pre_shared_key` (RFC 8446, 4.2.11). */
import { type ByteReader, DecodeError, decodeWhole } from '../bytes/index.ts';
import { type ExtensionCodec, illegalParameter } from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import { MAX_PSK_IDENTITIES } from './limits.ts';

/** `identity` may be a view of the message. `obfuscatedTicketAge` is 0 for an external PSK. */
export interface PskIdentity {
  readonly identity: Uint8Array;
  readonly obfuscatedTicketAge: number;
}

/** Identities and their binders, as many of the one as of the other. */
export interface OfferedPsks {
  readonly identities: readonly PskIdentity[];
  readonly binders: readonly Uint8Array[];
}

/** The form in a ClientHello. */
export const offeredPsks: ExtensionCodec<OfferedPsks> = {
  type: ExtensionType.preSharedKey,
  decode: (reader) => {
    const identities = decodeWhole(reader.vector(2, 7), (list) =>
      entries(list, () => ({ identity: list.vector(2, 1), obfuscatedTicketAge: list.u32() })),
    );
    const binders = decodeWhole(reader.vector(2, 33), (list) => entries(list, () => list.vector(1, 32)));
    if (identities.length !== binders.length) throw illegalParameter('not as many binders as PSK identities');
    return { identities, binders };
  },
  encode: (writer, { identities, binders }) => {
    writer.vector(2, () => {
      for (const { identity, obfuscatedTicketAge } of identities) writer.vector(2, identity).u32(obfuscatedTicketAge);
    });
    writer.vector(2, () => {
      for (const binder of binders) writer.vector(1, binder);
    });
  },
};

/** `uint16 selected_identity` of a ServerHello. */
export const selectedIdentity: ExtensionCodec<number> = {
  type: ExtensionType.preSharedKey,
  decode: (reader) => reader.u16(),
  encode: (writer, index) => writer.u16(index),
};

/** Bytes of the `binders` list with its length prefix: what a binder's transcript leaves out (RFC 8446, 4.2.11.2). */
export function bindersLengthBytes({ binders }: Pick<OfferedPsks, 'binders'>): number {
  return binders.reduce((sum, binder) => sum + 1 + binder.length, 2);
}

/** Puts the real binders into an encoded ClientHello, whose last bytes are placeholders of the same lengths. */
export function fillBinders(clientHello: Uint8Array, binders: readonly Uint8Array[]): void {
  let at = clientHello.length - bindersLengthBytes({ binders }) + 2;
  for (const binder of binders) {
    if (clientHello[at] !== binder.length) throw new RangeError('binder of another length than its placeholder');
    clientHello.set(binder, at + 1);
    at += 1 + binder.length;
  }
}

function entries<T>(list: ByteReader, decode: () => T): T[] {
  const found: T[] = [];
  while (list.remaining > 0) {
    if (found.length === MAX_PSK_IDENTITIES) throw new DecodeError(`more than ${MAX_PSK_IDENTITIES} PSKs`);
    found.push(decode());
  }
  return found;
}
