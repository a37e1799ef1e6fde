/** What a service demands of one authenticated peer: its policy, and `remember` on top. */
import type { DowngradeMemory } from '../downgrade-memory.ts';
import { demandQkd, type PolicySettings } from '../policy.ts';

/** `policy`, made stricter if the peer has been seen with QKD. Rejects if what was remembered can't be read. */
export async function policyTowards(
  memory: DowngradeMemory,
  policy: PolicySettings,
  peer: string,
): Promise<PolicySettings> {
  return (await memory.expectsQkd(peer)) ? demandQkd(policy, `remember: ${peer} was seen with QKD`) : policy;
}
