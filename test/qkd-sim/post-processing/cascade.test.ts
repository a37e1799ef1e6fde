import { expect } from 'chai';
import fc from 'fast-check';
import { seededSource } from '../../../qkd-sim/kernel/random.ts';
import { binaryEntropy } from '../../../qkd-sim/physics/binary-entropy.ts';
import {
  CascadeCorrector,
  CascadePlan,
  CascadeResponder,
  type CascadeSchedule,
  type CorrectorOptions,
  frames,
  LINK_FRAME_BITS,
  linkSchedule,
  originalSchedule,
  yanSchedule,
} from '../../../qkd-sim/post-processing/cascade.ts';
import { PackedBits, wordsFor } from '../../../qkd-sim/post-processing/packed-bits.ts';

interface Frame {
  readonly alice: PackedBits;
  readonly bob: PackedBits;
  readonly errors: number;
}

/** Frames with independent errors, always the same for the same name. */
function frameSource(name: string, frameBits: number, qber: number) {
  const random = seededSource(name)('frames');
  return {
    next(): Frame & { seed: Uint32Array } {
      const alice = new PackedBits(frameBits, random.words(wordsFor(frameBits)));
      const bob = new PackedBits(frameBits, alice.words.slice());
      let errors = 0;
      for (let i = 0; i < frameBits; i++) {
        if (random.fraction() < qber) {
          bob.flip(i);
          errors++;
        }
      }
      return { alice, bob, errors, seed: random.words(4) };
    },
  };
}

function correct(frame: Frame, plan: CascadePlan, options?: CorrectorOptions) {
  const responder = new CascadeResponder(plan, frame.alice);
  let answers = 0;
  const corrector = new CascadeCorrector(
    plan,
    frame.bob,
    {
      openPass() {
        const parities = responder.openPass();
        answers += parities.length;
        return parities;
      },
      parity(pass, start, end) {
        answers++;
        return responder.parity(pass, start, end);
      },
    },
    options,
  );
  while (corrector.runPass());
  expect(responder.disclosedBits, 'every answer is counted').to.equal(answers);
  return { leakBits: answers, correctedBits: corrector.correctedBits };
}

/** Mean f = leak/(n·h(actual error rate)), and how many frames stayed different. */
function efficiency(schedule: CascadeSchedule, frameBits: number, qber: number, count: number, reuseParities: boolean) {
  const source = frameSource(`efficiency ${frameBits} ${qber}`, frameBits, qber);
  let [leak, errors, failures] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const frame = source.next();
    const plan = new CascadePlan(frameBits, schedule(frameBits, qber), frame.seed);
    leak += correct(frame, plan, { reuseParities }).leakBits;
    errors += frame.errors;
    if (frame.bob.words.some((word, w) => word !== frame.alice.words[w])) failures++;
  }
  const bits = count * frameBits;
  return { f: leak / (bits * binaryEntropy(errors / bits)), failures };
}

describe('Cascade', () => {
  // Published for 1e4 bits (Martinez-Mateo et al. 2015). One question at a time saves up to 0.02 of it.
  const published: [string, CascadeSchedule, number, number][] = [
    ['original', originalSchedule, 0.01, 1.143],
    ['original', originalSchedule, 0.02, 1.159],
    ['original', originalSchedule, 0.03, 1.174],
    ['original', originalSchedule, 0.05, 1.185],
    ['original', originalSchedule, 0.1, 1.209],
    ['Yan et al.', yanSchedule, 0.01, 1.095],
    ['Yan et al.', yanSchedule, 0.02, 1.084],
    ['Yan et al.', yanSchedule, 0.03, 1.078],
    ['Yan et al.', yanSchedule, 0.05, 1.077],
    ['Yan et al.', yanSchedule, 0.1, 1.093],
  ];
  for (const [name, schedule, qber, f] of published) {
    it(`${name}: leaks as published at ${100 * qber}%`, () => {
      expect(efficiency(schedule, 10_000, qber, 60, false).f).to.be.within(f - 0.03, f + 0.01);
    });
  }

  it('the schedule of the link leaks less than 1.045, and leaves no error behind', () => {
    for (const qber of [0.01, 0.02, 0.04]) {
      const { f, failures } = efficiency(linkSchedule, LINK_FRAME_BITS, qber, 8, true);
      expect(f, `${qber}`).to.be.within(1.02, 1.05);
      expect(failures).to.equal(0);
    }
  });

  it('never leaks less than Shannon allows', () => {
    for (const schedule of [originalSchedule, yanSchedule, linkSchedule]) {
      expect(efficiency(schedule, 10_000, 0.03, 20, true).f).to.be.above(1);
    }
  });

  it('corrects any few errors, whatever the frame length', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 3000 }),
        fc.array(fc.nat(2999), { maxLength: 12 }),
        fc.infiniteStream(fc.integer()),
        (frameBits, places, words) => {
          const next = () => words.next().value as number;
          const alice = new PackedBits(frameBits, Uint32Array.from({ length: wordsFor(frameBits) }, next));
          const bob = new PackedBits(frameBits, alice.words.slice());
          const wrong = new Set(places.filter((place) => place < frameBits));
          for (const place of wrong) bob.flip(place);
          const sizes = [8, 32, ...new Array<number>(20).fill(Math.ceil(frameBits / 2))];
          const plan = new CascadePlan(frameBits, sizes, Uint32Array.of(1, 2, 3, frameBits));
          const { correctedBits } = correct({ alice, bob, errors: wrong.size }, plan);
          expect(correctedBits).to.equal(wrong.size);
          expect([...bob.words]).to.deep.equal([...alice.words]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('asks only for the top blocks when there is nothing to correct', () => {
    const frame = frameSource('equal', 10_000, 0).next();
    const sizes = yanSchedule(10_000, 0.02);
    const { leakBits } = correct(frame, new CascadePlan(10_000, sizes, frame.seed));
    expect(leakBits).to.equal(sizes.reduce((sum, size) => sum + Math.ceil(10_000 / size), 0));
  });

  it('the shuffles are permutations, and their inverses undo them', () => {
    const plan = new CascadePlan(1000, [8, 16, 32], Uint32Array.of(5, 6, 7, 8));
    for (const [pass, order] of plan.order.entries()) {
      expect([...order].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 1000 }, (_, i) => i));
      for (let i = 0; i < 1000; i++) expect(plan.place[pass]![order[i]!]).to.equal(i);
    }
    expect([...plan.order[1]!]).to.not.deep.equal([...plan.order[2]!]);
  });

  it('cuts a key into frames without gap or overlap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_000_000 }), (keyBits) => {
        const cut = frames(keyBits);
        expect(cut[0]![0]).to.equal(0);
        expect(cut.at(-1)![1]).to.equal(keyBits);
        cut.forEach(([start, end], i) => {
          expect(start % 32).to.equal(0);
          expect(end).to.be.above(start);
          expect(end - start).to.be.at.most(LINK_FRAME_BITS);
          if (i > 0) expect(start).to.equal(cut[i - 1]![1]);
        });
      }),
    );
  });
});
