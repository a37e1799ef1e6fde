/** What a service demands of a key's making, judged by each end for itself. */
import { ProxyErrorCode } from '../errors.ts';
import type { KeyProvenance } from '../tunnel/settings.ts';

export interface ProvenanceRules {
  /** Whether keys that a simulator made may be used on this path. */
  readonly simulatedAllowed: boolean;
  /** Most trusted nodes that a key may have crossed. */
  readonly maxHops?: number;
  readonly maxAgeMs?: number;
  /** Whether a key may be used whose key manager does not say what the rules ask for. */
  readonly unknown: 'allow' | 'refuse';
}

export interface ProvenanceProblem {
  readonly code: ProxyErrorCode;
  /** One line, with what to change. */
  readonly error: string;
}

/** Why a key may not be used; `undefined` if it may. */
export function provenanceProblem(rules: ProvenanceRules, key: KeyProvenance): ProvenanceProblem | undefined {
  const { simulatedAllowed, maxHops, maxAgeMs, unknown } = rules;
  if (key.simulated === true && !simulatedAllowed) {
    return {
      code: ProxyErrorCode.simulatedKeys,
      error: 'the keys come from a simulator, and the peer is not on loopback; see unsafe-allow-simulated',
    };
  }
  const problem = (error: string): ProvenanceProblem => ({ code: ProxyErrorCode.keyProvenance, error });
  if (maxHops !== undefined && key.hops !== undefined && key.hops > maxHops) {
    return problem(`the key crossed ${key.hops} trusted nodes, and max-hops is ${maxHops}`);
  }
  if (maxAgeMs !== undefined && key.ageMs !== undefined && key.ageMs > maxAgeMs) {
    return problem(`the key is ${Math.round(key.ageMs)} ms old, and max-key-age is ${maxAgeMs} ms`);
  }
  if (unknown === 'allow') return undefined;
  if (key.hops === undefined) {
    return problem('the key manager does not say how many trusted nodes the key crossed; see unknown-provenance');
  }
  if (maxAgeMs !== undefined && key.ageMs === undefined) {
    return problem('the key manager does not say how old the key is; see unknown-provenance');
  }
  return undefined;
}
