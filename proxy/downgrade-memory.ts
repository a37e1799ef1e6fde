/**
 * Which peers of a service have been seen with QKD (`remember`): from then on
 * one that comes without is refused, as HSTS refuses plain HTTP. An attacker
 * who cuts off the key managers gets no connection then, rather than one
 * without QKD.
 */
import type { StateStore } from './state-store.ts';

/** The memory of one service. `peer`: its authenticated SAE ID. */
export interface DowngradeMemory {
  /** Whether this peer must have a QKD key. */
  expectsQkd(peer: string): Promise<boolean>;
  /** It completed a handshake with one. */
  sawQkd(peer: string): Promise<void>;
}

export function downgradeMemory(store: StateStore<true>, service: string, durationMs: number): DowngradeMemory {
  const keyOf = (peer: string) => JSON.stringify([service, peer]);
  return {
    expectsQkd: async (peer) => (await store.get(keyOf(peer))) === true,
    sawQkd: (peer) => store.put(keyOf(peer), true, durationMs),
  };
}
