import type { BlockProgress, BlockResult, LinkConfig } from './link-types.ts';

export * from './link-types.ts';

/** One QKD link: a source, a fibre, detectors, perhaps an eavesdropper, and the two parties' post-processing. */
export class QkdLink {
  constructor(_config: LinkConfig) {}

  /**
   * Runs one whole block. `onProgress` is awaited, so that it can pace the
   * transmission, and may change the link (`setEavesdropper`, `setCut`).
   */
  async nextBlock(_onProgress?: (progress: BlockProgress) => void | Promise<void>): Promise<BlockResult> {
    throw new Error('in progress');
  }

  /** From the next pulse on, in mid-block too. `interceptFraction` 0 to 1. */
  setEavesdropper(_interceptFraction: number): void {}

  /** A cut fibre: transmission stands still until it is healed. */
  setCut(_cut: boolean): void {}
}
