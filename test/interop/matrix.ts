/** The cells of the matrix: which choices are run with which peer, and why others are not. */
import { type Axis, type AxisValues, type Choice, isPossible, NO_SIGNATURE } from './axes.ts';
import type { FoundPeer } from './find-peers.ts';
import { combinationsOf, covering, coveringArray, product } from './pairwise.ts';
import type { PeerEnd, Role } from './peer.ts';
import { OWN_ENDS } from './peers/own-ends.ts';
import type { Cell } from './run-cell.ts';

export const roles: readonly Role[] = ['server', 'client'];

/** How many axes' values are combined in all ways with each peer; `product`: all of them. */
export type Strength = 2 | 'product';

/** What is run with one end of a peer. */
export function choicesOf(end: PeerEnd, strength: Strength): readonly Choice[] {
  const choices = product<Choice>(axesOf(end), (choice) => isPossible(choice) && end.excludes?.(choice) === undefined);
  return strength === 'product' ? choices : coveringArray(choices, strength);
}

function axesOf(end: PeerEnd): AxisValues {
  return {
    group: Object.keys(end.groups),
    suite: end.suites,
    signature: [NO_SIGNATURE, ...end.signatures],
    feature: end.features,
  };
}

export function cellsOf(peer: FoundPeer, strength: Strength): readonly Cell[] {
  return roles.flatMap((role) => {
    const end = peer.ends[role];
    return typeof end === 'string' ? [] : choicesOf(end, strength).map((choice) => ({ peer, role, choice }));
  });
}

/** A selection for every day: each value with each peer in each role, and each pair of values in each role with some peer. */
export function leanCells(peers: readonly FoundPeer[]): readonly Cell[] {
  const all = peers.flatMap((peer) => cellsOf(peer, 2));
  const chosen = covering(all, ({ peer, role, choice }) => [
    ...combinationsOf(choice, 1).map((value) => `${peer.id} ${role} ${value}`),
    // What our own ends do with each other says nothing of others.
    ...combinationsOf(choice, 2).map((pair) => `${peer.peer.name === OWN_ENDS ? OWN_ENDS : ''} ${role} ${pair}`),
  ]);
  // In the order of the peers, whose servers are kept for one peer at a time.
  return all.filter((cell) => chosen.includes(cell));
}

/** Why a peer's end doesn't do a value; `undefined` if it does. */
export function reasonAgainst(end: PeerEnd | string, axis: Axis, value: string): string | undefined {
  if (typeof end === 'string') return end;
  const values: Readonly<Record<Axis, readonly string[]>> = {
    group: Object.keys(end.groups),
    suite: end.suites,
    signature: end.signatures,
    feature: end.features,
  };
  if (values[axis].includes(value)) return undefined;
  return end.cannot.find(([these]) => these.includes(value))?.[1] ?? NO_REASON;
}

/** What a peer doesn't combine, and why. */
export function exclusionsOf({ peer, ends }: FoundPeer): string[] {
  const found = new Set<string>();
  for (const role of roles) {
    const end = ends[role];
    if (typeof end === 'string' || end.excludes === undefined) continue;
    for (const choice of product<Choice>(axesOf(end), isPossible)) {
      const reason = end.excludes(choice);
      if (reason !== undefined) found.add(`${peer.title} as ${role}: ${reason}`);
    }
  }
  return [...found];
}

/** What no cell may say: a test looks. */
export const NO_REASON = 'no reason given';
