/** How key delivery is doing: plain numbers and names, for an admin port, metrics and `qstunnel keys`. No secrets. */
import { FailoverSource, type KeySource, type KmeHealth } from '../../kdi-client/index.ts';
import type { AnswererKeysStatus } from './answerer-keys.ts';
import type { PeerKeysStatus } from './peer-keys.ts';

export interface KeyReport {
  /** Keys that client services draw: one entry for each process of a peer. */
  readonly drawers: readonly (PeerKeysStatus & { readonly sae: string; readonly kmes: readonly KmeHealth[] })[];
  /** Keys that server services look up: one entry for each SAE and its key managers. */
  readonly answerers: readonly (AnswererKeysStatus & { readonly kmes: readonly KmeHealth[] })[];
}

/** Health of each of several key managers; a single one has no circuit breaker, and nothing to say here. */
export function kmeHealth(source: KeySource): readonly KmeHealth[] {
  return source instanceof FailoverSource ? source.health() : [];
}
