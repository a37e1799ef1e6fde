import type { TargetFuzzer } from './fuzz.ts';
import type { Finding } from './target.ts';

const MAX_EXECUTIONS = 2_000;

/** Takes pieces out of a finding's input as long as the same error comes of it. */
export async function reduce(fuzzer: TargetFuzzer, finding: Finding): Promise<Finding> {
  let best = finding;
  let left = MAX_EXECUTIONS;
  for (let size = best.input.length >> 1; size > 0 && left > 0; size >>= 1) {
    for (let at = 0; at + size <= best.input.length && left > 0; left--) {
      const shorter = Uint8Array.of(...best.input.subarray(0, at), ...best.input.subarray(at + size));
      const found = await fuzzer.execute(shorter);
      if (found !== undefined && firstLine(found) === firstLine(finding)) best = found;
      else at += size;
    }
  }
  return best;
}

function firstLine({ description }: Finding): string {
  return (description.split('\n')[0] as string).replace(/[0-9]+/g, '#');
}
