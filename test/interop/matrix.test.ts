/** The part of the interoperation matrix that runs every day: every installed peer, both directions. `npm run interop` runs all. */
import { expect } from 'chai';
import { allValues, axisNames, describeChoice, featureDescriptions } from './axes.ts';
import { Credentials } from './credentials.ts';
import { findPeers, isFound } from './find-peers.ts';
import { cellsOf, leanCells, NO_REASON, reasonAgainst, roles } from './matrix.ts';
import { combinationsOf } from './pairwise.ts';
import { ownEnds } from './peers/own-ends.ts';
import type { Place } from './places.ts';
import { CellRunner, wayOf } from './run-cell.ts';

/** What is fetched is not for every day. */
const PLACES: readonly Place[] = ['installed', 'this-node', 'newest-node'];

const peers = findPeers(PLACES);
const found = peers.filter(isFound);
const cells = leanCells(found);

describe('interop: the matrix', () => {
  it('says of every value of every axis that a peer has it, or why it has not', () => {
    for (const { id, ends } of findPeers().filter(isFound)) {
      for (const role of roles) {
        for (const axis of axisNames) {
          for (const value of allValues[axis]) {
            expect(reasonAgainst(ends[role], axis, value), `${id} ${role} ${value}`).not.to.equal(NO_REASON);
          }
        }
      }
    }
  });

  it('has a way to talk with a peer for every feature that it is said to have', () => {
    for (const { id, ends } of findPeers().filter(isFound)) {
      for (const end of roles.map((role) => ends[role])) {
        if (typeof end === 'string') continue;
        for (const feature of end.features) {
          expect(wayOf(end.talk, feature), `${id}: ${featureDescriptions[feature]}`).to.be.a('function');
        }
      }
    }
  });

  it('runs every value with every peer, and every pair with some peer', () => {
    const pairs = (of: typeof cells) =>
      new Set(
        of
          .filter(({ peer }) => peer.peer !== ownEnds)
          .flatMap(({ role, choice }) => combinationsOf(choice, 2).map((pair) => `${role} ${pair}`)),
      );
    expect(pairs(cells)).to.deep.equal(pairs(found.flatMap((peer) => cellsOf(peer, 2))));
    for (const { id, ends } of found) {
      for (const role of roles) {
        const end = ends[role];
        if (typeof end === 'string') continue;
        const own = cells.filter((cell) => cell.peer.id === id && cell.role === role).map(({ choice }) => choice);
        expect(new Set(own.map(({ feature }) => feature))).to.deep.equal(new Set(end.features));
        expect(new Set(own.map(({ group }) => group))).to.deep.equal(new Set(Object.keys(end.groups)));
      }
    }
  });

  const absent = it.skip;
  for (const peer of peers) if (!isFound(peer)) absent(`${peer.id}: ${peer.missing}`);

  for (const { id, title } of found) {
    describe(title, () => {
      let credentials: Credentials;
      let runner: CellRunner;
      before(async () => {
        credentials = await Credentials.create();
        runner = await CellRunner.create(credentials);
      });
      after(async () => {
        await runner.close();
        credentials.remove();
      });
      for (const cell of cells.filter(({ peer }) => peer.id === id)) {
        it(`${cell.role}: ${describeChoice(cell.choice)}`, () => runner.run(cell));
      }
    });
  }
});
