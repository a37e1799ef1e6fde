import { expect } from 'chai';
import { EngineEvents } from '../../proxy/data-path/engine-events.ts';
import type { EngineEvent } from '../../tls-ext/index.ts';

/** An event that is known by its first byte, and by whether its memory went back. */
function write(name: number, released: number[] = []): EngineEvent {
  return { type: 'write', bytes: Uint8Array.of(name), release: () => released.push(name) };
}

const nameOf = (event: EngineEvent) => (event.type === 'write' ? event.bytes[0] : undefined);

describe('events of an engine', () => {
  it('what a handler causes comes behind what was there already', () => {
    const seen: unknown[] = [];
    const answers: boolean[] = [];
    const events: EngineEvents = new EngineEvents((event) => {
      seen.push(nameOf(event));
      if (nameOf(event) === 1) answers.push(events.handle([write(4), write(5)]));
    });
    answers.push(events.handle([write(1), write(2), write(3)]));
    expect(seen).to.deep.equal([1, 2, 3, 4, 5]);
    expect(answers, 'inner call, outer call').to.deep.equal([false, true]);
    expect(events.handling).to.equal(false);
  });

  it('dropped in the middle, the rest is not handled and its memory goes back', () => {
    const seen: unknown[] = [];
    const released: number[] = [];
    const events: EngineEvents = new EngineEvents((event) => {
      seen.push(nameOf(event));
      if (nameOf(event) === 2) events.drop();
    });
    events.handle([write(1, released), write(2, released), write(3, released), write(4, released)]);
    expect(seen).to.deep.equal([1, 2]);
    expect(released).to.deep.equal([3, 4]);
  });

  it('a handler that throws stops the rest, whose memory goes back when it is dropped', () => {
    const released: number[] = [];
    const events = new EngineEvents(() => {
      throw new Error('broken');
    });
    expect(() => events.handle([write(1, released), write(2, released)])).to.throw('broken');
    expect(events.handling).to.equal(false);
    events.drop();
    expect(released).to.deep.equal([2]);
  });
});
