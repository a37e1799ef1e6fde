/**
 * Stryker's side of mocha 12, whose own runner for it stops at mocha 11. Test files are loaded once; a mutant is
 * then switched on by a variable, and only the tests that reach it run.
 */
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin';
import {
  type DryRunOptions,
  type DryRunResult,
  DryRunStatus,
  determineHitLimitReached,
  type MutantRunOptions,
  type MutantRunResult,
  MutantRunStatus,
  type TestResult,
  type TestRunner,
  type TestRunnerCapabilities,
  TestStatus,
  toMutantRunResult,
} from '@stryker-mutator/api/test-runner';
import Mocha from 'mocha';
import '../property-seed.ts';

/** What instrumented code reads and writes; the name is Stryker's default namespace. */
interface Instrumentation {
  activeMutant?: string | undefined;
  currentTestId?: string | undefined;
  hitCount?: number | undefined;
  hitLimit?: number | undefined;
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> };
}

const scope = globalThis as { __stryker__?: Instrumentation };

/** Set by the runner of the whole: which test files belong to the mutated one. */
export const SPEC_VARIABLE = 'QSTUNNEL_MUTATION_SPEC';
/** Set where mutants are wanted that run while modules are loaded. */
export const STATIC_VARIABLE = 'QSTUNNEL_MUTATION_STATIC';

class MochaRunner implements TestRunner {
  readonly #mocha = new Mocha({ timeout: 20_000, reporter: QuietReporter } as never);
  #loaded = false;

  constructor() {
    // For the next run of the same tests. As an option of the constructor it is not heard.
    this.#mocha.cleanReferencesAfterRun(false);
    this.#mocha.rootHooks({
      beforeEach(this: Mocha.Context) {
        instrumentation().currentTestId = this.currentTest?.fullTitle();
      },
    });
    for (const file of (process.env[SPEC_VARIABLE] ?? '').split(',')) this.#mocha.addFile(file);
  }

  capabilities(): TestRunnerCapabilities {
    // A module is loaded once in a process.
    return { reloadEnvironment: false };
  }

  async dryRun({ coverageAnalysis, disableBail }: DryRunOptions): Promise<DryRunResult> {
    const result = await this.#run(undefined, !disableBail);
    const { mutantCoverage } = instrumentation();
    instrumentation().mutantCoverage = { static: {}, perTest: {} };
    // A test that spoils something for the next time would kill whatever mutant comes then.
    const again = await this.#run(undefined, false);
    if (again.status === DryRunStatus.Complete) {
      const spoilt = again.tests.filter(({ status }) => status === TestStatus.Failed).map(({ name }) => name);
      if (spoilt.length > 0) {
        return { status: DryRunStatus.Error, errorMessage: `pass once, but not twice: ${spoilt.join(', ')}` };
      }
    }
    if (result.status !== DryRunStatus.Complete || coverageAnalysis === 'off' || !mutantCoverage) return result;
    // What tests reach as well needs no process of its own: that modules were loaded without the mutant is no matter.
    const { static: whileLoading, perTest } = mutantCoverage;
    if (process.env[STATIC_VARIABLE] === undefined) {
      for (const reached of Object.values(perTest)) for (const id of Object.keys(reached)) delete whileLoading[id];
    }
    return { ...result, mutantCoverage };
  }

  async mutantRun({
    activeMutant,
    mutantActivation,
    testFilter,
    hitLimit,
    disableBail,
  }: MutantRunOptions): Promise<MutantRunResult> {
    const state = instrumentation();
    state.hitCount = hitLimit === undefined ? undefined : 0;
    state.hitLimit = hitLimit;
    if (mutantActivation === 'static') state.activeMutant = activeMutant.id;
    else await this.#load();
    state.activeMutant = activeMutant.id;
    const result = await this.#run(testFilter, !disableBail);
    if (result.status === DryRunStatus.Error) {
      // Some tests compute while they are loaded, and so find a mutant even then.
      return {
        status: MutantRunStatus.Killed,
        killedBy: ['loading'],
        failureMessage: result.errorMessage,
        nrOfTests: 1,
      };
    }
    return toMutantRunResult(determineHitLimitReached(state.hitCount, hitLimit) ?? result);
  }

  async #load(): Promise<void> {
    if (this.#loaded) return;
    this.#loaded = true;
    await this.#mocha.loadFilesAsync();
  }

  async #run(testFilter: readonly string[] | undefined, bail: boolean): Promise<DryRunResult> {
    try {
      await this.#load();
    } catch (error) {
      return { status: DryRunStatus.Error, errorMessage: String((error as Error).stack ?? error) };
    }
    const { grep } = this.#mocha.options;
    bailEverywhere(this.#mocha.suite, bail);
    this.#mocha.grep(testFilter === undefined ? /(?:)/ : new RegExp(`^(?:${testFilter.map(escaped).join('|')})$`));
    QuietReporter.results = [];
    await new Promise<void>((resolve) => void this.#mocha.run(() => resolve()));
    this.#mocha.options.grep = grep as never;
    return { status: DryRunStatus.Complete, tests: QuietReporter.results };
  }
}

/** Mocha's reporters are classes made by it, so that results leave by a static field. */
class QuietReporter {
  static results: TestResult[] = [];

  constructor(runner: Mocha.Runner) {
    const of = (test: Mocha.Runnable) => ({
      id: test.fullTitle(),
      name: test.fullTitle(),
      timeSpentMs: test.duration ?? 0,
    });
    runner.on('pass', (test) => QuietReporter.results.push({ ...of(test), status: TestStatus.Success }));
    runner.on('pending', (test) => QuietReporter.results.push({ ...of(test), status: TestStatus.Skipped }));
    runner.on('fail', (test, error) =>
      QuietReporter.results.push({
        ...of(test),
        status: TestStatus.Failed,
        failureMessage: String(error?.stack ?? error),
      }),
    );
  }
}

function instrumentation(): Instrumentation {
  scope.__stryker__ ??= {};
  return scope.__stryker__;
}

/** A suite takes this over from the one that it stands in when it is made, so that later it has to be told itself. */
function bailEverywhere(suite: Mocha.Suite, bail: boolean): void {
  suite.bail(bail);
  for (const inner of suite.suites) bailEverywhere(inner, bail);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'mocha', MochaRunner as never)];
