/** What a fuzz target is, and what the fuzzer says of one. */
import type { Random } from './random.ts';

export interface Target {
  readonly name: string;
  /** Decoders and classes of the project that this target is there for; a test checks that its seeds really run them. */
  readonly covers?: readonly string[];
  /** Well-formed inputs to start from. */
  readonly seeds: () => readonly Uint8Array[];
  /** Another well-formed input, where there are endlessly many: mixed in among the changed ones. */
  readonly fresh?: (random: Random) => Uint8Array;
  /** Pieces worth putting into an input: keywords, code points. */
  readonly dictionary?: readonly Uint8Array[];
  /** Changes an input in its own terms, where bytes are not the best; the generic mutation comes beside it. */
  readonly mutate?: (input: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;
  /** Share of the time, 1 if absent: engines get more, for one execution costs more. */
  readonly weight?: number;
  /**
   * Throws on what is a finding, and on nothing else. Says what became of the input, in a word or
   * two (the message of the error, the state that was reached): an input with a new outcome is kept.
   */
  readonly run: (input: Uint8Array) => Outcome | Promise<Outcome>;
}

export type Outcome = string | undefined;

export interface Finding {
  readonly target: string;
  readonly kind: 'exception' | 'hang' | 'memory' | 'slow';
  readonly input: Uint8Array;
  readonly description: string;
}
