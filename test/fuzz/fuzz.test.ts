import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Scenario } from '../tls-ext/misbehaving/handshakes.ts';
import { TargetFuzzer } from './fuzz.ts';
import { MAX_INPUT_BYTES } from './mutate.ts';
import { targets as planted } from './planted.ts';
import { decodeProgram, encodeProgram, operation } from './program.ts';
import { useScratchFolder } from './scratch.ts';
import { FuzzSession } from './session.ts';
import type { Finding, Target } from './target.ts';
import { Act } from './targets/engine-program.ts';
import { runEngine, scenarios } from './targets/engines.ts';
import { targets } from './targets/index.ts';

/** On a busy machine a thread may stand still for a while without being at fault. */
const HANG_MS = 5_000;
const MAX_SEEDS = 40;
const CHANGES = 60;

const named = (name: string) => planted.find((target) => target.name === name) as Target;

async function fuzz(target: Target, executions: number, keptMemory = false): Promise<Finding | undefined> {
  const fuzzer = new TargetFuzzer(target, 7);
  return fuzzer.run(() => fuzzer.executions < executions, keptMemory);
}

describe('the fuzzer', () => {
  it('finds a planted bug, and the same input again with the same seed', async () => {
    const once = await fuzz(named('out-of-bounds'), 20_000);
    const again = await fuzz(named('out-of-bounds'), 20_000);
    expect(once?.description).to.match(/^RangeError: out of bounds/);
    expect(again?.input).to.deep.equal(once?.input);
  });

  it('gets to a bug behind three steps, since an input with a new outcome is kept', async () => {
    expect((await fuzz(named('behind-outcomes'), 200_000))?.description).to.match(/^Error: reached/);
    const forgetful = {
      ...named('behind-outcomes'),
      run: (input: Uint8Array) => void named('behind-outcomes').run(input),
    };
    expect(await fuzz(forgetful as unknown as Target, 20_000)).to.equal(undefined);
  });

  it('finds an allocation that no input is worth, and memory that is kept', async () => {
    expect((await fuzz(named('promised-length'), 5_000))?.description).to.match(/^one execution allocates/);
    expect((await fuzz(named('keeps-everything'), 2_000, true))?.description).to.match(/are kept after/);
  });

  it('makes no input longer than its bound, whatever a target does to its own', async () => {
    let longest = 0;
    const growing: Target = {
      name: 'growing',
      seeds: () => [Uint8Array.of(1)],
      mutate: (base) => Uint8Array.from({ length: 3 * base.length }, (_, i) => i),
      run: (input) => {
        longest = Math.max(longest, input.length);
        // A new outcome each time, so that it is kept.
        return 'x'.repeat(input.length % 199);
      },
    };
    expect(await fuzz(growing, 2_000)).to.equal(undefined);
    expect(longest).to.be.within(MAX_INPUT_BYTES / 3, MAX_INPUT_BYTES);
  });

  it('runs a single input that is larger than all it would keep', async () => {
    const fuzzer = new TargetFuzzer(named('sound'), 7);
    expect(await fuzzer.execute(new Uint8Array(8 * 2 ** 20))).to.equal(undefined);
  });

  it('reports nothing where nothing is wrong', async () => {
    expect(await fuzz(named('sound'), 5_000)).to.equal(undefined);
  });

  it('a thread that hangs or runs out of memory is ended, and its input is known; the others go on', async function () {
    this.timeout(120_000);
    const names = ['endless', 'heap', 'never-answers', 'out-of-bounds'];
    const session = new FuzzSession({
      targetsModule: new URL('./planted.ts', import.meta.url).href,
      targets: planted,
      chosen: names.map((name) => planted.indexOf(named(name))),
      seed: 1,
      hangMs: HANG_MS,
      maxHeapMiB: 32,
    });
    try {
      await session.run(60);
      const found = session.reports.map(({ finding }) => finding);
      expect(found.map((finding) => finding?.target)).to.deep.equal(names);
      expect(found.map((finding) => finding?.kind)).to.deep.equal(['hang', 'memory', 'hang', 'exception']);
      for (const finding of found) expect(finding?.input.length).to.be.greaterThan(1);
    } finally {
      await session.close();
    }
  });

  it('says what it found and how to see it again, and exits with 1; with 0 where nothing is found', async function () {
    this.timeout(60_000);
    const scratch = await mkdtemp(join(tmpdir(), 'qstunnel-fuzz-test-'));
    try {
      const found = await run(scratch, '--target', 'out-of-bounds', '--time', '30');
      expect(found.status).to.equal(1);
      expect(found.lines.at(-1)).to.match(/^\d+ executions, 1 targets, 1 findings$/);
      const file = /--input (\S+)/.exec(found.lines.join('\n'))?.[1] as string;
      const again = await run(scratch, '--target', 'out-of-bounds', '--input', file);
      expect(again.status).to.equal(1);
      expect(again.lines.at(-1)).to.equal('1 executions, 1 targets, 1 findings');
      const sound = await run(scratch, '--target', 'sound', '--time', '1');
      expect(sound.status).to.equal(0);
      expect(sound.lines.at(-1)).to.match(/^\d+ executions, 1 targets, 0 findings$/);
    } finally {
      await rm(scratch, { recursive: true });
    }
  });

  it('takes any bytes for a program, and a program for its bytes', () => {
    const program = [operation(1, 2, 3, 4), operation(5, 6)];
    expect(decodeProgram(encodeProgram(program))).to.deep.equal(program);
    expect(decodeProgram(Uint8Array.of(1, 2, 255, 255, 9))).to.deep.equal([operation(1, 2, 9)]);
  });
});

describe('targets of the fuzzer', () => {
  let scratch: string;

  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'qstunnel-fuzz-test-'));
    useScratchFolder(scratch);
  });

  after(() => rm(scratch, { recursive: true }));

  it('have names of their own', () => {
    expect(new Set(targets.map(({ name }) => name)).size).to.equal(targets.length);
  });

  for (const target of targets) {
    it(`${target.name}: its seeds and some changes of them are handled`, async () => {
      const all = target.seeds();
      const stride = Math.ceil(all.length / MAX_SEEDS);
      const few = { ...target, seeds: () => all.filter((_, i) => i % stride === 0) };
      const finding = await fuzz(few, few.seeds().length + CHANGES);
      expect(finding?.description).to.equal(undefined);
    });
  }

  it('engines: the handshake that nobody changes is complete', async () => {
    for (const target of targets.filter(({ name }) => /-engine-(?!bytes)/.test(name))) {
      expect(await target.run(encodeProgram([])), target.name).to.equal('complete');
    }
  });

  it('engines: rekeys end as they should where nobody changes them, so that changes get far', () => {
    for (const role of ['client', 'server'] as const) {
      for (const name of ['rekey', 'rekey-refused', 'ticket']) {
        const ends = [0, 1, 33, 49, 65].map((key) => {
          const program = [operation(role === 'client' ? Act.rekey : Act.request, key), operation(Act.lateKey, 0)];
          let end: string | undefined;
          runEngine(role, scenarios[name] as Scenario, program, ({ events }) => {
            const last = events.filter(({ type }) => type === 'rekeyed' || type === 'rekey-refused').at(-1);
            end = last?.type === 'rekeyed' ? last.status : last?.type;
          });
          return end;
        });
        const missing = role === 'server' ? 'rekey-refused' : 'used';
        expect(ends, `${role} ${name}`).to.deep.equal(['without_key', 'used', missing, 'used', 'rekey-refused']);
      }
    }
  });

  it('engines: what was recorded is accepted, to the end of the transport that follows', async () => {
    for (const target of targets.filter(({ name }) => name.endsWith('-engine-bytes'))) {
      const [certificates] = target.seeds();
      expect(await target.run(certificates as Uint8Array), target.name).to.match(/ended without close_notify/);
    }
  });
});

/** `npm run fuzz` with the planted bugs, what it writes going to `scratch`. */
async function run(scratch: string, ...options: string[]): Promise<{ status: number; lines: string[] }> {
  const script = fileURLToPath(new URL('./run.ts', import.meta.url));
  const module = fileURLToPath(new URL('./planted.ts', import.meta.url));
  const parameters = ['--import', 'tsx', script, '--targets', module, ...options];
  return new Promise((resolve) => {
    execFile(process.execPath, parameters, { env: { ...process.env, TMPDIR: scratch } }, (error, stdout) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, lines: stdout.trim().split('\n') });
    });
  });
}
