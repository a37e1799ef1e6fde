/** A credible QKD link in software, with a key manager at each end. */

export { SimError, SimErrorCode } from './errors.ts';
export type { LinkForecast } from './forecast.ts';
export {
  disagreeing,
  type Etsi004Fault,
  type Etsi004Handler,
  type Etsi004Layer,
  type Etsi004Quirks,
  type Etsi014Limits,
  type Etsi014Quirks,
  etsi004Faults,
  type KeyPurpose,
  Kme,
  type KmeEvent,
  type KmeOptions,
  type KmePeer,
  type KmeQuirks,
  type KmeSettings,
  type KmeTls,
  type QosLimits,
  type SaeIdentityField,
} from './kme/index.ts';
export { type LinkEvent, LinkRunner, type LinkRunnerOptions } from './link/link-runner.ts';
export * from './link/link-types.ts';
export { type PresetName, presets } from './physics/presets.ts';
export { STORE_KEY_BYTES, startSimulator } from './simulator.ts';
export type {
  LinkState,
  SimulatedKme,
  SimulatedKmeOptions,
  SimulatedLink,
  Simulator,
  SimulatorEvent,
  SimulatorOptions,
  SimulatorStatus,
  StoreLevels,
} from './simulator-types.ts';
export { createLinkStores, type LinkStores, type StoreLevel } from './stores/index.ts';
