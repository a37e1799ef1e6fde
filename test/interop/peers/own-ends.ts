import { allValues } from '../axes.ts';
import type { Peer } from '../peer.ts';
import { echo } from '../talk.ts';

/** Our own other end, in the same process: own-ends.ts runs its cells. */
export const OWN_ENDS = 'own-ends';

export const ownEnds: Peer = {
  name: OWN_ENDS,
  title: 'our own two ends, Node',
  programs: ['node'],
  places: ['this-node'],
  version: { program: 'node', args: ['--version'], pattern: /^v(\S+)/m },
  ends: () => ({
    server: {
      groups: Object.fromEntries(allValues.group.map((name) => [name, name])),
      suites: allValues.suite,
      signatures: allValues.signature,
      features: allValues.feature,
      cannot: [],
      start: () => ({ program: 'node', args: [] }),
      talk: { ...echo(), keyUpdateTheirs: async () => {}, halfCloseTheirs: async () => {} },
    },
    client: 'both are ours: the row of the server',
  }),
};
