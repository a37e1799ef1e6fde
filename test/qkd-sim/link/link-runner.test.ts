import { expect } from 'chai';
import type { Clock } from '../../../qkd-sim/kernel/clock.ts';
import { QkdLink } from '../../../qkd-sim/link/link.ts';
import { type LinkEvent, LinkRunner, type LinkRunnerOptions } from '../../../qkd-sim/link/link-runner.ts';
import type { LinkConfig } from '../../../qkd-sim/link/link-types.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';

const config: LinkConfig = { lengthKm: 10, blockSizeBits: 250_000, seed: 'runner' };
/** Blocks that end quickly, without key. */
const tiny: LinkConfig = { ...config, blockSizeBits: 30_000 };

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

/** A clock that stands still; the runner sets one timer at a time, and a test fires it. */
class HeldClock implements Clock {
  ms = 0;
  timer: Timer | undefined;
  #onTimer: ((timer: Timer) => void) | undefined;

  nowMs(): number {
    return this.ms;
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.ms + delayMs, callback };
    this.timer = timer;
    this.#onTimer?.(timer);
    this.#onTimer = undefined;
    return () => {
      if (this.timer === timer) this.timer = undefined;
    };
  }

  /** The timer that is set, or the next one. */
  async next(): Promise<Timer> {
    return this.timer ?? new Promise((resolve) => (this.#onTimer = resolve));
  }

  /** Waits for a timer, goes to its time and fires it. */
  async fire(): Promise<void> {
    const timer = await this.next();
    this.timer = undefined;
    this.ms = timer.atMs;
    timer.callback();
  }
}

/** Collects events, and waits for one. */
class Events {
  readonly all: LinkEvent[] = [];
  readonly #waiting: {
    type: LinkEvent['type'];
    resolve: (event: LinkEvent) => void;
    reject: (error: Error) => void;
  }[] = [];

  readonly listen = (event: LinkEvent): void => {
    this.all.push(event);
    if (event.type === 'failed') for (const { reject } of this.#waiting) reject(event.error);
    for (const [i, { type, resolve }] of this.#waiting.entries()) {
      if (type !== event.type) continue;
      this.#waiting.splice(i, 1);
      resolve(event);
      return;
    }
  };

  next<T extends LinkEvent['type']>(type: T): Promise<Extract<LinkEvent, { type: T }>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ type, resolve: resolve as (event: LinkEvent) => void, reject });
    });
  }
}

describe('LinkRunner', () => {
  let runner: LinkRunner | undefined;
  let events: Events;

  beforeEach(() => {
    events = new Events();
  });
  afterEach(async () => {
    await runner?.stop();
    runner = undefined;
  });

  async function start(link: LinkConfig, options: Partial<LinkRunnerOptions> = {}): Promise<LinkRunner> {
    runner = new LinkRunner(link, { onEvent: events.listen, ...options });
    await runner.start();
    return runner;
  }

  it('gives the same block as the link itself', async () => {
    const link = new QkdLink(config);
    await start(config);
    const block = await events.next('block');
    const expected = await link.nextBlock();
    expect(hexOf(block.aliceKey!)).to.equal(hexOf(expected.aliceKey!));
    expect(hexOf(block.bobKey!)).to.equal(hexOf(expected.bobKey!));
    expect(events.all.some(({ type }) => type === 'progress')).to.equal(true);
  });

  it('delivers when the virtual clock has come as far as the link', async () => {
    const clock = new HeldClock();
    await start(config, { clock, speed: 4 });
    for (let i = 0; i < 4; i++) {
      const { atMs } = await clock.next();
      expect(events.all.length, 'nothing before its time').to.equal(i);
      await clock.fire();
      const event = events.all[i]!;
      expect(event.type).to.equal('progress');
      if (event.type === 'progress') expect(atMs).to.be.closeTo((1000 * event.progress.linkSeconds) / 4, 1e-6);
    }
  });

  it('changes pace from now on', async () => {
    const clock = new HeldClock();
    const started = await start(tiny, { clock, speed: 1 });
    await clock.fire();
    await clock.next();
    clock.ms += 100;
    started.setSpeed(10);
    expect((await clock.next()).atMs).to.be.closeTo(clock.ms + 50, 1e-6);
    started.setSpeed(Number.POSITIVE_INFINITY);
    await events.next('block');
    expect(clock.timer).to.equal(undefined);
  });

  it('an eavesdropper takes effect within the block', async () => {
    const clock = new HeldClock();
    const started = await start(tiny, { clock, speed: 1 });
    await clock.fire();
    started.setEavesdropper(1);
    started.setSpeed(Number.POSITIVE_INFINITY);
    const { report } = await events.next('block');
    expect(report.groundTruth.eveKnows).to.be.within(0.2, 0.499);
    expect(report.checkQber).to.be.above(0.1);
  });

  it('a cut stops everything, a heal goes on where it was', async () => {
    const clock = new HeldClock();
    const started = await start(tiny, { clock, speed: 1 });
    await clock.fire();
    await clock.next();
    started.cut();
    started.cut();
    expect(clock.timer).to.equal(undefined);
    clock.ms += 1_000_000;
    started.heal();
    expect((await clock.next()).atMs).to.be.closeTo(clock.ms + 500, 1e-6);
    await clock.fire();
    expect(events.all.map(({ type }) => type)).to.deep.equal(['progress', 'cut', 'healed', 'progress']);
  });

  it('a cut before the first pulse holds the link until it is healed', async () => {
    runner = new LinkRunner(tiny, { onEvent: events.listen });
    runner.cut();
    await runner.start();
    const block = events.next('block');
    runner.heal();
    await block;
    expect(events.all.slice(0, 3).map(({ type }) => type)).to.deep.equal(['cut', 'healed', 'progress']);
  });

  it('goes idle after the blocks asked for', async () => {
    await start(tiny, { blocks: 2 });
    await events.next('block');
    const second = await events.next('block');
    const count = events.all.length;
    await runner!.stop();
    expect(second.report.block).to.equal(1);
    expect(events.all.length).to.equal(count);
  });

  it('stops at any moment, once and for all, and leaves no timer', async () => {
    const clock = new HeldClock();
    const started = await start(tiny, { clock, speed: 1 });
    await clock.next();
    await Promise.all([started.stop(), started.stop()]);
    expect(clock.timer).to.equal(undefined);
    started.setEavesdropper(0.5);
    started.setSpeed(2);
    started.cut();
    started.heal();
    expect(events.all).to.deep.equal([]);
    expect(await started.start().catch((error: Error) => error.message)).to.match(/once/);
  });

  it('stops without having been started', async () => {
    await new LinkRunner(tiny, { onEvent: events.listen }).stop();
    expect(events.all).to.deep.equal([]);
  });

  it('refuses figures out of range', () => {
    const onEvent = events.listen;
    expect(() => new LinkRunner({ lengthKm: -1 }, { onEvent })).to.throw(RangeError);
    expect(() => new LinkRunner(tiny, { onEvent, speed: 0 })).to.throw(RangeError);
    expect(() => new LinkRunner(tiny, { onEvent }).setEavesdropper(-0.1)).to.throw(RangeError);
  });
});
