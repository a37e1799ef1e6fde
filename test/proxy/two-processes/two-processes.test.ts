import { runTwoProcesses } from './commands.ts';
import { filePlaces, MemoryPlace } from './torn-ledger.ts';

describe('proxy/key-service: two processes under any interleaving, crashes included', () => {
  it('no key is used twice or differs, nothing leaks, and all heals by itself', async function () {
    this.timeout(120_000);
    await runTwoProcesses({
      numRuns: 60,
      maxCommands: 30,
      places: async () => ({ places: { a: new MemoryPlace(), b: new MemoryPlace() }, end: async () => {} }),
    });
  });

  it('the same with ledgers in files, torn by each crash', async function () {
    this.timeout(120_000);
    await runTwoProcesses({ numRuns: 8, maxCommands: 30, places: filePlaces });
  });
});
