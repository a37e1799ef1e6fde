import { runTwoProcesses } from './commands.ts';
import { filePlaces, MemoryPlace } from './torn-ledger.ts';

describe('proxy/key-service: two processes, for longer', () => {
  it('with ledgers in memory', () =>
    runTwoProcesses({
      numRuns: 400,
      maxCommands: 60,
      places: async () => ({ places: { a: new MemoryPlace(), b: new MemoryPlace() }, end: async () => {} }),
    }));

  it('with ledgers in files, torn by each crash', () =>
    runTwoProcesses({ numRuns: 100, maxCommands: 60, places: filePlaces }));
});
