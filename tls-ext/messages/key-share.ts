import { type ByteReader, type ByteWriter, DecodeError, decodeWhole } from '../bytes/index.ts';
import { type ExtensionCodec, illegalParameter } from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';
import { MAX_KEY_SHARES } from './limits.ts';

/** RFC 8446, 4.2.8. `keyExchange` may be a view of the message. */
export interface KeyShareEntry {
  readonly group: number;
  readonly keyExchange: Uint8Array;
}

/** `KeyShareEntry client_shares<0..2^16-1>` of a ClientHello; two for one group are rejected. */
export const clientShares: ExtensionCodec<readonly KeyShareEntry[]> = {
  type: ExtensionType.keyShare,
  decode: (reader) =>
    decodeWhole(reader.vector(2), (list) => {
      const shares: KeyShareEntry[] = [];
      while (list.remaining > 0) {
        if (shares.length === MAX_KEY_SHARES) throw new DecodeError(`more than ${MAX_KEY_SHARES} key shares`);
        const share = decodeKeyShareEntry(list);
        if (shares.some(({ group }) => group === share.group)) throw illegalParameter('two key shares for one group');
        shares.push(share);
      }
      return shares;
    }),
  encode: (writer, shares) =>
    writer.vector(2, () => {
      for (const share of shares) encodeKeyShareEntry(writer, share);
    }),
};

/** `KeyShareEntry server_share` of a ServerHello. */
export const serverShare: ExtensionCodec<KeyShareEntry> = {
  type: ExtensionType.keyShare,
  decode: decodeKeyShareEntry,
  encode: encodeKeyShareEntry,
};

/** `NamedGroup selected_group` of a HelloRetryRequest. */
export const selectedGroup: ExtensionCodec<number> = {
  type: ExtensionType.keyShare,
  decode: (reader) => reader.u16(),
  encode: (writer, group) => writer.u16(group),
};

export function decodeKeyShareEntry(reader: ByteReader): KeyShareEntry {
  return { group: reader.u16(), keyExchange: reader.vector(2, 1) };
}

export function encodeKeyShareEntry(writer: ByteWriter, { group, keyExchange }: KeyShareEntry): void {
  writer.u16(group).vector(2, keyExchange);
}
