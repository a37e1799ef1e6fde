import { expect } from 'chai';
import { systemClock } from '../../kdi-client/index.ts';

describe("kdi-client/clock: the process's clock", () => {
  it('a delay beyond the longest timer of the runtime does not run out at once, and can be undone', async () => {
    const run: string[] = [];
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const cancels = [2 ** 31, 2 ** 32 + 1_000, 2 ** 40].map((delayMs) =>
      systemClock.schedule(() => run.push('long'), delayMs),
    );
    await new Promise<void>((resolve) => {
      systemClock.schedule(resolve, 20);
    });
    for (const cancel of cancels) cancel();
    process.off('warning', onWarning);
    expect(run).to.deep.equal([]);
    expect(warnings).to.deep.equal([]);
  });

  it('waits for the rest of it then', () => {
    const { setTimeout: real } = globalThis;
    const waits: number[] = [];
    let runs = 0;
    globalThis.setTimeout = ((callback: () => void, delayMs: number) => {
      waits.push(delayMs);
      callback();
    }) as never;
    try {
      systemClock.schedule(() => runs++, 2 ** 32 + 1_000);
    } finally {
      globalThis.setTimeout = real;
    }
    expect(waits).to.deep.equal([2 ** 31 - 1, 2 ** 31 - 1, 1_002]);
    expect(runs).to.equal(1);
  });
});
