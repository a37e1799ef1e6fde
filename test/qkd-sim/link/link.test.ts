import { expect } from 'chai';
import { seededSource } from '../../../qkd-sim/kernel/random.ts';
import { AliceBlock } from '../../../qkd-sim/link/alice-block.ts';
import { exchangeTags } from '../../../qkd-sim/link/block-end.ts';
import type { Sifting } from '../../../qkd-sim/link/block-parameters.ts';
import { BobBlock } from '../../../qkd-sim/link/bob-block.ts';
import { EndAuthentication } from '../../../qkd-sim/link/end-authentication.ts';
import { type BlockResult, type LinkConfig, QkdLink } from '../../../qkd-sim/link/link.ts';
import { ClickBits } from '../../../qkd-sim/link/transmission.ts';
import { binaryEntropy } from '../../../qkd-sim/physics/binary-entropy.ts';
import { presets } from '../../../qkd-sim/physics/presets.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';

/** Small enough to be quick, large enough for key. */
const small: LinkConfig = { lengthKm: 10, blockSizeBits: 250_000, seed: 'link' };

/** All of a result but how long it took. */
function facts({ report: { durations: _, ...report }, aliceKey, bobKey }: BlockResult): unknown {
  return { report, aliceKey: aliceKey && hexOf(aliceKey), bobKey: bobKey && hexOf(bobKey) };
}

describe('QkdLink', () => {
  it('gives both ends the same key, and a report that adds up', async () => {
    const link = new QkdLink(small);
    const { report, aliceKey, bobKey } = await link.nextBlock();
    expect(hexOf(aliceKey!)).to.equal(hexOf(bobKey!));
    expect(report.aborted).to.equal(undefined);
    expect(report.siftedBits).to.equal(250_000);
    expect(report.qber, 'counted by Bob').to.equal(report.groundTruth.siftedErrors / 250_000);
    expect(report.leakBits).to.be.above(250_000 * binaryEntropy(report.qber));
    expect(report.finalKeyBits)
      .to.be.above(0)
      .and.below(250_000 - report.leakBits);
    expect(report.authBitsSpent).to.equal(256);
    expect(report.authReserveBits, 'refilled first').to.equal(8192);
    expect(report.deliveredBits).to.equal(8 * Math.floor((report.finalKeyBits - 256) / 8));
    expect(aliceKey!.length).to.equal(report.deliveredBits / 8);
    expect(report.linkSeconds).to.equal(report.pulses / 8e6);
    expect(report.skrBitsPerSecond).to.equal(report.finalKeyBits / report.linkSeconds);
    expect(report.groundTruth.eveKnowsBits).to.equal(0);
    const ones = aliceKey!.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);
    expect(ones / report.deliveredBits, 'looks random').to.be.within(0.48, 0.52);
  });

  it('repeats bit for bit with the same seed, and never without one', async () => {
    const blocksOf = async (config: LinkConfig, count: number) => {
      const link = new QkdLink(config);
      const blocks: unknown[] = [];
      while (blocks.length < count) blocks.push(facts(await link.nextBlock()));
      return blocks;
    };
    const first = await blocksOf(small, 2);
    expect(await blocksOf(small, 2)).to.deep.equal(first);
    expect(first[1]).to.not.deep.equal(first[0]);
    expect((await blocksOf({ ...small, seed: 'other' }, 1))[0]).to.not.deep.equal(first[0]);
    const unseeded: LinkConfig = { lengthKm: 10, blockSizeBits: 250_000 };
    expect(await blocksOf(unseeded, 1)).to.not.deep.equal(await blocksOf(unseeded, 1));
  });

  it('an eavesdropper on every pulse: 26% errors, stopped before a parity is disclosed', async () => {
    const link = new QkdLink({ ...small, eavesdropper: { interceptFraction: 1 } });
    const { report, aliceKey, bobKey } = await link.nextBlock();
    expect(report.aborted).to.equal('error-rate');
    expect(report.qber).to.be.within(0.25, 0.27);
    expect([report.leakBits, report.finalKeyBits, report.authBitsSpent]).to.deep.equal([0, 0, 0]);
    expect(report.groundTruth.eveKnows).to.be.within(0.49, 0.5);
    expect([aliceKey, bobKey]).to.deep.equal([undefined, undefined]);
  });

  it('one on 8% of the pulses: no key, stopped as soon as the parities cost more than there is', async () => {
    const link = new QkdLink({ ...small, eavesdropper: { interceptFraction: 0.08 } });
    const { report, aliceKey } = await link.nextBlock();
    expect(report.aborted).to.equal('leakage');
    expect(report.leakBits)
      .to.be.above(0)
      .and.below(250_000 * binaryEntropy(report.qber));
    expect(report.correctionEfficiency).to.equal(undefined);
    expect(aliceKey).to.equal(undefined);
  });

  it('one that comes in mid-block shows in that block, and is gone after it leaves', async () => {
    const link = new QkdLink(small);
    const hit = await link.nextBlock(({ fraction }) => link.setEavesdropper(fraction > 0.5 ? 1 : 0));
    expect(hit.report.aborted).to.equal('error-rate');
    expect(hit.report.checkQber).to.be.within(0.1, 0.18);
    expect(hit.report.groundTruth.eveKnows).to.be.within(0.2, 0.26);
    link.setEavesdropper(0);
    const clean = await link.nextBlock();
    expect(clean.report.qber).to.be.below(0.03);
    expect(clean.aliceKey).to.not.equal(undefined);
  });

  it('a block too small for any key ends without one, and says so', async () => {
    const { report } = await new QkdLink({ ...small, blockSizeBits: 20_000 }).nextBlock();
    expect(report.aborted).to.equal('error-rate');
    expect(report.finalKeyBits).to.equal(0);
  });

  it('without authentication key gives no key', async () => {
    const { report, aliceKey } = await new QkdLink({ ...small, authReserveBits: 128 }).nextBlock();
    expect(report.aborted).to.equal('auth-reserve');
    expect(report.authReserveBits).to.equal(128);
    expect(aliceKey).to.equal(undefined);
  });

  it('reports progress in order, with the error rate disclosed so far', async () => {
    const fractions: number[] = [];
    const stages = new Set<string>();
    let lastQber: number | undefined;
    await new QkdLink(small).nextBlock((progress) => {
      fractions.push(progress.fraction);
      stages.add(progress.stage);
      lastQber = progress.qber;
    });
    expect(fractions).to.deep.equal(fractions.slice().sort((a, b) => a - b));
    expect(fractions.at(-1)).to.equal(1);
    expect([...stages]).to.deep.equal(['transmission', 'correction', 'amplification']);
    expect(lastQber).to.be.within(0.01, 0.03);
  });

  it('runs one block at a time', async () => {
    const link = new QkdLink({ ...small, blockSizeBits: 20_000 });
    const running = link.nextBlock();
    const refused = await link.nextBlock().catch((error: Error) => error.message);
    expect(refused).to.match(/busy/);
    await running;
    await link.nextBlock();
  });

  it('refuses figures out of range', () => {
    const wrong: LinkConfig[] = [
      { lengthKm: -1 },
      { lengthKm: Number.NaN },
      { lengthKm: 10, blockSizeBits: 10 },
      { lengthKm: 10, blockSizeBits: 1e12 },
      { lengthKm: 10, blockSizeBits: 100_000.5 },
      { lengthKm: 10, eavesdropper: { interceptFraction: 1.1 } },
      { lengthKm: 10, epsilonSecrecy: 0 },
      { lengthKm: 10, authReserveBits: -1 },
      { lengthKm: 10, preset: 'toString' as never },
    ];
    for (const config of wrong) expect(() => new QkdLink(config), JSON.stringify(config)).to.throw(RangeError);
    expect(() => new QkdLink({ lengthKm: 10 }).setEavesdropper(2)).to.throw(RangeError);
  });
});

describe('the conversation of a block', () => {
  const preShared = new Uint8Array(seededSource('pre-shared')('').words(100).buffer);
  /** What Alice prepared in 500 gates that clicked; all of Bob's bases agree. */
  const aliceNotes = Uint8Array.from({ length: 500 }, (_, i) => i % 8);

  /** Two ends that have sifted, with `tamper` on Alice's message and `disturb` on Bob's bits. */
  function sift({
    tamper = (sifting: Sifting) => sifting,
    disturb = (note: number) => note,
    bobSecret = preShared,
  } = {}): { alice: AliceBlock; bob: BobBlock } {
    const parameters = { blockSizeBits: 250, source: presets.metro.source, security: presets.metro };
    const alice = new AliceBlock(
      parameters,
      new EndAuthentication('alice', preShared),
      seededSource('conversation')('alice'),
    );
    const bob = new BobBlock(parameters, new EndAuthentication('bob', bobSecret));
    const bobNotes = aliceNotes.map((note) => disturb(note & (ClickBits.value | ClickBits.check)));
    const detections = bob.announce(bobNotes, new Uint32Array(500).fill(90));
    const own = alice.sift(aliceNotes, detections);
    const checkBits = bob.sift(bobNotes, tamper(own));
    alice.receiveCheckBits(checkBits, { check: detections.check, own });
    return { alice, bob };
  }

  it('is accepted when both heard what the other said', () => {
    const { alice, bob } = sift();
    expect(exchangeTags(alice, bob)).to.equal(undefined);
  });

  it('is refused when one heard something else', () => {
    const flipped = (sifting: Sifting): Sifting => {
      const decoy = sifting.decoy.slice(0, sifting.decoy.length);
      decoy.flip(7);
      return { ...sifting, decoy };
    };
    const { alice, bob } = sift({ tamper: flipped });
    const [aliceTag, bobTag] = [alice.sendTag()!, bob.sendTag()!];
    expect([alice.receiveTag(bobTag), bob.receiveTag(aliceTag)]).to.deep.equal([true, false]);
    const again = sift({ tamper: flipped });
    expect(exchangeTags(again.alice, again.bob)).to.equal('authentication');
  });

  it('is refused when the pre-shared secrets differ', () => {
    const other = preShared.slice();
    other[40]! ^= 1;
    const { alice, bob } = sift({ bobSecret: other });
    expect(exchangeTags(alice, bob)).to.equal('authentication');
  });

  it('can not be authenticated without key for it', () => {
    const { alice, bob } = sift({ bobSecret: preShared.slice(0, 32 + 31) });
    expect(exchangeTags(alice, bob)).to.equal('auth-reserve');
  });

  it('ends at verification when the keys differ, in a single bit too', () => {
    const verify = ({ alice, bob }: { alice: AliceBlock; bob: BobBlock }) => {
      bob.receiveCorrectionStart(alice.startCorrection());
      return bob.verify(alice.verify());
    };
    expect(verify(sift())).to.deep.equal({ errors: [0, 0] });
    let first = true;
    const disturb = (note: number) => {
      if (!first) return note;
      first = false;
      return note ^ ClickBits.value;
    };
    expect(verify(sift({ disturb }))).to.equal(undefined);
  });
});
