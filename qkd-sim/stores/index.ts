/** Key stores at the two ends of a link. */
export { KeyBuffer, type TakenKey } from './key-buffer.ts';
export type { KeyProvenance, KeyReceiver, KeySupply, Reservation, SharedKey, StoreLevel } from './key-supply.ts';
export {
  DEFAULT_ACK_TIMEOUT_MS,
  LinkEnd,
  type LinkEndOptions,
  type ReservationPort,
  type ReserveReply,
  type ReserveRequest,
} from './link-end.ts';
export { createLinkStores, type Deposit, type LinkStores, type LinkStoresOptions, portTo } from './link-stores.ts';
