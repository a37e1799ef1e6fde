/** A credible QKD link in software, with a key manager at each end. */
export { SimError, SimErrorCode } from './errors.ts';
export {
  Kme,
  type KmeEvent,
  type KmeOptions,
  type KmePeer,
  type KmeSettings,
  type KmeTls,
  type SaeIdentityField,
} from './kme/index.ts';
export { type LinkEvent, LinkRunner, type LinkRunnerOptions } from './link/link-runner.ts';
export * from './link/link-types.ts';
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
