/**
 * Cascade: error correction by two-way parity exchange.
 *
 * Brassard and Salvail, "Secret-Key Reconciliation by Public Discussion",
 * EUROCRYPT '93; block sizes from Martinez-Mateo, Pacher, Peev, Ciurana, Martin,
 * "Demystifying the Information Reconciliation Protocol Cascade", Quantum Inf.
 * Comput. 15, 453 (2015).
 *
 * Alice only answers questions about the parities of her frame
 * (`CascadeResponder`); Bob searches and corrects (`CascadeCorrector`). Each
 * answer is one bit of leakage. A frame is short enough for all of its passes
 * to stay in the processor's cache.
 */
import { publicStream } from '../kernel/random.ts';
import { PackedBits } from './packed-bits.ts';

/** The top-level block sizes of all passes for a frame of `frameBits` at error rate `qber`. */
export type CascadeSchedule = (frameBits: number, qber: number) => number[];

/** Original Cascade: k1 = 0.73/Q, doubled in each of 4 passes. */
export const originalSchedule: CascadeSchedule = (frameBits, qber) => {
  const k1 = 0.73 / clampQber(qber);
  return [k1, 2 * k1, 4 * k1, 8 * k1].map((k) => blockSize(k, frameBits));
};

/** Yan, Ren, Peng, Lin, Jiang, Liu, Guo (2008): k1 = 0.8/Q, k2 = 5·k1, then half the frame, 10 passes. */
export const yanSchedule: CascadeSchedule = (frameBits, qber) => {
  const k1 = 0.8 / clampQber(qber);
  return [k1, 5 * k1, ...new Array<number>(8).fill(frameBits / 2)].map((k) => blockSize(k, frameBits));
};

/**
 * The schedule of the link: block sizes are powers of two, so that halves of
 * all blocks are whole, and parities asked before are reused. After the
 * optimised variants of Martinez-Mateo et al. 2015 (section 5), for frames of
 * `LINK_FRAME_BITS`: 2^⌈log2(1/Q) − ½⌉, then the square root of 4096 times
 * that, 4096, and an eighth of the frame until ten passes are full. Wider last
 * blocks would leak 0.3% less and leave errors behind in one frame of a hundred.
 */
export const linkSchedule: CascadeSchedule = (frameBits, qber) => {
  const alpha = Math.log2(1 / clampQber(qber)) - 0.5;
  const first = [2 ** Math.ceil(alpha), 2 ** Math.ceil((alpha + 12) / 2), 4096];
  return [...first, ...new Array<number>(7).fill(2 ** Math.round(Math.log2(frameBits / 8)))].map((k) =>
    blockSize(k, frameBits),
  );
};

/** Bits of a frame: its passes fit into a processor's cache, and it is long enough to waste little. */
export const LINK_FRAME_BITS = 65_536;

/** Cuts `keyBits` into frames of equal size (the last may be shorter by a few), as `[start, end)`. */
export function frames(keyBits: number): [start: number, end: number][] {
  const count = Math.ceil(keyBits / LINK_FRAME_BITS);
  const size = 32 * Math.ceil(keyBits / count / 32);
  return Array.from({ length: count }, (_, i) => [i * size, Math.min(keyBits, (i + 1) * size)]);
}

/** Below this an estimate says little, and blocks would grow beyond the frame. */
const MIN_QBER = 1e-4;

function clampQber(qber: number): number {
  return Math.min(0.5, Math.max(MIN_QBER, qber));
}

function blockSize(size: number, frameBits: number): number {
  return Math.max(2, Math.min(Math.ceil(size), frameBits));
}

/** The public part that both ends share: order of the bits and block size in each pass. */
export class CascadePlan {
  readonly frameBits: number;
  readonly blockSizes: readonly number[];
  /** `order[p][i]`: which bit of the frame stands at place i of pass p. */
  readonly order: readonly Uint32Array[];
  /** `place[p][b]`: the inverse. */
  readonly place: readonly Uint32Array[];

  constructor(frameBits: number, blockSizes: readonly number[], seed: Uint32Array) {
    const random = publicStream(seed);
    this.frameBits = frameBits;
    this.blockSizes = blockSizes;
    const order: Uint32Array[] = [];
    const place: Uint32Array[] = [];
    for (let pass = 0; pass < blockSizes.length; pass++) {
      const shuffled = new Uint32Array(frameBits);
      for (let i = 0; i < frameBits; i++) shuffled[i] = i;
      // The errors come in no order, so the first pass needs no shuffle.
      if (pass > 0) {
        for (let i = frameBits - 1; i > 0; i--) {
          const j = random.below(i + 1);
          const swapped = shuffled[i]!;
          shuffled[i] = shuffled[j]!;
          shuffled[j] = swapped;
        }
      }
      const inverse = new Uint32Array(frameBits);
      for (let i = 0; i < frameBits; i++) inverse[shuffled[i]!] = i;
      order.push(shuffled);
      place.push(inverse);
    }
    this.order = order;
    this.place = place;
  }

  /** `frame` in the order of `pass`. */
  shuffle(frame: PackedBits, pass: number): PackedBits {
    const order = this.order[pass]!;
    const words = new Uint32Array(frame.words.length);
    const source = frame.words;
    for (let i = 0; i < order.length; i++) {
      const b = order[i]!;
      words[i >>> 5]! |= ((source[b >>> 5]! >>> (b & 31)) & 1) << (i & 31);
    }
    return new PackedBits(frame.length, words);
  }
}

/** Alice's end for one frame. Every parity that leaves it is counted. */
export class CascadeResponder {
  readonly #plan: CascadePlan;
  readonly #passes: PackedBits[] = [];
  readonly #frame: PackedBits;
  #disclosed = 0;

  /** Borrows `frame`. */
  constructor(plan: CascadePlan, frame: PackedBits) {
    this.#plan = plan;
    this.#frame = frame;
  }

  /** Parities disclosed so far. */
  get disclosedBits(): number {
    return this.#disclosed;
  }

  /** Opens the next pass: the parities of its top-level blocks. */
  openPass(): PackedBits {
    const pass = this.#passes.length;
    const shuffled = this.#plan.shuffle(this.#frame, pass);
    this.#passes.push(shuffled);
    const parities = blockParities(shuffled, this.#plan.blockSizes[pass]!);
    this.#disclosed += parities.length;
    return parities;
  }

  /** The parity of places `start` to `end` − 1 of an open pass. */
  parity(pass: number, start: number, end: number): 0 | 1 {
    this.#disclosed++;
    return this.#passes[pass]!.parity(start, end);
  }

  wipe(): void {
    for (const pass of this.#passes) pass.wipe();
  }
}

/** What the corrector needs from the other end; in the link it also goes on the authenticated record. */
export interface ParityOracle {
  openPass(): PackedBits;
  parity(pass: number, start: number, end: number): 0 | 1;
}

function blockParities(bits: PackedBits, size: number): PackedBits {
  const count = Math.ceil(bits.length / size);
  const parities = new PackedBits(count);
  for (let b = 0; b < count; b++) {
    if (bits.parity(b * size, Math.min(bits.length, (b + 1) * size)) === 1) parities.flip(b);
  }
  return parities;
}

/** One pass as Bob sees it. */
interface OpenPass {
  readonly bits: PackedBits;
  readonly place: Uint32Array;
  readonly size: number;
  /** 1 where a block's parity differs from Alice's. */
  readonly odd: Uint8Array;
  /** Blocks that were odd when they were put here; looked at again when taken out. */
  readonly waiting: number[];
  /**
   * Alice's parities of left halves, by the place where the half ends: in the
   * fixed binary tree of a block every place ends exactly one left half.
   * 0 = not asked yet, else 2 + parity.
   */
  readonly known: Uint8Array;
}

export interface CorrectorOptions {
  /** Don't ask again for a parity that was disclosed before. Default true; false is the protocol as first published. */
  readonly reuseParities?: boolean;
}

/** Bob's end for one frame: corrects it in place. */
export class CascadeCorrector {
  readonly #plan: CascadePlan;
  readonly #frame: PackedBits;
  readonly #oracle: ParityOracle;
  readonly #reuse: boolean;
  readonly #open: OpenPass[] = [];
  #corrected = 0;

  /** Borrows `frame` and flips its wrong bits. */
  constructor(plan: CascadePlan, frame: PackedBits, oracle: ParityOracle, options: CorrectorOptions = {}) {
    this.#plan = plan;
    this.#frame = frame;
    this.#oracle = oracle;
    this.#reuse = options.reuseParities ?? true;
  }

  /** Bits flipped so far. */
  get correctedBits(): number {
    return this.#corrected;
  }

  /** Runs the next pass and all that it uncovers in the earlier ones. Returns false when there was none left. */
  runPass(): boolean {
    const index = this.#open.length;
    if (index === this.#plan.blockSizes.length) return false;
    const size = this.#plan.blockSizes[index]!;
    const bits = this.#plan.shuffle(this.#frame, index);
    const theirs = this.#oracle.openPass();
    const odd = new Uint8Array(theirs.length);
    const waiting: number[] = [];
    for (let b = theirs.length - 1; b >= 0; b--) {
      if (bits.parity(b * size, Math.min(bits.length, (b + 1) * size)) !== theirs.get(b)) {
        odd[b] = 1;
        waiting.push(b);
      }
    }
    const known = new Uint8Array(this.#reuse ? bits.length : 0);
    this.#open.push({ bits, place: this.#plan.place[index]!, size, odd, waiting, known });
    this.#drain();
    return true;
  }

  wipe(): void {
    for (const pass of this.#open) pass.bits.wipe();
  }

  /** Small blocks first: an error costs least there. */
  #drain(): void {
    for (let index = 0; index < this.#open.length; ) {
      const pass = this.#open[index]!;
      const block = pass.waiting.pop();
      if (block === undefined) {
        index++;
      } else if (pass.odd[block] === 1) {
        this.#flip(this.#plan.order[index]![this.#search(index, pass, block)]!);
        index = 0;
      }
    }
  }

  /** Binary search for one error in a block of odd parity. Returns its place in the pass. */
  #search(index: number, pass: OpenPass, block: number): number {
    let start = block * pass.size;
    let end = Math.min(pass.bits.length, start + pass.size);
    while (end - start > 1) {
      const middle = (start + end) >>> 1;
      let theirs: number;
      if (!this.#reuse) theirs = this.#oracle.parity(index, start, middle);
      else {
        if (pass.known[middle] === 0) pass.known[middle] = 2 + this.#oracle.parity(index, start, middle);
        theirs = pass.known[middle]! - 2;
      }
      if (pass.bits.parity(start, middle) !== theirs) end = middle;
      else start = middle;
    }
    return start;
  }

  #flip(bit: number): void {
    this.#corrected++;
    this.#frame.flip(bit);
    for (const pass of this.#open) {
      const place = pass.place[bit]!;
      pass.bits.flip(place);
      const block = Math.floor(place / pass.size);
      pass.odd[block]! ^= 1;
      if (pass.odd[block] === 1) pass.waiting.push(block);
    }
  }
}
