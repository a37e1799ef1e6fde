/** A handshake is the same however its messages are laid into records, and its records into chunks. */
import { expect } from 'chai';
import { concatBytes } from '../../../tls-ext/bytes/index.ts';
import { type Chunks, clientScript, exchangeData, runAgainst, type Scenario, serverScript } from './handshakes.ts';
import type { Role } from './scripted-peer.ts';
import { both, type Edit, framed, nothing } from './scripts.ts';

const HANDSHAKE = 22;
const scenarios: readonly (readonly [string, Scenario])[] = [
  ['with certificates both ways', { mutual: true }],
  ['with HelloRetryRequest and a QKD key', { retry: true, psk: 'beside-certificates' }],
];

/** Messages of the peer, in flights of one epoch each. */
function flightsOf(role: Role, scenario: Scenario): string[][] {
  const flights: string[][] = [[]];
  for (const step of role === 'client' ? serverScript(scenario) : clientScript(scenario)) {
    if (step.kind === 'send') flights.at(-1)?.push(step.name);
    else flights.push([]);
  }
  return flights.filter((flight) => flight.length > 0);
}

/** These messages, one after the other in the script, go out together, cut into records as `cut` says. */
function together(names: readonly string[], cut: (flight: Uint8Array) => readonly Uint8Array[]): Edit {
  let held: Uint8Array[] = [];
  const frames = names.map((name, i) =>
    framed(name, (message, peer) => {
      held.push(message);
      if (i < names.length - 1) return;
      for (const piece of cut(concatBytes(...held))) peer.record(HANDSHAKE, piece);
      held = [];
    }),
  );
  return both(...frames);
}

const whole = (bytes: Uint8Array) => [bytes];
const oneByOne = (bytes: Uint8Array) => Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
const oneChunk: Chunks = (records) => (records.length === 0 ? [] : [concatBytes(...records)]);

/** mulberry32: the same partitions in every run. */
function seeded(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

function partition(bytes: Uint8Array, draw: (bound: number) => number): Uint8Array[] {
  const longest = [1, 3, 17, 90, 400][draw(5)] as number;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + draw(longest);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

function expectHandshake(role: Role, scenario: Scenario, edit: Edit, chunks?: Chunks): void {
  const outcome = runAgainst(role, scenario, edit, chunks);
  expect(outcome.side.error, outcome.side.error?.message).to.equal(undefined);
  expect(outcome.side.summary, 'the engine finished').not.to.equal(undefined);
  expect(exchangeData(outcome)).to.deep.equal({ toPeer: [1, 2, 3], toEngine: [4, 5, 6] });
}

for (const role of ['client', 'server'] as const) {
  for (const [name, scenario] of scenarios) {
    describe(`what a ${role} is told, ${name}`, () => {
      const flights = flightsOf(role, scenario);

      for (const message of flights.flat()) {
        it(`${message}, cut into two records at every byte`, () => {
          for (let at = 1, end = 2; at < end; at++) {
            const edit = framed(message, (bytes, peer) => {
              end = bytes.length;
              // Signatures of ECDSA differ in length from run to run.
              const cut = Math.min(at, end - 1);
              peer.record(HANDSHAKE, bytes.subarray(0, cut));
              peer.record(HANDSHAKE, bytes.subarray(cut));
            });
            expectHandshake(role, scenario, edit);
          }
        });

        it(`${message}, a record for each byte`, () => {
          expectHandshake(role, scenario, together([message], oneByOne));
        });
      }

      it('each two adjacent messages of a flight in one record', () => {
        for (const flight of flights) {
          for (let i = 1; i < flight.length; i++) {
            expectHandshake(role, scenario, together(flight.slice(i - 1, i + 1), whole));
          }
        }
      });

      it('each flight in one record, all of them in one chunk', () => {
        expectHandshake(role, scenario, both(...flights.map((flight) => together(flight, whole))), oneChunk);
      });

      it('a chunk for each byte', () => {
        expectHandshake(role, scenario, nothing, (records) => records.flatMap(oneByOne));
      });

      it('250 partitions into records and chunks', () => {
        for (let seed = 0; seed < 250; seed++) {
          const draw = seeded(seed);
          const edit = both(...flights.map((flight) => together(flight, (bytes) => partition(bytes, draw))));
          expectHandshake(role, scenario, edit, (records) => oneChunk(records).flatMap((all) => partition(all, draw)));
        }
      });
    });
  }
}
