/** Both servers, asked about the same ClientHello. */

import { explain } from './client-hello-differences.ts';
import { changedHello } from './client-hellos.ts';
import { type Asked, type Comparison, compare } from './compare.ts';
import { askOpenssl } from './openssl-server.ts';
import { askOurs } from './our-server.ts';
import { outcomeOf } from './outcome.ts';

async function askServers(number: number): Promise<Asked> {
  const hello = changedHello(number);
  const [ours, openssl] = [askOurs(hello), await askOpenssl(hello)];
  return {
    ours: { outcome: outcomeOf(ours.bytes), reason: ours.reason },
    openssl: { outcome: outcomeOf(openssl.bytes), reason: openssl.reason },
  };
}

export const compareServers = (first: number, count: number): Promise<Comparison> =>
  compare(first, count, askServers, explain);
