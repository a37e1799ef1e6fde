/** Mutants that no test can or need kill, each with its reason. An entry that matches nothing is an error: it has outlived its line. */
import { bothRoles } from './explained-both-roles.ts';
import { client } from './explained-client.ts';
import { endpoint } from './explained-endpoint.ts';
import { kdiClient } from './explained-kdi-client.ts';
import { keyChannel } from './explained-key-channel.ts';
import { records } from './explained-records.ts';
import { server } from './explained-server.ts';

export interface Explained {
  readonly file: string;
  /** The mutated line as it stands in the source, without its indentation. */
  readonly line: string;
  /** What the mutator made of it; absent: whatever it made of this line. */
  readonly replacement?: string;
  readonly why: string;
}

export const explained: readonly Explained[] = [
  ...records,
  ...server,
  ...client,
  ...bothRoles,
  ...endpoint,
  ...keyChannel,
  ...kdiClient,
];
