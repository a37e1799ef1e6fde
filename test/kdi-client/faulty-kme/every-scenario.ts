import { runScenario } from './run-scenario.ts';
import { OPENING_SCENARIOS, type Scenario, SPOKEN_SCENARIOS, WIRE_SCENARIOS } from './scenarios.ts';

/** APIs, with the dialects of 004. */
export const VARIANTS = [
  ['etsi004', ''],
  ['etsi004', '?dialect=qubip'],
  ['etsi014', ''],
  ['skip', ''],
] as const;

/** Declares a test for each scenario that is `wanted`, for each API and side. */
export function declareScenarios(wanted: (scenario: Scenario) => boolean): void {
  for (const [api, query] of VARIANTS) {
    for (const side of ['a', 'b'] as const) {
      const applies = ({ apis, sides = ['a', 'b'] }: Scenario): boolean =>
        (apis?.includes(api) ?? true) && sides.includes(side);
      const select = (scenarios: readonly Scenario[]): Scenario[] => scenarios.filter(applies).filter(wanted);
      describe(`${api}${query}, the ${side === 'a' ? "drawer's" : "answerer's"}`, () => {
        for (const scenario of select([...WIRE_SCENARIOS, ...SPOKEN_SCENARIOS])) {
          it(scenario.name, () => runScenario({ api, query }, side, scenario));
        }
        // An answerer of 014 or SKIP opens nothing.
        for (const scenario of api === 'etsi004' || side === 'a' ? select(OPENING_SCENARIOS) : []) {
          it(`${scenario.name} from the start`, () => runScenario({ api, query }, side, scenario));
        }
      });
    }
  }
}
