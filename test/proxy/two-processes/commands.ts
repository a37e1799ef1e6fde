/** What can happen to two sites, as fast-check commands: a failing run shrinks to the few steps that matter. */
import { expect } from 'chai';
import fc from 'fast-check';
import { KdiErrorCode } from '../../../kdi-client/index.ts';
import { type Places, World } from './world.ts';

type Model = Record<string, never>;

class Step implements fc.AsyncCommand<Model, World> {
  readonly #name: string;
  readonly #act: (world: World) => unknown;

  constructor(name: string, act: (world: World) => unknown) {
    this.#name = name;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(_model: Model, world: World): Promise<void> {
    await this.#act(world);
  }

  toString(): string {
    return this.#name;
  }
}

const side = fc.constantFrom('a' as const, 'b' as const);
const luck = fc.float({ min: 0, max: Math.fround(0.99), noNaN: true });
const often = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);

const STEPS: fc.Arbitrary<Step>[] = [
  ...often(4, fc.constant(new Step('take', (world) => world.take()))),
  ...often(
    4,
    fc
      .tuple(fc.nat(5), fc.constantFrom('complete' as const, 'unfinished' as const, 'lost-finish' as const))
      .map(([which, how]) => new Step(`finish ${which} ${how}`, (world) => world.finish(which, how))),
  ),
  ...often(6, fc.constant(new Step('handshake', (world) => world.handshake()))),
  ...often(
    4,
    fc.constantFrom(10, 500, 3_000, 31_000, 120_000).map((ms) => new Step(`${ms} ms`, (world) => world.pass(ms))),
  ),
  fc.constant(new Step('cut', (world) => world.cut())),
  ...often(2, fc.constant(new Step('dial', (world) => world.dial()))),
  ...often(
    2,
    fc.tuple(side, luck).map(([who, how]) => new Step(`crash ${who} ${how}`, (world) => world.crash(who, how))),
  ),
  side.map((who) => new Step(`restart ${who}`, (world) => world.restart(who))),
  ...often(
    2,
    fc
      .tuple(
        side,
        fc.constantFrom(
          ...often(6, undefined),
          KdiErrorCode.connect,
          KdiErrorCode.insufficientKey,
          KdiErrorCode.timeout,
          KdiErrorCode.malformed,
          KdiErrorCode.keyNotFound,
          KdiErrorCode.unauthorized,
        ),
        fc.boolean(),
      )
      .map(
        ([who, error, endsStream]) =>
          new Step(`${who} fails with ${error}${endsStream ? ', for good' : ''}`, ({ kmes }) => {
            kmes.fault[who] = error === undefined ? {} : { error, endsStream };
          }),
      ),
  ),
  fc
    .tuple(side, fc.boolean())
    .map(
      ([who, reuse]) =>
        new Step(`key manager ${who} forgets${reuse ? ', and begins again' : ''}`, ({ kmes }) =>
          kmes.forget(who, reuse),
        ),
    ),
  ...often(
    2,
    luck.map(
      (how) =>
        new Step(`power cut at both sites, key managers included ${how}`, async (world) => {
          // Afterwards old references come again, with new keys, and no process remembers any.
          for (const who of ['a', 'b'] as const) {
            world.kmes.forget(who, true);
            await world.crash(who, how);
          }
          await world.dial();
        }),
    ),
  ),
  fc.boolean().map(
    (disagree) =>
      new Step(`the key managers ${disagree ? 'disagree' : 'agree'}`, ({ kmes }) => {
        kmes.disagree = disagree;
      }),
  ),
];

export interface Runs {
  readonly numRuns: number;
  readonly maxCommands: number;
  /** Ledgers for one run, and what ends them. */
  places(): Promise<{ readonly places: Places; end(): Promise<void> }>;
}

/** Random interleavings, after each of which all heals by itself and nothing is left. */
export async function runTwoProcesses({ numRuns, maxCommands, places: newPlaces }: Runs): Promise<void> {
  let completed = 0;
  await fc.assert(
    fc.asyncProperty(fc.commands(STEPS, { maxCommands }), async (commands) => {
      const { places, end } = await newPlaces();
      const world = await World.start(places);
      try {
        await world.dial();
        await world.pass(1_000);
        await fc.asyncModelRun(() => ({ model: {}, real: world }), commands);
        await world.heal();
        completed += world.used;
      } finally {
        // Folders go also when something is found left.
        await world.end().finally(end);
      }
    }),
    { numRuns },
  );
  // Each run ends with one. Steps that lead to none would pass as well.
  if (numRuns >= 50) expect(completed, 'handshakes with a key').to.be.greaterThan(numRuns + 5);
}
