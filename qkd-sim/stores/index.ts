/** Key stores at the two ends of a link. */
export { KeyBuffer } from './key-buffer.ts';
export type { KeyProvenance, KeySupply, SharedKey, StoreLevel } from './key-supply.ts';
export {
  DEFAULT_ACK_TIMEOUT_MS,
  LinkEnd,
  type ReservationPort,
} from './link-end.ts';
export { createLinkStores, type LinkStores, portTo } from './link-stores.ts';
