import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { systemClock } from '../kernel/clock.ts';
import { type RandomSource, type RandomStream, seededSource, systemSource } from '../kernel/random.ts';
import { binaryEntropy } from '../physics/binary-entropy.ts';
import { type LinkPreset, presets } from '../physics/presets.ts';
import { HASH_KEY_BYTES } from '../post-processing/authentication.ts';
import { AliceBlock } from './alice-block.ts';
import { exchangeTags } from './block-end.ts';
import { type BlockParameters, bestPossibleLength } from './block-parameters.ts';
import { BobBlock } from './bob-block.ts';
import { BLOCK_AUTH_BITS, EndAuthentication } from './end-authentication.ts';
import {
  BlockAbortReason,
  type BlockProgress,
  type BlockReport,
  type BlockResult,
  type LinkConfig,
  type StageDurations,
} from './link-types.ts';
import { Transmission } from './transmission.ts';

export * from './link-types.ts';

/** Link time between two turns of the event loop, and so the longest delay of a change from outside. */
const STRETCH_SECONDS = 0.5;
const DEFAULT_AUTH_RESERVE_BITS = 8192;
/** Bounds the arrays of a block: about 100 MB. */
const MAX_BLOCK_SIZE_BITS = 2 ** 25;
const MIN_BLOCK_SIZE_BITS = 1000;
const MIN_EPSILON = 1e-30;
const MAX_AUTH_RESERVE_BITS = 2 ** 24;

type Progress = (progress: BlockProgress) => void | Promise<void>;
type Stage = keyof StageDurations;

/** One QKD link: source, fibre, detectors, perhaps an eavesdropper, and the post-processing of both ends. */
export class QkdLink {
  readonly parameters: BlockParameters;
  readonly #preset: LinkPreset;
  readonly #transmission: Transmission;
  readonly #aliceSeeds: RandomStream;
  readonly #aliceAuthentication: EndAuthentication;
  readonly #bobAuthentication: EndAuthentication;
  readonly #nowMs: () => number;
  #block = 0;
  #gates = 0;
  #busy = false;

  /** `nowMs` measures the durations of stages, nothing else. Throws `RangeError` on a figure out of range. */
  constructor(config: LinkConfig, nowMs: () => number = systemClock.nowMs) {
    expectLinkConfig(config);
    const preset: LinkPreset = presets[config.preset ?? 'metro'];
    const reserveBits = config.authReserveBits ?? DEFAULT_AUTH_RESERVE_BITS;
    this.#preset = preset;
    this.#nowMs = nowMs;
    this.parameters = {
      blockSizeBits: config.blockSizeBits ?? preset.blockSizeBits,
      source: preset.source,
      security: {
        epsilonSecrecy: config.epsilonSecrecy ?? preset.epsilonSecrecy,
        epsilonCorrectness: config.epsilonCorrectness ?? preset.epsilonCorrectness,
      },
    };

    const random: RandomSource = config.seed === undefined ? systemSource : seededSource(config.seed);
    this.#transmission = new Transmission(preset, config.lengthKm, random);
    this.#aliceSeeds = random('alice-seeds');
    const preShared = new Uint8Array(
      random('pre-shared').words(2 * (HASH_KEY_BYTES / 4) + Math.ceil(reserveBits / 32)).buffer,
    );
    this.#aliceAuthentication = new EndAuthentication('alice', preShared);
    this.#bobAuthentication = new EndAuthentication('bob', preShared);
    preShared.fill(0);
    this.setEavesdropper(config.eavesdropper?.interceptFraction ?? 0);
  }

  /** Simulated seconds since the link began. */
  get linkSeconds(): number {
    return this.#gates / this.#preset.pulseRateHz;
  }

  /** Intercept-resend on this fraction (0 to 1) of the pulses, from the next stretch (½ s of link time) on, in mid-block too. */
  setEavesdropper(interceptFraction: number): void {
    expectRange('interceptFraction', interceptFraction, 0, 1);
    this.#transmission.setInterceptFraction(interceptFraction);
  }

  /**
   * Runs one whole block. `onProgress` is awaited: it may pace the transmission, and may call
   * `setEavesdropper`. Not to be called again before it has resolved.
   */
  async nextBlock(onProgress?: Progress): Promise<BlockResult> {
    if (this.#busy) throw new Error('the link is still busy with the block before');
    this.#busy = true;
    const alice = new AliceBlock(this.parameters, this.#aliceAuthentication, this.#aliceSeeds);
    const bob = new BobBlock(this.parameters, this.#bobAuthentication);
    try {
      return await this.#run(alice, bob, onProgress);
    } finally {
      alice.wipe();
      bob.wipe();
      this.#block++;
      this.#busy = false;
    }
  }

  /** Wipes the authentication keys. The link is of no use any more. */
  destroy(): void {
    this.#aliceAuthentication.wipe();
    this.#bobAuthentication.wipe();
    this.#transmission.wipe();
  }

  async #run(alice: AliceBlock, bob: BobBlock, onProgress: Progress | undefined): Promise<BlockResult> {
    const timer = new StageTimer(this.#nowMs);
    const passed = await this.#transmit(alice, bob, timer, onProgress);
    const progress = (stage: BlockProgress['stage']) => this.#report(onProgress, stage, bob);
    /** The part of the report that is known at any end of the block. */
    const result = (outcome: Outcome): BlockResult => ({
      report: this.#blockReport(passed, bob, outcome, timer.durations),
      ...(outcome.keys ?? {}),
    });

    const best = (leakBits: number) =>
      bestPossibleLength(this.parameters, bob.keyDetections, bob.check.counts, leakBits);
    if (best(0) <= 0) return result({ aborted: BlockAbortReason.errorRate });

    await progress('correction');
    const corrected = timer.time('correctionMs', () => correct(alice, bob, (leakBits) => best(leakBits) > 0));
    if (!corrected) return result({ aborted: BlockAbortReason.leakage });

    const counts = timer.time('verificationMs', () => bob.verify(alice.verify()));
    if (counts === undefined) return result({ aborted: BlockAbortReason.verification });
    alice.receiveErrorCounts(counts);
    if (alice.lengthBits === 0) return result({ aborted: BlockAbortReason.noKey, verified: true });

    const amplification = alice.startAmplification();
    bob.receiveAmplification(amplification);
    const failure = timer.time('authenticationMs', () => exchangeTags(alice, bob));
    const spent = failure === BlockAbortReason.authReserve ? 0 : BLOCK_AUTH_BITS;
    if (failure !== undefined) return result({ aborted: failure, verified: true, authBitsSpent: spent });

    await progress('amplification');
    const keys = timer.time('amplificationMs', () => ({
      aliceKey: alice.finish(amplification),
      bobKey: bob.finish(amplification),
    }));
    return result({ verified: true, authBitsSpent: spent, keys });
  }

  /** Pulses and sifting, stretch by stretch, until the block has its n_Z bits. */
  async #transmit(
    alice: AliceBlock,
    bob: BobBlock,
    timer: StageTimer,
    onProgress: Progress | undefined,
  ): Promise<Passed> {
    const passed = { pulses: 0, detections: 0, eveKnowsBits: 0, siftedErrors: 0 };
    const stretchGates = Math.round(STRETCH_SECONDS * this.#preset.pulseRateHz);
    while (bob.siftedBits < this.parameters.blockSizeBits) {
      const clicks = timer.time('transmissionMs', () =>
        this.#transmission.run(this.parameters.blockSizeBits - bob.siftedBits, stretchGates),
      );
      this.#gates += clicks.gates;
      passed.pulses += clicks.gates;
      passed.detections += clicks.bob.length;
      passed.eveKnowsBits += clicks.eveKnows;
      passed.siftedErrors += clicks.keyErrors;
      timer.time('siftingMs', () => {
        const detections = bob.announce(clicks.bob, clicks.gateGaps);
        const sifting = alice.sift(clicks.alice, detections);
        alice.receiveCheckBits(bob.sift(clicks.bob, sifting), { check: detections.check, own: sifting });
      });
      await this.#report(onProgress, 'transmission', bob);
      await turnOfEventLoop();
    }
    return passed;
  }

  #report(onProgress: Progress | undefined, stage: BlockProgress['stage'], bob: BobBlock): void | Promise<void> {
    const qber = bob.check.qber;
    return onProgress?.({
      block: this.#block,
      stage,
      fraction: bob.siftedBits / this.parameters.blockSizeBits,
      ...(qber === undefined ? {} : { qber }),
      linkSeconds: this.linkSeconds,
    });
  }

  #blockReport(passed: Passed, bob: BobBlock, outcome: Outcome, durations: StageDurations): BlockReport {
    const siftedBits = bob.siftedBits;
    const checkQber = bob.check.qber ?? 0;
    const verified = outcome.verified ?? false;
    const qber = verified ? (bob.keyErrors[0] + bob.keyErrors[1]) / siftedBits : checkQber;
    const shannonBits = siftedBits * binaryEntropy(qber);
    const linkSeconds = passed.pulses / this.#preset.pulseRateHz;
    const finalKeyBits = outcome.keys === undefined ? 0 : bob.lengthBits;
    return {
      block: this.#block,
      pulses: passed.pulses,
      linkSeconds,
      endLinkSeconds: this.linkSeconds,
      detections: passed.detections,
      siftedBits,
      checkBits: bob.check.detections,
      qber,
      checkQber,
      leakBits: bob.leakBits,
      ...(verified && shannonBits > 0 ? { correctionEfficiency: bob.leakBits / shannonBits } : {}),
      finalKeyBits,
      deliveredBits: 8 * (outcome.keys?.aliceKey.length ?? 0),
      ...(outcome.aborted === undefined ? {} : { aborted: outcome.aborted }),
      siftedBitsPerSecond: siftedBits / linkSeconds,
      skrBitsPerSecond: finalKeyBits / linkSeconds,
      authBitsSpent: outcome.authBitsSpent ?? 0,
      authReserveBits: this.#bobAuthentication.reserve.availableBits,
      groundTruth: {
        eveKnowsBits: passed.eveKnowsBits,
        eveKnows: passed.eveKnowsBits / siftedBits,
        siftedErrors: passed.siftedErrors,
      },
      durations,
    };
  }
}

interface Passed {
  readonly pulses: number;
  readonly detections: number;
  readonly eveKnowsBits: number;
  readonly siftedErrors: number;
}

interface Outcome {
  readonly aborted?: BlockAbortReason;
  /** The hashes were equal, so the errors of the key basis are known. */
  readonly verified?: boolean;
  readonly authBitsSpent?: number;
  readonly keys?: { readonly aliceKey: Uint8Array; readonly bobKey: Uint8Array };
}

/** Cascade over all frames. Returns false when `worthwhile` says that the parities disclosed so far leave nothing. */
function correct(alice: AliceBlock, bob: BobBlock, worthwhile: (leakBits: number) => boolean): boolean {
  bob.receiveCorrectionStart(alice.startCorrection());
  for (const [start, end] of bob.frames()) {
    const responder = alice.openFrame(start, end);
    const { questions, answers } = bob.correctFrame(start, end, responder);
    alice.closeFrame(responder, questions, answers);
    if (!worthwhile(bob.leakBits)) return false;
  }
  return true;
}

class StageTimer {
  readonly #nowMs: () => number;
  readonly #spent: Record<Stage, number> = {
    transmissionMs: 0,
    siftingMs: 0,
    correctionMs: 0,
    verificationMs: 0,
    amplificationMs: 0,
    authenticationMs: 0,
  };

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  time<T>(stage: Stage, work: () => T): T {
    const start = this.#nowMs();
    try {
      return work();
    } finally {
      this.#spent[stage] += this.#nowMs() - start;
    }
  }

  get durations(): StageDurations {
    return { ...this.#spent };
  }
}

/** Throws `RangeError` on a figure out of range. */
export function expectLinkConfig(config: LinkConfig): void {
  if (!Object.hasOwn(presets, config.preset ?? 'metro')) throw new RangeError(`no preset ${config.preset}`);
  expectRange('lengthKm', config.lengthKm, 0, 1000);
  expectRange('blockSizeBits', config.blockSizeBits ?? MIN_BLOCK_SIZE_BITS, MIN_BLOCK_SIZE_BITS, MAX_BLOCK_SIZE_BITS);
  if (!Number.isInteger(config.blockSizeBits ?? 0)) throw new RangeError('blockSizeBits is not an integer');
  expectRange('interceptFraction', config.eavesdropper?.interceptFraction ?? 0, 0, 1);
  expectRange('epsilonSecrecy', config.epsilonSecrecy ?? MIN_EPSILON, MIN_EPSILON, 0.1);
  expectRange('epsilonCorrectness', config.epsilonCorrectness ?? MIN_EPSILON, MIN_EPSILON, 0.1);
  expectRange('authReserveBits', config.authReserveBits ?? 0, 0, MAX_AUTH_RESERVE_BITS);
}

function expectRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) throw new RangeError(`${name} is ${value}, ${min} to ${max} allowed`);
}
