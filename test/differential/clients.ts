/** Both clients, asked about the same change of what a server says. */
import { type Asked, type Comparison, compare } from './compare.ts';
import { askOpensslClient } from './openssl-client.ts';
import { askOurClient } from './our-client.ts';
import { explain } from './server-flight-differences.ts';
import { changedServer } from './server-flights.ts';

async function askClients(number: number): Promise<Asked> {
  const { script, psk, changes } = changedServer(number);
  const ours = askOurClient(script, psk);
  return { ours, openssl: await askOpensslClient(changedServer(number).script, psk), what: changes };
}

export const compareClients = (first: number, count: number): Promise<Comparison> =>
  compare(first, count, askClients, explain);
