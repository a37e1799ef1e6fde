/**
 * The extension `qkd_psk` (draft-qstunnel-tls-qkd-psk): what the client offers
 * or why it offers nothing, and what the server made of it. Both messages are
 * under Finished, so both ends know the same outcome.
 *
 *     enum { none(0), key(1), ticket(2), (255) } QkdOffer;
 *     struct {
 *         uint16 draft_version = 1;
 *         uint8 features;                     // bit 0: rekey; unknown bits are ignored
 *         QkdOffer offer;
 *         select (offer) { case none: NoOfferReason reason; };
 *     } QkdPskClientHello;
 *     struct {
 *         uint16 draft_version = 1;
 *         uint8 features;                     // a subset of the client's
 *         QkdResult result;
 *     } QkdPskEncryptedExtensions;
 */
import { NoOfferReason, type QkdOffer, type QkdResult } from '../engine-types.ts';
import { codeTable } from './code-table.ts';
import { type ExtensionCodec, illegalParameter } from './extension-block.ts';
import { ExtensionType } from './extension-type.ts';

export const QKD_PSK_DRAFT_VERSION = 1;

/** Bits of `features`. */
export const QkdFeature = { rekey: 0x01 } as const;

export interface QkdPskClientHello {
  readonly features: number;
  readonly offer: QkdOffer;
}

export interface QkdPskEncryptedExtensions {
  readonly features: number;
  readonly result: QkdResult;
}

const OFFER_NONE = 0;
const OFFER_KEY = 1;
const OFFER_TICKET = 2;

const reasons = codeTable<NoOfferReason>({
  [NoOfferReason.streamOpening]: 1,
  [NoOfferReason.channelDown]: 2,
  [NoOfferReason.poolEmpty]: 3,
  [NoOfferReason.kmeUnreachable]: 4,
  [NoOfferReason.peerKmeUnreachable]: 5,
  [NoOfferReason.keyMismatch]: 6,
  [NoOfferReason.budget]: 7,
  [NoOfferReason.policy]: 8,
});
const results = codeTable<QkdResult>({
  not_offered: 0,
  used: 1,
  resumed: 2,
  unavailable: 3,
  policy: 4,
});

/** A draft version that we don't know makes the extension an unknown one: it is ignored. */
export const qkdPskClientHello: ExtensionCodec<QkdPskClientHello> = {
  type: ExtensionType.qkdPsk,
  decode: (reader) => {
    if (reader.u16() !== QKD_PSK_DRAFT_VERSION) return undefined;
    const features = reader.u8();
    const offer = reader.u8();
    switch (offer) {
      case OFFER_KEY:
        return { features, offer: { offer: 'key' } };
      case OFFER_TICKET:
        return { features, offer: { offer: 'ticket' } };
      case OFFER_NONE: {
        const reason = reasons.name(reader.u8());
        if (reason === undefined) throw illegalParameter('qkd_psk with an unknown reason');
        return { features, offer: { offer: 'none', reason } };
      }
      default:
        throw illegalParameter('qkd_psk with an unknown offer');
    }
  },
  encode: (writer, { features, offer }) => {
    writer.u16(QKD_PSK_DRAFT_VERSION).u8(features);
    if (offer.offer === 'none') writer.u8(OFFER_NONE).u8(reasons.code(offer.reason));
    else writer.u8(offer.offer === 'key' ? OFFER_KEY : OFFER_TICKET);
  },
};

/** The server answers in the version that the client spoke; another is `illegal_parameter`. */
export const qkdPskEncryptedExtensions: ExtensionCodec<QkdPskEncryptedExtensions> = {
  type: ExtensionType.qkdPsk,
  decode: (reader) => {
    if (reader.u16() !== QKD_PSK_DRAFT_VERSION) throw illegalParameter('qkd_psk in a version that was not offered');
    const features = reader.u8();
    const result = results.name(reader.u8());
    if (result === undefined) throw illegalParameter('qkd_psk with an unknown result');
    return { features, result };
  },
  encode: (writer, { features, result }) => writer.u16(QKD_PSK_DRAFT_VERSION).u8(features).u8(results.code(result)),
};
