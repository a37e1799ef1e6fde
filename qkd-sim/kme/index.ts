/** Key managers that serve simulated key. */
export type { Etsi004Handler } from './etsi004-connection.ts';
export type { Etsi014Limits } from './etsi014-api.ts';
export { disagreeing, type Etsi004Fault, etsi004Faults } from './faults.ts';
export type { KeyPurpose } from './key-purpose.ts';
export { type Etsi004Layer, Kme, type KmeOptions, type KmeSettings } from './kme.ts';
export type { KmeEvent } from './kme-event.ts';
export type { KmePeer } from './peer-directory.ts';
export type { QosLimits } from './qos.ts';
export type { Etsi004Quirks, Etsi014Quirks, KmeQuirks } from './quirks.ts';
export type { SaeIdentityField } from './sae-identity.ts';
export type { KmeTls } from './tls-listener.ts';
